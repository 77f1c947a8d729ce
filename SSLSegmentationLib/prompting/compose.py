"""From what a model answers on planes to a Proposal: into voxels, and with what must not change left alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from SSLSegmentationLib.plane import Box, Plane, put_back
from SSLSegmentationLib.proposal import NOTHING, Cropped, Proposal, box_of, propose
from SSLSegmentationLib.volume import Volume

_TOLERANCE = 1e-3  # pixels, the same as where masks are put back
_NEAR_NOTHING = 0.01  # of the uncertainty


@dataclass(frozen=True)
class Kept:
    """What no operation may change."""

    locked: Cropped = NOTHING
    """Voxels that stay as they are: neither added nor removed."""
    neighbours: Sequence[Cropped] = ()
    """Segments that keep their voxels: none of these is added."""

    def forbids(self, box: Box) -> np.ndarray:
        """The voxels of a box that cannot be added."""
        forbidden = self.locked.within(box)
        for neighbour in self.neighbours:
            forbidden |= neighbour.within(box)
        return forbidden


@dataclass(frozen=True, eq=False)
class Patch:
    """What is said of some voxels of a box; the others keep what they have."""

    box: Box
    known: np.ndarray
    """The voxels of which something is said."""
    mask: np.ndarray
    uncertainty: np.ndarray
    """float32, 0 to 1."""

    def trimmed(self) -> Patch:
        """Without the sides where nothing is in the mask or near it."""
        inner = box_of(self.mask | (self.uncertainty > _NEAR_NOTHING))
        box = tuple(slice(a.start + b.start, a.stop + b.start) for a, b in zip(inner, self.box, strict=True))
        return Patch(box, *(part[inner].copy() for part in (self.known, self.mask, self.uncertainty)))

    def adding(self, before: Cropped) -> Patch:
        """The same, but that nothing is taken away."""
        return Patch(self.box, self.known, self.mask | before.within(self.box), self.uncertainty)


NOTHING_KEPT = Kept()


def compose(before: Cropped, patch: Patch, *, score: float, kept: Kept = NOTHING_KEPT, segment: str = "") -> Proposal:
    """The Proposal of a patch: the one way in which every operation ends."""
    had = before.within(patch.box)
    after = np.where(patch.known, patch.mask, had)
    # A voxel that the segment shares with a neighbour already is not taken from either.
    after &= had | ~kept.forbids(patch.box)
    locked = kept.locked.within(patch.box)
    after[locked] = had[locked]
    score = float(np.clip(score, 0.0, 1.0))
    return propose(patch.box, had, after, score=score, uncertainty=patch.uncertainty, segment=segment)


def doubt(logits: np.ndarray) -> np.ndarray:
    """Entropy of the probability that logits stand for, from 0 (sure) to 1 (even chances), as float32."""
    size = np.minimum(np.abs(logits.astype(np.float32)), 80.0)
    small = np.exp(-size)
    return (np.log1p(small) + size * small / (1.0 + small)) / np.float32(np.log(2.0))


def patch_of(logits: np.ndarray, plane: Plane, volume: Volume, pixels: np.ndarray | None = None) -> Patch:
    """What an answer on a plane says of the voxels that belong to the plane, or to some pixels of it.

    Pixels around what changes are enough for a Proposal, and an object is much smaller than a slice.
    """
    pixels = np.ones(plane.shape, dtype=bool) if pixels is None else pixels
    box, known = put_back(pixels, plane, volume)
    mask = np.zeros(known.shape, dtype=bool)
    uncertainty = np.zeros(known.shape, dtype=np.float32)
    if known.any():
        kji = np.argwhere(known)
        places = plane.to_pixel(volume.to_ras((kji + [s.start for s in box])[:, ::-1].astype(float)))
        columns, rows = np.floor(places[:, :2] + 0.5 + _TOLERANCE).astype(int).T
        there = logits[rows, columns]
        mask[known] = there > 0
        uncertainty[known] = doubt(there)
    return Patch(box, known, mask, uncertainty)


def joined(patches: Sequence[Patch]) -> Patch:
    """Several patches as one; where they speak of the same voxel, one that has it in the mask wins.

    So two views that cross add up, and an answer on one does not punch a line into the answer on another.
    """
    box = around([patch.box for patch in patches])
    shape = tuple(s.stop - s.start for s in box)
    known, mask, uncertainty = np.zeros(shape, bool), np.zeros(shape, bool), np.zeros(shape, np.float32)
    for patch in patches:
        at = tuple(slice(s.start - o.start, s.stop - o.start) for s, o in zip(patch.box, box, strict=True))
        wins = patch.known & (patch.mask | ~mask[at])
        mask[at][wins] = patch.mask[wins]
        uncertainty[at][wins] = patch.uncertainty[wins]
        known[at] |= patch.known
    return Patch(box, known, mask, uncertainty)


def around(boxes: Sequence[Box]) -> Box:
    """The smallest box that holds the boxes, of which empty ones do not count."""
    full = [box for box in boxes if all(s.start < s.stop for s in box)]
    if not full:
        return (slice(0, 0),) * 3
    return tuple(slice(min(s.start for s in sides), max(s.stop for s in sides)) for sides in zip(*full, strict=True))
