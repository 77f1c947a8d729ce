"""Putting a part of a grid back onto the whole: Slicer and DICOM save segmentations cut to what is in them."""

from __future__ import annotations

import numpy as np

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.volume import Volume

_TOLERANCE = 0.02  # of a voxel; headers carry positions with about six digits


def placed_on(part: Volume, whole: Volume) -> Volume:
    """The voxels of a part on the grid of the whole, with zeros around it.

    The part may be cropped, may reach beyond the whole with zeros, and its axes may be swapped or flipped. Where its
    voxels are not voxels of the whole, InputError is raised, because nothing is interpolated here.
    """
    if part.same_grid_as(whole):
        return part
    step = np.linalg.inv(whole.ijk_to_ras) @ part.ijk_to_ras  # from voxels of the part to voxels of the whole
    turn = np.rint(step[:3, :3]).astype(int)
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in part.shape[::-1]])).reshape(3, -1).T
    ends = corners @ step[:3, :3].T + step[:3, 3]
    whole_steps = (abs(turn).sum(axis=0) == 1).all() and (abs(turn).sum(axis=1) == 1).all()
    start = np.rint(step[:3, 3]).astype(int)
    if not whole_steps or abs(ends - (corners @ turn.T + start)).max() > _TOLERANCE:
        raise InputError(
            f"{part.name} does not lie on the grid of {whole.name}: save it again with that scan as reference geometry."
        )
    axes = abs(turn).argmax(axis=1)  # of the part, for each axis of the whole
    flipped = turn.sum(axis=1) < 0
    voxels = part.voxels.transpose([2 - axes[2 - axis] for axis in range(3)])
    voxels = voxels[tuple(slice(None, None, -1 if flipped[2 - axis] else 1) for axis in range(3))]
    low = np.rint(ends.min(axis=0)).astype(int)[::-1]  # (k, j, i) of the part's first voxel
    result = np.zeros(whole.shape, part.voxels.dtype)
    there = [(max(0, a), min(n, a + size)) for a, n, size in zip(low, whole.shape, voxels.shape, strict=True)]
    inside = tuple(slice(a, max(a, b)) for a, b in there)
    cut = tuple(slice(a - at, max(a, b) - at) for (a, b), at in zip(there, low, strict=True))
    result[inside] = voxels[cut]
    if np.count_nonzero(result) < np.count_nonzero(part.voxels):
        raise InputError(f"{part.name} reaches beyond {whole.name}: choose the scan that it was made on.")
    return whole.with_voxels(result, name=part.name)
