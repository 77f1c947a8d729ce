"""The part of the slices around an object that a model looks at, so that its pixels are spent on the object.

A Spreader's memory is in pixels of the pictures it saw, so a crop must not move while it follows: shifted pictures
would be compared with memories of other places. Here a crop stays as it is until the object comes near its border.
Then following ends, and begins anew with a larger crop, in which the known slices and the last ones that were found are
cut out again and given as known. The memory is made anew from pictures of one frame, and nothing has to be guessed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from SSLSegmentationLib.prompting.boxes import tight

_LEAST_SIDE, _LEAST_MARGIN = 64, 16  # pixels


@dataclass(frozen=True)
class Crop:
    rows: slice
    columns: slice

    def of(self, pixels: np.ndarray) -> np.ndarray:
        return pixels[self.rows, self.columns]

    def back(self, pixels: np.ndarray, shape: tuple[int, int], outside: float | bool) -> np.ndarray:
        """The pixels on the whole slice."""
        whole = np.full(shape, outside, dtype=pixels.dtype)
        whole[self.rows, self.columns] = pixels
        return whole

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start


def whole(shape: tuple[int, int]) -> Crop:
    return Crop(slice(0, shape[0]), slice(0, shape[1]))


def around(masks: Iterable[np.ndarray], shape: tuple[int, int]) -> Crop:
    """A square around the masks with half of their size to each side, as far as the slice reaches."""
    everything = np.logical_or.reduce(list(masks))
    left, top, right, bottom = tight(everything)
    side = max(right - left, bottom - top) + 1
    side = max(_LEAST_SIDE, side + 2 * max(_LEAST_MARGIN, side / 2))
    return _square(((top + bottom) / 2, (left + right) / 2), side, shape)


def near_border(mask: np.ndarray, crop: Crop, shape: tuple[int, int]) -> bool:
    """Whether the object in the crop comes near a side of it behind which the slice goes on."""
    if not mask.any():
        return False
    guard = max(3, min(crop.shape) // 16)
    left, top, right, bottom = tight(mask)
    rows, columns = crop.shape
    return bool(
        (top < guard and crop.rows.start > 0)
        or (left < guard and crop.columns.start > 0)
        or (rows - 1 - bottom < guard and crop.rows.stop < shape[0])
        or (columns - 1 - right < guard and crop.columns.stop < shape[1])
    )


def larger(crop: Crop, mask: np.ndarray, shape: tuple[int, int]) -> Crop:
    """A crop that holds the old one, and half its side more where the object in it comes near its border."""
    left, top, right, bottom = tight(mask)
    rows, columns = crop.shape
    guard = max(3, min(crop.shape) // 16)
    more = max(rows, columns) / 2
    first_row = crop.rows.start - more * (top < guard)
    last_row = crop.rows.stop + more * (rows - 1 - bottom < guard)
    first_column = crop.columns.start - more * (left < guard)
    last_column = crop.columns.stop + more * (columns - 1 - right < guard)
    side = max(last_row - first_row, last_column - first_column)
    centre = (first_row + last_row - 1) / 2, (first_column + last_column - 1) / 2
    wide = _square(centre, side, shape)
    # Moved back into the slice it still has to hold the old one.
    return Crop(
        slice(min(wide.rows.start, crop.rows.start), max(wide.rows.stop, crop.rows.stop)),
        slice(min(wide.columns.start, crop.columns.start), max(wide.columns.stop, crop.columns.stop)),
    )


def _square(centre: tuple[float, float], side: float, shape: tuple[int, int]) -> Crop:
    """A square of whole pixels about a centre, moved into the slice, and cut where it is larger than that."""
    spans = []
    for middle, most in zip(centre, shape, strict=True):
        size = min(round(side), most)
        start = min(max(round(middle - (size - 1) / 2), 0), most - size)
        spans.append(slice(start, start + size))
    return Crop(*spans)
