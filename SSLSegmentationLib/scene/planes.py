"""Slice views as Planes: the whole slice of the scan that a view shows, whatever its zoom."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import slicer

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.plane import Plane, slice_plane
from SSLSegmentationLib.scene.arrays import corners_of
from SSLSegmentationLib.volume import Volume

_STRAIGHT = 0.25  # of a slice: as long as no corner of the scan is further off, the view shows a slice of the scan


def plane_of(slice_node: slicer.vtkMRMLSliceNode, volume: Volume) -> Plane:
    """The plane of a slice view through a scan."""
    plane = plane_through(slice_to_ras(slice_node), volume)
    if plane is None:
        raise InputError(
            f"The view {slice_node.GetLayoutName() or slice_node.GetName()} shows no part of {volume.name}: "
            "scroll until the scan appears."
        )
    return plane


def plane_through(view: np.ndarray, volume: Volume) -> Plane | None:
    """The plane of a view through a scan, by the view's right, up, normal and a place on it; None if it passes beside.

    Where the view lies along slices of the scan, this is the nearest one, voxel by voxel, so that a model sees what
    was measured and remembers it however the view is moved. Elsewhere it is cut at the view's own place and turned as
    the view is, with pixels as small as the scan's smallest spacing.
    """
    # Rounded, so that all clicks in one view give one plane to the last bit, and what a model has seen of it is known.
    axes, point = np.round(view[:3, :3] / np.linalg.norm(view[:3, :3], axis=0), 6), view[:3, 3]
    steps = axes[:, 2] @ volume.ijk_to_ras[:3, :3]  # millimetres along the normal per step of i, j, k
    facing = int(np.argmax(np.abs(steps)))
    across = [axis for axis in range(3) if axis != facing]
    size = np.array(volume.shape[::-1])
    tilt = sum(abs(steps[axis]) * (size[axis] - 1) / 2 for axis in across) / abs(steps[facing])
    if tilt > _STRAIGHT:
        return _oblique(volume, axes, point, thickness=abs(steps[facing]))
    middle = (size - 1) / 2
    middle[facing] = 0
    index = int(np.floor((point - volume.to_ras(middle)) @ axes[:, 2] / steps[facing] + 0.5))
    return slice_plane(volume, 2 - facing, index) if 0 <= index < size[facing] else None


def window_of(scan: slicer.vtkMRMLScalarVolumeNode) -> tuple[float, float] | None:
    """The width and the level of the grey values the user looks through; None if the scan has never been shown."""
    display = scan.GetScalarVolumeDisplayNode()
    return None if display is None else (display.GetWindow(), display.GetLevel())


def slice_to_ras(slice_node: slicer.vtkMRMLSliceNode) -> np.ndarray:
    """From millimetres right, up and out of the screen, counted from the view's centre, to RAS."""
    return np.array(slice_node.GetSliceToRAS().GetData()).reshape(4, 4)


def _oblique(volume: Volume, axes: np.ndarray, point: np.ndarray, thickness: float) -> Plane | None:
    depth = round(float(point @ axes[:, 2]), 3)
    seen = _outline(volume, axes[:, 2], axes[:, 2] * depth)
    if len(seen) == 0:
        return None
    right, down = axes[:, 0], -axes[:, 1]  # rows go down the screen, as a picture is looked at
    pixel = float(volume.spacing.min())
    in_plane = seen @ np.stack([right, down], axis=1)
    low, high = in_plane.min(axis=0), in_plane.max(axis=0)
    columns, rows = np.maximum(np.ceil((high - low) / pixel - 1e-3).astype(int), 1)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([right * pixel, down * pixel, np.cross(right, down) * thickness], axis=1)
    corner = low + pixel / 2
    matrix[:3, 3] = right * corner[0] + down * corner[1] + axes[:, 2] * depth
    return Plane(matrix, (int(rows), int(columns)))


def _outline(volume: Volume, normal: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Where a plane meets the edges of a volume, as (n, 3) RAS points; none if it passes beside it."""
    corners = corners_of(volume)
    heights = (corners - point) @ normal
    met = []
    for a, b in combinations(range(8), 2):
        if bin(a ^ b).count("1") == 1 and heights[a] * heights[b] <= 0 and heights[a] != heights[b]:
            met.append(corners[a] + (corners[b] - corners[a]) * heights[a] / (heights[a] - heights[b]))
    return np.array(met).reshape(-1, 3)
