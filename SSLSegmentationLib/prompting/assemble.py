"""Slices of a segment put together: what is known stays, and what hangs together with it is kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import combinations

import numpy as np

from SSLSegmentationLib.prompting.compose import Patch, around
from SSLSegmentationLib.prompting.stack import Stack
from SSLSegmentationLib.proposal import Cropped

_ANY_SIDE = np.ones((3, 3, 3))
_EQUALLY_SURE = 0.02  # of uncertainties


class Drawn:
    """A segment and the slices on which it is known."""

    def __init__(self, stack: Stack, before: Cropped, slices: Sequence[int]) -> None:
        self.stack = stack
        self.before = before
        self.slices = slices

    @cached_property
    def seeds(self) -> Cropped:
        """The voxels on the known slices."""
        numbers = self.stack.numbers(self.before.box)
        return Cropped(self.before.box, self.before.bits & np.isin(numbers, self.slices)).tight()

    @cached_property
    def connected(self) -> Cropped:
        """The parts of the segment that hang together with the known slices."""
        return Cropped(self.before.box, _touching(self.before.bits, self.seeds.within(self.before.box)))


def assembled(drawn: Drawn, patches: Mapping[int, Patch], void: Iterable[int] = ()) -> Patch:
    """All of what is said of a segment.

    On slices that were found, and on those that are void, what hangs together with the known ones is replaced. Of what
    was found only the parts stay that touch what is known.
    """
    box = around([drawn.before.box, *(patch.box for patch in patches.values())])
    before, seeds = drawn.before.within(box), drawn.seeds.within(box)
    numbers = drawn.stack.numbers(box)
    mask, uncertainty = np.zeros(before.shape, bool), np.zeros(before.shape, np.float32)
    for patch in patches.values():
        at = tuple(slice(s.start - o.start, s.stop - o.start) for s, o in zip(patch.box, box, strict=True))
        mask[at] |= patch.mask
        np.maximum(uncertainty[at], patch.uncertainty, out=uncertainty[at])
    mask = _touching(mask | seeds, seeds)
    redone = np.isin(numbers, sorted({*patches, *void}))
    after = (before & ~(drawn.connected.within(box) & redone)) | mask
    on_known = np.isin(numbers, drawn.slices)
    after[on_known] = before[on_known]
    return Patch(box, np.ones(before.shape, bool), after, uncertainty)


def share_out(drawn: Mapping[str, Drawn], found: Mapping[str, Mapping[int, Patch]]) -> None:
    """Voxels that two segments were found to have go to the one that is surer; of equals to the one drawn nearer by.

    Segments that were followed together have been told apart already, by what the model said of each.
    """
    for first, second in combinations(sorted(found), 2):
        for n in found[first].keys() & found[second].keys():
            one, other = found[first][n], found[second][n]
            both = tuple(
                slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one.box, other.box, strict=True)
            )
            if any(s.start >= s.stop for s in both):
                continue
            ats = [
                tuple(slice(s.start - o.start, s.stop - o.start) for s, o in zip(both, patch.box, strict=True))
                for patch in (one, other)
            ]
            shared = one.mask[ats[0]] & other.mask[ats[1]]
            far = [min(abs(n - its) for its in drawn[name].slices) for name in (first, second)]
            lead = other.uncertainty[ats[1]] - one.uncertainty[ats[0]]
            surer = (lead > _EQUALLY_SURE) | ((np.abs(lead) <= _EQUALLY_SURE) & (far[0] <= far[1]))
            other.mask[ats[1]][shared & surer] = False
            one.mask[ats[0]][shared & ~surer] = False


def _touching(mask: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """The connected parts of a mask that hold a seed."""
    from scipy.ndimage import label

    parts, count = label(mask, _ANY_SIDE)
    wanted = np.zeros(count + 1, dtype=bool)
    wanted[parts[seeds & mask]] = True
    wanted[0] = False
    return wanted[parts]
