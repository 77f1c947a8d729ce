"""Overlap and surface distances of one class in one case.

What is missing is not passed over:

- in truth and prediction alike, there is nothing to score: every figure is NaN, and means leave the case out;
- in one of them, overlap is 0 and every distance is the diagonal of the scan, the worst there can be.

The second rule is stricter than the code of many papers, where an empty prediction counts as distance 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

Spacing = tuple[float, float, float]


@dataclass(frozen=True)
class Score:
    dice: float
    jaccard: float
    hd95_mm: float
    """95th percentile of the distances of both surfaces to each other, pooled."""
    assd_mm: float
    """Mean of the same distances."""
    nsd: float
    """Share of both surfaces that lies within the tolerance of the other."""
    hd95_voxels: float
    """In steps of the grid, as papers on resampled scans give it; so is the next."""
    assd_voxels: float
    truth_ml: float
    found_ml: float


def score(found: np.ndarray, truth: np.ndarray, spacing: Spacing, tolerance_mm: float = 2.0) -> Score:
    """Compare two masks on one grid; `spacing` goes with the axes of the arrays."""
    found, truth = found.astype(bool, copy=False), truth.astype(bool, copy=False)
    if found.shape != truth.shape:
        raise ValueError(f"a prediction of {found.shape} voxels cannot be compared with a truth of {truth.shape}")
    both, in_found, in_truth = (int(np.count_nonzero(mask)) for mask in (found & truth, found, truth))
    to_ml = math.prod(spacing) / 1000
    volumes = {"truth_ml": in_truth * to_ml, "found_ml": in_found * to_ml}
    if not in_found and not in_truth:
        return Score(*[math.nan] * 7, **volumes)
    if not in_found or not in_truth:
        mm = math.hypot(*(side * n for side, n in zip(spacing, truth.shape, strict=True)))
        voxels = math.hypot(*truth.shape)
        return Score(0.0, 0.0, mm, mm, 0.0, voxels, voxels, **volumes)
    distances = surface_distances(found, truth, spacing)
    steps = distances if set(spacing) == {1.0} else surface_distances(found, truth, (1.0, 1.0, 1.0))
    return Score(
        dice=2 * both / (in_found + in_truth),
        jaccard=both / (in_found + in_truth - both),
        hd95_mm=float(np.percentile(distances, 95)),
        assd_mm=float(distances.mean()),
        nsd=float((distances <= tolerance_mm).mean()),
        hd95_voxels=float(np.percentile(steps, 95)),
        assd_voxels=float(steps.mean()),
        **volumes,
    )


def surface_distances(one: np.ndarray, other: np.ndarray, spacing: Spacing) -> np.ndarray:
    """From every surface voxel of each mask to the nearest surface voxel of the other. Neither may be empty."""
    box = _around(one | other)
    first, second = _surface(one[box]), _surface(other[box])
    return np.concatenate(
        [
            ndimage.distance_transform_edt(~second, sampling=spacing)[first],
            ndimage.distance_transform_edt(~first, sampling=spacing)[second],
        ]
    )


def _surface(mask: np.ndarray) -> np.ndarray:
    """The voxels of a mask that touch its outside by a face; the edge of the scan is outside."""
    return mask & ~ndimage.binary_erosion(mask)


def _around(mask: np.ndarray) -> tuple[slice, ...]:
    """The box of a mask: nothing beyond it can be nearer than what is in it."""
    return ndimage.find_objects(mask.astype(np.uint8))[0]
