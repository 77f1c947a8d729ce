"""Interpolation between a scan's grid and a network's grid, one axis at a time.

Both grids share their centre and their directions, so a resampling is three small sparse matrices, exact for every
ratio of spacings. They are also the whole memory it needs: planes go through one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class AxisMap:
    """How the voxels of one axis of a scan lie on the network's grid (a part of it, from `start`)."""

    scan_size: int
    grid_size: int
    """Size of the whole grid along the axis; the network may be shown only a part."""
    step: float
    """Scan voxels per voxel of the grid."""
    start: int
    stop: int

    @property
    def same(self) -> bool:
        """Whether voxels lie on voxels, so that nothing has to be interpolated."""
        return self.scan_size == self.grid_size and abs(self.step - 1) * self.scan_size < 1e-2

    @property
    def size(self) -> int:
        return self.stop - self.start

    def scan_positions(self) -> np.ndarray:
        """Continuous scan index of each grid voxel of the part."""
        grid = np.arange(self.start, self.stop)
        return (grid - (self.grid_size - 1) / 2) * self.step + (self.scan_size - 1) / 2

    def grid_positions(self) -> np.ndarray:
        """Continuous index into the part of each scan voxel; those beyond it lie below -0.5 or above size - 0.5.

        So may the scan's outermost voxels, since the grid's size is rounded.
        """
        scan = np.arange(self.scan_size)
        return (scan - (self.scan_size - 1) / 2) / self.step + (self.grid_size - 1) / 2 - self.start

    def covered(self) -> slice:
        """The scan voxels that lie in the part. One that reaches an end of the grid has all beyond that end."""
        positions = self.grid_positions()
        low = -np.inf if self.start == 0 else -0.5 - 1e-6
        high = np.inf if self.stop == self.grid_size else self.size - 0.5 + 1e-6
        inside = np.flatnonzero((positions >= low) & (positions <= high))
        return slice(int(inside[0]), int(inside[-1]) + 1) if inside.size else slice(0, 0)


def axis_map(scan_size: int, scan_spacing: float, grid_spacing: float | None, box: slice = slice(None)) -> AxisMap:
    """The map of an axis when the scan's `box` (in scan voxels) is what the network has to see."""
    first, last, _ = box.indices(scan_size)
    step = 1.0 if grid_spacing is None else grid_spacing / scan_spacing
    if abs(step - 1) * scan_size < 1e-2:
        return AxisMap(scan_size, scan_size, 1.0, first, last)
    grid_size = max(1, round(scan_size / step))
    # The edges of the box, in grid voxels: all that it touches.
    low, high = ((edge - 0.5 - (scan_size - 1) / 2) / step + (grid_size - 1) / 2 for edge in (first, last))
    start = int(np.clip(np.floor(low + 0.5), 0, grid_size - 1))
    stop = int(np.clip(np.ceil(high + 0.5), start + 1, grid_size))
    return AxisMap(scan_size, grid_size, step, start, stop)


def interpolation_matrix(size: int, positions: np.ndarray, width: float = 1.0) -> Any:
    """Sparse (positions × size) weights: linear for width 1, an average over `width` voxels on both sides beyond.

    Positions beyond the ends take the value of the end. Elsewhere a ramp stays the same ramp, so nothing is moved.
    """
    from scipy.sparse import csr_array

    width = max(1.0, width)
    reach = int(np.ceil(width))
    taps = np.floor(positions)[:, None] + np.arange(-reach + 1, reach + 1)
    distances = taps - positions[:, None]
    weights = np.clip(1 - np.abs(distances) / width, 0, None)
    # Few taps of a triangle have their centre of mass beside its tip, by up to a twentieth of a voxel: tilt them back.
    lean = (weights * distances).sum(axis=1) / np.maximum((weights * distances**2).sum(axis=1), 1e-9)
    weights *= 1 - lean[:, None] * distances
    weights /= weights.sum(axis=1, keepdims=True)
    rows = np.repeat(np.arange(len(positions)), taps.shape[1])
    columns = np.clip(taps, 0, size - 1).astype(np.int64).ravel()
    matrix = csr_array((weights.ravel().astype(np.float32), (rows, columns)), shape=(len(positions), size))
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix


def resample(array: np.ndarray, maps: tuple[AxisMap, AxisMap, AxisMap], antialias: bool) -> np.ndarray:
    """A new float32 array (in the order of the maps) on the grid. With `antialias`, coarser voxels are averages."""
    if all(axis.same for axis in maps):
        box = tuple(slice(axis.start, axis.stop) for axis in maps)
        return np.array(array[box], dtype=np.float32, order="C")
    matrices = [
        interpolation_matrix(axis.scan_size, axis.scan_positions(), axis.step if antialias else 1.0) for axis in maps
    ]
    # Walk along the axis whose planes are closest together in memory.
    order = sorted(range(3), key=lambda axis: -abs(array.strides[axis]))
    walked, first, second = (matrices[axis] for axis in order)
    planes = array.transpose(order)
    result = np.empty([maps[axis].size for axis in order], dtype=np.float32)
    for row in range(len(result)):
        taps = slice(walked.indptr[row], walked.indptr[row + 1])
        plane = np.zeros(planes.shape[1:], dtype=np.float32)
        for weight, tap in zip(walked.data[taps], walked.indices[taps], strict=True):
            plane += weight * planes[tap].astype(np.float32)
        result[row] = (second @ (first @ plane).T).T
    return np.ascontiguousarray(result.transpose(np.argsort(order)))
