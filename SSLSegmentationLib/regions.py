"""Connected parts of what is too large for one look, and where to look next: regions of doubt, the worst first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from SSLSegmentationLib.steps import Steps, finish
from SSLSegmentationLib.volume import Volume

_PIECE = 2_000_000  # voxels looked at before the window may look up


@dataclass(frozen=True)
class UnsureRegion:
    centre_ras: tuple[float, float, float]
    """The most doubtful voxel of the region, so that it always lies in it."""
    ml: float
    mean: float
    peak: float
    burden: float
    """Doubt times volume (ml); the order of the list."""


def largest_region(mask: np.ndarray) -> np.ndarray:
    """The largest connected part of what is set; nothing where nothing is."""
    from scipy.ndimage import label

    numbers, count = label(mask)
    return mask if count < 2 else numbers == 1 + int(np.argmax(np.bincount(numbers.ravel())[1:]))


def unsure_regions(
    uncertainty: Volume, threshold: float = 0.5, smallest_ml: float = 0.02, most: int = 100
) -> list[UnsureRegion]:
    """The connected regions in which the doubt is at least `threshold`, by the doubt they hold in all."""
    return finish(finding_regions(uncertainty, threshold, smallest_ml, most))


def finding_regions(
    uncertainty: Volume, threshold: float = 0.5, smallest_ml: float = 0.02, most: int = 100
) -> Steps[list[UnsureRegion]]:
    """The same in pieces, some slices at a time; what touches across slices grows together."""
    found = _Regions()
    thick = max(1, _PIECE // (uncertainty.shape[1] * uncertainty.shape[2]))
    for first in range(0, uncertainty.shape[0], thick):
        found.add(uncertainty.voxels[first : first + thick], first, threshold)
        yield
    yield
    millilitre = uncertainty.voxel_ml
    large = [fact for fact in found.joined() if fact[0] * millilitre >= smallest_ml]
    worst = sorted(large, key=lambda fact: -fact[1])[:most]  # the sum of the doubt: its mean times the volume
    return [
        UnsureRegion(
            centre_ras=tuple(float(value) for value in uncertainty.to_ras(np.array(place[::-1]))),
            ml=voxels * millilitre,
            mean=total / voxels,
            peak=peak,
            burden=total * millilitre,
        )
        for voxels, total, peak, place in worst
    ]


class Parts:
    """Numbers the connected parts of what is given slab by slab, from the first slice to the last.

    Voxels that share a side, an edge or a corner are of one part, also across slabs.
    """

    def __init__(self) -> None:
        self._root: list[int] = []
        self._last = np.zeros((0, 0), dtype=np.int64)
        """The numbers of the parts in the last slice so far, counted from 1."""

    def __len__(self) -> int:
        return len(self._root)

    def add(self, slab: np.ndarray) -> np.ndarray:
        """For the voxels of the next slab the numbers of their parts, counted from 1; `first` finds what is one."""
        from scipy import ndimage

        numbers, count = ndimage.label(slab, structure=np.ones((3, 3, 3), dtype=bool))
        before = len(self._root)
        self._root.extend(range(before, before + count))
        numbers = np.where(numbers > 0, numbers + before, 0)
        if self._last.size:
            self._join(numbers[0])
        self._last = numbers[-1]
        return numbers

    def first(self, number: int) -> int:
        """The least number of all that turned out to be one part with this."""
        return self._find(number - 1) + 1

    def _join(self, slice_numbers: np.ndarray) -> None:
        rows, columns = slice_numbers.shape
        around = np.pad(self._last, 1)
        for down in range(3):
            for right in range(3):
                above = around[down : down + rows, right : right + columns]
                both = (above > 0) & (slice_numbers > 0)
                # Each pair as one number; neighbours mostly tell the same, and sorting is what takes long.
                pairs = above[both].astype(np.int64) * (len(self) + 1) + slice_numbers[both]
                pairs = pairs[np.flatnonzero(np.diff(pairs, prepend=-1))]
                for pair in np.unique(pairs).tolist():
                    low, high = sorted(self._find(number - 1) for number in divmod(pair, len(self) + 1))
                    self._root[high] = low

    def _find(self, part: int) -> int:
        while self._root[part] != part:
            self._root[part] = part = self._root[self._root[part]]
        return part


class _Regions:
    """What is known of the connected parts of slabs."""

    def __init__(self) -> None:
        self._parts = Parts()
        self._facts: list[tuple[int, float, float, tuple[int, int, int]]] = []
        """Voxels, sum of the doubt, greatest doubt and its (k, j, i)."""

    def add(self, slab: np.ndarray, first: int, threshold: float) -> None:
        before = len(self._parts)
        numbers = self._parts.add(slab >= threshold)
        count = len(self._parts) - before
        places = np.flatnonzero(numbers)
        part, doubt = numbers.ravel()[places] - before, slab.ravel()[places].astype(np.float64)
        voxels, totals = np.bincount(part, minlength=count + 1), np.bincount(part, doubt, minlength=count + 1)
        # Places by part, the most doubtful first; of equals the first in the array.
        order = np.lexsort((places, -doubt, part))
        peaks = order[np.searchsorted(part[order], np.arange(1, count + 1))]
        for number, peak in enumerate(peaks, start=1):
            k, j, i = (int(n) for n in np.unravel_index(places[peak], slab.shape))
            fact = int(voxels[number]), float(totals[number]), float(doubt[peak]), (first + k, j, i)
            self._facts.append(fact)

    def joined(self) -> list[tuple[int, float, float, tuple[int, int, int]]]:
        merged: dict[int, tuple[int, float, float, tuple[int, int, int]]] = {}
        for number, fact in enumerate(self._facts, start=1):
            root = self._parts.first(number)
            if root not in merged:
                merged[root] = fact
                continue
            known = merged[root]
            peak, place = max(known[2:], fact[2:], key=lambda entry: entry[0])
            merged[root] = known[0] + fact[0], known[1] + fact[1], peak, place
        return list(merged.values())
