"""Where the pancreas method looks for positives and negatives: the organ's skeleton, and that of a ring around it.

An organ keeps its spatial structure when the scanner changes, so features on its midline have to be alike, in every
slice and scan, and unlike those of what lies close around it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Points:
    """Voxels to compare: (n, 3) positions, and whether each is of the organ (1) or of its surroundings (0)."""

    positions: np.ndarray
    classes: np.ndarray


def draw_points(
    organ: np.ndarray,
    spacing: tuple[float, float, float],
    rng: np.random.Generator,
    *,
    ring_mm: tuple[float, float] = (8.0, 16.0),
    every: int = 8,
    least_organ: int = 10,
    least_ring: int = 5,
) -> Points:
    """Per slice one voxel of the organ's skeleton and one of its ring's.

    Slices are taken `every` so many, from a random one on: nearer ones fall into the same cell of the features. The
    organ's skeleton is that of the volume where it passes the slice, else that of the slice, as the ring's is: the
    midline of an organ that lies flat passes few slices. A slice with fewer than `least_organ` voxels of the organ
    gives no positive, one with fewer than `least_ring` of the ring no negative.
    """
    from skimage.morphology import skeletonize

    if not organ.any():
        return Points(np.zeros((0, 3), dtype=np.int64), np.zeros(0, dtype=np.int64))
    radius = rng.uniform(*ring_mm)
    near = _box_around(organ, [int(np.ceil(radius / side)) for side in spacing])
    organ, start = organ[near], np.array([part.start for part in near])
    midline = skeletonize(organ, method="lee") > 0 if organ.shape[2] > 1 else np.zeros_like(organ)
    ring = ring_around(organ, radius, spacing)
    depth = organ.shape[2]
    found: list[tuple[int, int, int, int]] = []
    for k in range(int(rng.integers(min(every, depth))), depth, every):
        inside, around = organ[:, :, k], ring[:, :, k]
        if np.count_nonzero(inside) >= least_organ:
            passing = midline[:, :, k] & inside
            found.append((*_any_of(passing if passing.any() else skeletonize(inside), rng), k, 1))
        if np.count_nonzero(around) >= least_ring:
            found.append((*_any_of(skeletonize(around), rng), k, 0))
    table = np.array(found, dtype=np.int64).reshape(-1, 4)
    return Points(table[:, :3] + start, table[:, 3])


def ring_around(organ: np.ndarray, radius_mm: float, spacing: tuple[float, float, float]) -> np.ndarray:
    """Voxels outside the organ that are no farther from it than the radius, whatever the spacing."""
    from scipy.ndimage import distance_transform_edt

    return (distance_transform_edt(~organ, sampling=spacing) <= radius_mm) & ~organ


def _box_around(mask: np.ndarray, margin: list[int]) -> tuple[slice, slice, slice]:
    where = [np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis))) for axis in range(3)]
    return tuple(slice(max(0, int(w[0]) - m), int(w[-1]) + m + 1) for w, m in zip(where, margin, strict=True))


def _any_of(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    where = np.argwhere(mask)
    return where[rng.integers(len(where))]
