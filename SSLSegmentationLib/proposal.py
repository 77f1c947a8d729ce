"""Proposal: what an operation suggests for a segment, and how it got there. Nothing changes until it is accepted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from SSLSegmentationLib.plane import Box


@dataclass(frozen=True, eq=False)
class Cropped:
    """A mask on a scan's grid, of which only the box around its voxels is kept."""

    box: Box
    bits: np.ndarray

    @staticmethod
    def of(mask: np.ndarray) -> Cropped:
        """Crop a mask on the whole grid."""
        box = box_of(mask)
        return Cropped(box, np.asarray(mask[box], dtype=bool))

    def within(self, box: Box) -> np.ndarray:
        """The bits inside another box, as an array of its own."""
        bits = np.zeros(tuple(s.stop - s.start for s in box), dtype=bool)
        both = tuple(slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(self.box, box, strict=True))
        if all(s.start < s.stop for s in both):
            bits[_moved(both, box)] = self.bits[_moved(both, self.box)]
        return bits

    def patched(self, box: Box, bits: np.ndarray) -> Cropped:
        """The mask with the bits inside the box replaced."""
        if all(s.start == s.stop for s in self.box):
            return Cropped(box, bits).tight()
        around = tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(self.box, box, strict=True))
        whole = self.within(around)
        whole[_moved(box, around)] = bits
        return Cropped(around, whole).tight()

    def tight(self) -> Cropped:
        """Cropped to the voxels that are set."""
        inner = box_of(self.bits)
        return Cropped(_shifted(inner, self.box), self.bits[inner].copy())


NOTHING = Cropped((slice(0, 0),) * 3, np.zeros((0, 0, 0), dtype=bool))


@dataclass(frozen=True, eq=False)
class Proposal:
    """Inside the (k, j, i) box the segment becomes `mask`; outside it stays as it is.

    The box is the smallest one around what changes, so it is empty where nothing does.
    """

    box: Box
    mask: np.ndarray
    """The segment inside the box, if the proposal is accepted."""
    before: np.ndarray
    """The segment inside the box as the operation knew it."""
    score: float
    """How sure the operation is of all of it, 0 to 1."""
    uncertainty: np.ndarray | None = None
    """float32, 0 to 1, inside the box."""
    segment: str = ""

    @property
    def added(self) -> np.ndarray:
        return self.mask & ~self.before

    @property
    def removed(self) -> np.ndarray:
        return self.before & ~self.mask

    @property
    def nbytes(self) -> int:
        doubt = 0 if self.uncertainty is None else self.uncertainty.nbytes
        return self.mask.nbytes + self.before.nbytes + doubt

    def accepted_into(self, segment: Cropped) -> Cropped:
        """The segment with the proposal in it."""
        return segment.patched(self.box, self.mask)


@dataclass(frozen=True)
class PartReport:
    """What refining made of one connected part of a segment on one slice."""

    slice: int
    segment: str
    accepted: bool
    reason: str
    """Why it was kept as it was; empty if it was refined."""
    pixels: int
    score: float = 0.0
    overlap: float = 0.0
    area_ratio: float = 0.0
    inside: float = 0.0


@dataclass(frozen=True)
class End:
    """Why a segment was not followed further."""

    segment: str
    step: int
    """1 or -1: towards growing or falling slice numbers."""
    start: int
    """The known slice it was followed from."""
    last: int
    """The last slice it was found on."""
    reason: str
    """The object "ended", it "leaked", as far as allowed ("limit"), at the "border" of the scan, or it has "met"
    another known slice."""


def propose(
    window: Box,
    before: np.ndarray,
    after: np.ndarray,
    *,
    score: float,
    uncertainty: np.ndarray | None = None,
    segment: str = "",
) -> Proposal:
    """A Proposal from a window of the scan that holds all that may change, cropped to what does change."""
    inner = box_of(before != after)
    return Proposal(
        box=_shifted(inner, window),
        mask=after[inner].copy(),
        before=before[inner].copy(),
        score=float(score),
        uncertainty=None if uncertainty is None else uncertainty[inner].astype(np.float32),
        segment=segment,
    )


def box_of(mask: np.ndarray) -> Box:
    """The smallest (k, j, i) box around what is set; empty, at the origin, if nothing is."""
    if 0 in mask.shape:
        return (slice(0, 0),) * 3
    flat = mask.any(axis=0)
    sides = [np.flatnonzero(side) for side in (mask.any(axis=(1, 2)), flat.any(axis=1), flat.any(axis=0))]
    if len(sides[0]) == 0:
        return (slice(0, 0),) * 3
    return tuple(slice(int(side[0]), int(side[-1]) + 1) for side in sides)


def _moved(box: Box, origin: Box) -> Box:
    """A box counted from the corner of another."""
    return tuple(slice(s.start - o.start, s.stop - o.start) for s, o in zip(box, origin, strict=True))


def _shifted(inner: Box, outer: Box) -> Box:
    """A box counted from the corner of another, counted from the scan's corner; an empty one stays at the origin."""
    if any(s.start == s.stop for s in inner):
        return (slice(0, 0),) * 3
    return tuple(slice(s.start + o.start, s.stop + o.start) for s, o in zip(inner, outer, strict=True))
