"""What the operations of a session give: Proposals for one or several segments, or a Labelling of the whole scan."""

from __future__ import annotations

from dataclasses import dataclass, field

from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.proposal import End, PartReport, Proposal
from SSLSegmentationLib.volume import Volume


@dataclass(frozen=True, eq=False)
class Proposals:
    """What `refine` and `propagate` suggest, and what they tell of it."""

    segments: dict[str, Proposal]
    """One for each segment that was asked for, in that order."""
    parts: tuple[PartReport, ...] = ()
    """What `refine` made of each part on each slice."""
    ends: tuple[End, ...] = ()
    """How far `propagate` has followed each segment, and why no further."""

    @property
    def nbytes(self) -> int:
        return sum(proposal.nbytes for proposal in self.segments.values())


@dataclass(frozen=True, eq=False)
class Labelling:
    """What `segment` found, on the scan's own grid."""

    labels: Volume
    """Label values."""
    names: tuple[Label, ...]
    uncertainty: Volume | None = None
    """float32, 0 to 1."""
    disagreement: Volume | None = None
    """float32, where the doubt has several opinions."""
    model: str = ""
    device: str = ""
    ladder: tuple[str, ...] = ()
    """What was done to get by with the memory there is; empty if nothing was."""
    seconds: dict[str, float] = field(default_factory=dict)
    version: str = ""
    """Of the model."""
    weights_sha256: str = ""

    @property
    def nbytes(self) -> int:
        volumes = (self.labels, self.uncertainty, self.disagreement)
        return sum(volume.voxels.nbytes for volume in volumes if volume is not None)


Result = Proposal | Proposals | Labelling
