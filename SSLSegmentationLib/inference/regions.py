"""Where to look next: connected regions of doubt, the worst first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from SSLSegmentationLib.volume import Volume


@dataclass(frozen=True)
class UnsureRegion:
    centre_ras: tuple[float, float, float]
    """The most doubtful voxel of the region, so that it always lies in it."""
    ml: float
    mean: float
    peak: float
    burden: float
    """Doubt times volume (ml); the order of the list."""


def unsure_regions(
    uncertainty: Volume, threshold: float = 0.5, smallest_ml: float = 0.02, most: int = 100
) -> list[UnsureRegion]:
    """The connected regions in which the doubt is at least `threshold`, by the doubt they hold in all."""
    from scipy import ndimage

    parts, count = ndimage.label(uncertainty.voxels >= threshold, structure=np.ones((3, 3, 3), dtype=bool))
    regions = []
    for number, box in enumerate(ndimage.find_objects(parts, count), start=1):
        inside = parts[box] == number
        ml = float(inside.sum()) * uncertainty.voxel_ml
        if ml < smallest_ml:
            continue
        doubt = np.where(inside, uncertainty.voxels[box], -1.0)
        offset = np.unravel_index(int(doubt.argmax()), doubt.shape)
        ijk = [box[axis].start + offset[axis] for axis in (2, 1, 0)]
        mean = float(doubt[inside].mean())
        centre = tuple(float(value) for value in uncertainty.to_ras(np.array(ijk)))
        regions.append(UnsureRegion(centre, ml, mean, float(doubt.max()), mean * ml))
    return sorted(regions, key=lambda region: -region.burden)[:most]
