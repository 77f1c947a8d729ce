"""Boxes of pixels around what is set in a mask."""

from __future__ import annotations

import numpy as np

PixelBox = tuple[float, float, float, float]


def tight(mask: np.ndarray) -> PixelBox:
    """Least column and row, greatest column and row of what is set; something must be."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return float(columns[0]), float(rows[0]), float(columns[-1]), float(rows[-1])


def grown(box: PixelBox, shape: tuple[int, int], part: float = 0.05, least: float = 3.0) -> PixelBox:
    """The box with a margin of a part of its sides, at least some pixels, clipped to the picture."""
    left, top, right, bottom = box
    across, down = max(least, part * (right - left + 1)), max(least, part * (bottom - top + 1))
    rows, columns = shape
    return (
        max(0.0, left - across),
        max(0.0, top - down),
        min(columns - 1.0, right + across),
        min(rows - 1.0, bottom + down),
    )


def pixels_in(box: PixelBox, shape: tuple[int, int]) -> np.ndarray:
    """The pixels whose centre lies in the box."""
    left, top, right, bottom = box
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (columns >= left) & (columns <= right) & (rows >= top) & (rows <= bottom)


def filled_around(mask: np.ndarray, margin: int = 2) -> np.ndarray:
    """The rectangle of pixels around what is set, with a margin."""
    area = np.zeros(mask.shape, dtype=bool)
    if mask.any():
        left, top, right, bottom = (int(side) for side in tight(mask))
        area[max(0, top - margin) : bottom + margin + 1, max(0, left - margin) : right + margin + 1] = True
    return area
