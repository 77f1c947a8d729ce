"""Slices of a segment put together: what is known stays, and what hangs together with it is kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import combinations

import numpy as np

from SSLSegmentationLib.plane import Box
from SSLSegmentationLib.progress import Tick, silent
from SSLSegmentationLib.prompting.compose import Patch, around
from SSLSegmentationLib.prompting.stack import Stack
from SSLSegmentationLib.proposal import Cropped

_ANY_SIDE = np.ones((3, 3, 3))
_EQUALLY_SURE = 0.02  # of uncertainties
_AT_ONCE = 2**21  # voxels between two looks at whether the user has cancelled


class Drawn:
    """A segment and the slices on which it is known."""

    def __init__(self, stack: Stack, before: Cropped, slices: Sequence[int], tick: Tick = silent) -> None:
        self.stack = stack
        self.before = before
        self.slices = slices
        self._tick = tick

    @cached_property
    def seeds(self) -> Cropped:
        """The voxels on the known slices."""
        bits = self.before.bits.copy()
        for part, box in _slabs(self.before.box, self._tick):
            bits[part] &= np.isin(self.stack.numbers(box), self.slices)
        return Cropped(self.before.box, bits).tight()

    @cached_property
    def connected(self) -> Cropped:
        """The parts of the segment that hang together with the known slices."""
        box = self.before.box
        return Cropped(box, touching(self.before.bits, self.seeds.within(box), self._tick))


def assembled(drawn: Drawn, patches: Mapping[int, Patch], void: Iterable[int] = (), tick: Tick = silent) -> Patch:
    """All of what is said of a segment.

    On slices that were found, and on those that are void, what hangs together with the known ones is replaced. Of what
    was found only the parts stay that touch what is known.
    """
    box = around([drawn.before.box, *(patch.box for patch in patches.values())])
    before, seeds, connected = (mask.within(box) for mask in (drawn.before, drawn.seeds, drawn.connected))
    mask, uncertainty = np.zeros(before.shape, bool), np.zeros(before.shape, np.float32)
    for patch in patches.values():
        at = tuple(slice(s.start - o.start, s.stop - o.start) for s, o in zip(patch.box, box, strict=True))
        mask[at] |= patch.mask
        np.maximum(uncertainty[at], patch.uncertainty, out=uncertainty[at])
    after = touching(mask | seeds, seeds, tick)
    replaced = sorted({*patches, *void})
    for part, place in _slabs(box, tick):
        numbers = drawn.stack.numbers(place)
        after[part] |= before[part] & ~(connected[part] & np.isin(numbers, replaced))
        on_known = np.isin(numbers, drawn.slices)
        after[part][on_known] = before[part][on_known]
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


def touching(mask: np.ndarray, seeds: np.ndarray, tick: Tick = silent) -> np.ndarray:
    """The connected parts of a mask that hold a seed, corners included.

    Found in slabs that are joined afterwards, so that a large mask can be left in the middle.
    """
    from scipy.ndimage import label
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    parts, count, links = np.zeros(mask.shape, np.int32), 0, [np.zeros((2, 0), np.int32)]
    box = tuple(slice(0, side) for side in mask.shape)
    for slab, _ in _slabs(box, tick):
        found, several = label(mask[slab], _ANY_SIDE)
        parts[slab] = np.where(found, found + count, 0)
        count += several
        if slab.start:
            links.extend(_meetings(parts[slab.start - 1], parts[slab.start]))
    one, other = np.concatenate(links, axis=1)
    graph = coo_array((np.ones(len(one), bool), (one, other)), shape=(count + 1, count + 1))
    whole = connected_components(graph, directed=False)[1]
    wanted = np.zeros(count + 1, dtype=bool)
    wanted[whole[parts[seeds & mask]]] = True
    wanted = wanted[whole]
    wanted[0] = False
    kept = np.zeros(mask.shape, dtype=bool)
    for slab, _ in _slabs(box, tick):
        kept[slab] = wanted[parts[slab]]
    return kept


def _meetings(below: np.ndarray, above: np.ndarray) -> Iterator[np.ndarray]:
    """(2, n) numbers of the parts on two neighbouring planes that touch, by a side, an edge or a corner."""
    rows, columns = below.shape
    padded = np.pad(above, 1)
    for down in range(3):
        for across in range(3):
            shifted = padded[down : down + rows, across : across + columns]
            both = (below > 0) & (shifted > 0)
            if both.any():
                yield np.unique(np.stack([below[both], shifted[both]]), axis=1)


def _slabs(box: Box, tick: Tick) -> Iterator[tuple[slice, Box]]:
    """A box in slabs of a size that takes a fraction of a second: where they lie in it, and their own boxes."""
    planes, rows, columns = (side.stop - side.start for side in box)
    depth = max(1, _AT_ONCE // max(1, rows * columns))
    for start in range(0, planes, depth):
        tick("Joining", start / planes)
        stop = min(start + depth, planes)
        yield slice(start, stop), (slice(box[0].start + start, box[0].start + stop), *box[1:])
