"""Whether a model that says 80 % is right in 80 of 100 voxels.

Only voxels near an object, true or found, are asked: a scan is mostly air and certain background, which would make any
model look calibrated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

NEAR_MM = 10.0
_BINS = 15


@dataclass(frozen=True, eq=False)
class Reliability:
    """Voxels by the confidence the model had in them. Those of several cases are added."""

    voxels: np.ndarray
    confidence: np.ndarray
    """Sum over the voxels of a bin; so is `right`."""
    right: np.ndarray

    def __add__(self, other: Reliability) -> Reliability:
        return Reliability(self.voxels + other.voxels, self.confidence + other.confidence, self.right + other.right)

    @property
    def error(self) -> float:
        """Expected calibration error: the gap between confidence and accuracy, weighed by the voxels of each bin."""
        total = self.voxels.sum()
        return float(np.abs(self.confidence - self.right).sum() / total) if total else float("nan")

    def curve(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean confidence and accuracy of the bins that have voxels."""
        full = self.voxels > 0
        return self.confidence[full] / self.voxels[full], self.right[full] / self.voxels[full]


def nothing(bins: int = _BINS) -> Reliability:
    return Reliability(np.zeros(bins, np.int64), np.zeros(bins), np.zeros(bins))


def reliability(probabilities: np.ndarray, truth: np.ndarray, where: np.ndarray, bins: int = _BINS) -> Reliability:
    """Of one case: probabilities (classes, i, j, k), truth as class numbers, and the voxels that count."""
    chosen = probabilities[:, where]
    confidence = chosen.max(axis=0).astype(np.float64)
    right = chosen.argmax(axis=0) == truth[where]
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    return Reliability(
        np.bincount(place, minlength=bins),
        np.bincount(place, confidence, bins),
        np.bincount(place, right.astype(np.float64), bins),
    )


def near_objects(found: np.ndarray, truth: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """The voxels within NEAR_MM of anything that is or was found."""
    objects = (found > 0) | (truth > 0)
    if not objects.any():
        return objects
    return ndimage.distance_transform_edt(~objects, sampling=spacing) <= NEAR_MM
