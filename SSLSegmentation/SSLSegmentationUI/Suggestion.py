"""Suggestion: what waits for the user's yes or no. Until then nothing of it is in the user's segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from SSLSegmentationLib.dataset.provenance import Step
from SSLSegmentationLib.engine.results import Labelling, Proposals
from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.proposal import Cropped, Proposal
from SSLSegmentationLib.scene.labelling import Reading
from SSLSegmentationLib.volume import Volume


@dataclass(eq=False)
class Suggestion:
    sentence: str
    proposals: dict[str, Proposal] = field(default_factory=dict)
    """By the ids of segments that there are."""
    fresh: list[tuple[Label, Cropped]] = field(default_factory=list)
    """Segments that there would be."""
    uncertainty: Volume | None = None
    """Of the whole scan."""
    prompted: str = ""
    """The segment whose prompts led to it."""
    step: Step = field(default_factory=lambda: Step("segment", "accepted"))
    """What was asked of which model, for the history."""
    expected: Sequence[Label] = ()
    """All labels that a model of the whole scan knows."""
    absent: Sequence[str] = ()
    """Names of those that it has not found."""

    @property
    def isEmpty(self) -> bool:
        return not self.fresh and not self.changesSegments

    @cached_property
    def changesSegments(self) -> bool:
        return any((p.mask != p.before).any() for p in self.proposals.values())


def describeProposals(proposals: dict[str, Proposal], names: dict[str, str], volume: Volume) -> str:
    """In one sentence: what would be added and removed, and where."""
    added = sum(int(np.count_nonzero(p.added)) for p in proposals.values()) * volume.voxel_ml
    removed = sum(int(np.count_nonzero(p.removed)) for p in proposals.values()) * volume.voxel_ml
    where = ", ".join(names.get(one, one) for one in proposals)
    parts = [f"{word} {_ml(amount)}" for word, amount in (("adds", added), ("removes", removed)) if amount]
    return f"{where}: {' and '.join(parts)}." if parts else f"{where}: nothing would change."


def describeEnds(found: Proposals) -> str:
    """Why spreading went no further, as far as the user ought to know."""
    leaked = sum(end.reason == "leaked" for end in found.ends)
    limited = sum(end.reason == "limit" for end in found.ends)
    said = []
    if leaked:
        said.append("It stopped where the object seemed to leak into its neighbours")
    if limited:
        said.append("It stopped after as many slices as you allowed")
    return "".join(f" {sentence}." for sentence in said)


def describeParts(found: Proposals) -> str:
    kept = sum(not part.accepted for part in found.parts)
    return f" {kept} of {len(found.parts)} parts were left as they were, since refining them was not plausible."


def describeLabelling(labelling: Labelling, found: Reading) -> str:
    seconds = sum(labelling.seconds.values())
    said = f"{len(found.proposals) + len(found.fresh)} segments found"
    said += f" in {seconds:.0f} s." if seconds >= 1 else "."
    if found.locked:
        said += f" Locked, and so left as they are: {', '.join(found.locked)}."
    if labelling.ladder:
        said += f" To get by with the memory there is: {', '.join(labelling.ladder)}."
    return said


def _ml(amount: float) -> str:
    return f"{amount:.2g} ml" if amount < 10 else f"{amount:.0f} ml"
