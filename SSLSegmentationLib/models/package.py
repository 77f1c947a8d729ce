"""ModelPackage: all that inference has to know about a model, read from one folder.

Everything spatial is in (i, j, k) order, and networks see tensors of (batch, channel, i, j, k), as MONAI's readers and
transforms give them; so bundles of the MONAI Model Zoo mean the same here as there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from SSLSegmentationLib.labels import Label


@dataclass(frozen=True)
class IntensityRule:
    """How voxel values become what the network was trained on.

    window      (v - low) / (high - low) × (out_high - out_low) + out_low, clipped to the output range if `clip`
    percentile  the same, with low and high read as percentiles of this scan (0 to 100)
    zscore      (v - mean) / standard deviation of this scan; if `nonzero`, measured over the voxels that are not zero
                and applied to those only: zeros stay zero
    none        values as they are

    `then`, if there is one, is applied to the result, and what it measures is measured there.
    """

    kind: Literal["window", "percentile", "zscore", "none"]
    low: float = 0.0
    high: float = 1.0
    out_low: float = 0.0
    out_high: float = 1.0
    clip: bool = True
    nonzero: bool = False
    then: IntensityRule | None = None


@dataclass(frozen=True)
class Preprocessing:
    orientation: str = "RAS"
    spacing: tuple[float, float, float] | None = None
    """Millimetres of the network's grid; None keeps the scan's own spacing."""
    intensity: IntensityRule = IntensityRule("none")
    antialias: bool = True
    """Average over what a coarser voxel covers, instead of picking points out of the scan."""
    crop_to_body: bool = True
    """Look only at the box around the body; outside it everything is background."""


@dataclass(frozen=True)
class Sliding:
    patch: tuple[int, int, int]
    overlap: float = 0.5
    weighting: Literal["gaussian", "constant"] = "gaussian"
    padding: Literal["zero", "edge"] = "zero"
    """What lies around a scan that is smaller than a patch: zeros, or its outermost voxels repeated."""


@dataclass(frozen=True)
class UncertaintyRule:
    """Where the doubt comes from when the user does not choose, and the temperature fitted on validation cases."""

    source: Literal["entropy", "flips", "dropout", "members"] = "entropy"
    passes: int = 1
    """Number of random passes with source "dropout"."""
    flip_axes: tuple[int, ...] = ()
    """Axes (0 = i) along which the model may be flipped; flips use every combination of them."""
    temperature: float = 1.0


@dataclass(frozen=True)
class ModelPackage:
    folder: Path
    id: str
    title: str
    version: str
    modality: str
    """DICOM's code of what it was trained on (CT, MR); empty if any."""
    licence: str
    """SPDX identifier, or the name the licence gives itself."""
    labels: tuple[Label, ...]
    """Without the background; value v is channel v of the network's output."""
    network: dict[str, Any]
    """`_target_` and plain arguments; the class is looked up in an allow-list."""
    weights: tuple[Path, ...]
    """One file, or one for each member of an ensemble."""
    sliding: Sliding
    preprocessing: Preprocessing = Preprocessing()
    activation: Literal["softmax", "sigmoid"] = "softmax"
    """sigmoid: one output channel, the probability of label 1."""
    uncertainty: UncertaintyRule = UncertaintyRule()
    keep_largest: tuple[int, ...] = ()
    """Labels of which only the largest connected component is kept."""
    keep_surest: tuple[int, ...] = ()
    """Labels of which only those components are kept that the network is surest of."""
    description: str = ""
    training: dict[str, Any] = field(default_factory=dict)
    """Data, method and recipe, for the card and for provenance."""
    scores: dict[str, Any] = field(default_factory=dict)

    @property
    def classes(self) -> int:
        """Number of classes with the background, whatever the number of output channels."""
        return max((label.value for label in self.labels), default=0) + 1
