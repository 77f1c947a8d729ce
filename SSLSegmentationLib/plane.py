"""Plane: a rectangle of pixels in patient space, cut out of a Volume and put back into it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from SSLSegmentationLib.volume import Volume, check_matrix, transform_points

Box = tuple[slice, slice, slice]

_GRID_TOLERANCE = 1e-3  # voxels; closer than this a pixel centre is the voxel centre


@dataclass(frozen=True, eq=False)
class Plane:
    """The pixels of a slice view, straight or oblique.

    `pixel_to_ras` maps (column, row, depth) to RAS millimetres; depth 0 is the plane itself and one unit of depth is
    one slice. Parent transforms of the scan belong into the Volume's matrix, so they need no thought here.
    """

    pixel_to_ras: np.ndarray
    shape: tuple[int, int]
    """Number of (rows, columns)."""

    def __post_init__(self) -> None:
        matrix = np.array(self.pixel_to_ras, dtype=np.float64)
        check_matrix(matrix, "the slice plane")
        matrix.setflags(write=False)
        object.__setattr__(self, "pixel_to_ras", matrix)

    @property
    def normal(self) -> np.ndarray:
        """Unit vector at a right angle to the plane, towards growing depth.

        Taken from the pixels, not from the third column: where a file's directions are rounded, that one leans by up
        to a thousandth, which over 512 pixels is a slice.
        """
        columns, rows, depth = self.pixel_to_ras[:3, :3].T
        across = np.cross(columns, rows)
        return across / np.copysign(np.linalg.norm(across), across @ depth)

    def to_ras(self, pixels: np.ndarray) -> np.ndarray:
        """RAS millimetres of (…, 2) pixels given as (column, row)."""
        pixels = np.asarray(pixels, dtype=np.float64)
        return transform_points(self.pixel_to_ras, np.concatenate([pixels, np.zeros((*pixels.shape[:-1], 1))], -1))

    def to_pixel(self, ras: np.ndarray) -> np.ndarray:
        """(column, row, depth) of (…, 3) RAS points; depth is the signed number of slices off the plane."""
        return transform_points(np.linalg.inv(self.pixel_to_ras), ras)


def slice_plane(volume: Volume, axis: int, index: int) -> Plane:
    """The plane of one of the volume's own slices; `axis` 0, 1, 2 is k, j, i as in the array."""
    row_axis, column_axis = (a for a in range(3) if a != axis)
    order = [2 - column_axis, 2 - row_axis, 2 - axis]
    matrix = np.eye(4)
    matrix[:3, :3] = volume.ijk_to_ras[:3, order]
    start = np.zeros(3)
    start[2 - axis] = index
    matrix[:3, 3] = volume.to_ras(start)
    return Plane(matrix, (volume.shape[row_axis], volume.shape[column_axis]))


def cut(volume: Volume, plane: Plane, outside: float = 0.0) -> np.ndarray:
    """The (rows, columns) image of the volume on the plane.

    On a plane of the volume's own grid this is a view of its voxels; elsewhere it is interpolated linearly, as float32,
    with `outside` where the plane leaves the volume.
    """
    view = _straight_view(volume.voxels, volume, plane)
    if view is not None:
        return view
    from scipy.ndimage import map_coordinates

    rows, columns = plane.shape
    pixel_to_ijk = volume.ras_to_ijk @ plane.pixel_to_ras
    grid_rows, grid_columns = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    ijk = pixel_to_ijk[:3, 0, None, None] * grid_columns + pixel_to_ijk[:3, 1, None, None] * grid_rows
    ijk += pixel_to_ijk[:3, 3, None, None]
    # Pixels that reach at most half a voxel over the edge still lie in a voxel: they take the edge's value.
    image = map_coordinates(volume.voxels, ijk[::-1], output=np.float32, order=1, mode="nearest")
    image[~_inside(ijk, volume)] = outside
    return image


def put_back(mask: np.ndarray, plane: Plane, volume: Volume) -> tuple[Box, np.ndarray]:
    """The voxels that a mask on the plane covers, as a (k, j, i) box and the bits inside it.

    A voxel is covered if its centre lies within half a slice of the plane and the nearest pixel is set. Half a slice is
    taken along the volume axis the plane faces most, so that every column of voxels along that axis gives exactly one
    voxel: no holes and no double layers on any oblique plane. An empty mask gives an empty box.
    """
    mask = np.asarray(mask, dtype=bool)
    if mask.shape != plane.shape:
        raise ValueError(f"a mask of {mask.shape} pixels does not fit a plane of {plane.shape}")
    nothing = (slice(0, 0),) * 3, np.zeros((0, 0, 0), dtype=bool)
    if not mask.any():
        return nothing
    normal_in_steps = plane.normal @ volume.ijk_to_ras[:3, :3]  # millimetres along the normal per step of i, j, k
    facing = int(np.argmax(np.abs(normal_in_steps)))
    across = [axis for axis in range(3) if axis != facing]

    low, high = _reach(mask, plane, volume, half_mm=abs(normal_in_steps[facing]) / 2)
    low = np.maximum(low[across], 0)
    high = np.minimum(high[across], np.array(volume.shape)[::-1][across] - 1)
    if (low > high).any():
        return nothing
    steps = np.meshgrid(*(np.arange(a, b + 1) for a, b in zip(low, high, strict=True)), indexing="ij")
    ijk = np.zeros((steps[0].size, 3))
    ijk[:, across] = np.stack([s.ravel() for s in steps], axis=1)
    distance = (volume.to_ras(ijk) - plane.pixel_to_ras[:3, 3]) @ plane.normal
    exact = -distance / normal_in_steps[facing]
    # The half-open interval [-½, ½): of two voxels at the same distance exactly one is taken. Rounding noise of the
    # matrices must not decide which, hence the tolerance.
    ijk[:, facing] = np.floor(exact + 0.5 + _GRID_TOLERANCE)

    pixels = np.floor(plane.to_pixel(volume.to_ras(ijk))[:, :2] + 0.5 + _GRID_TOLERANCE).astype(np.int64)
    ijk = ijk.astype(np.int64)
    rows, columns = plane.shape
    kept = (ijk[:, facing] >= 0) & (ijk[:, facing] < volume.shape[2 - facing])
    kept &= (pixels >= 0).all(axis=1) & (pixels[:, 0] < columns) & (pixels[:, 1] < rows)
    kept[kept] = mask[pixels[kept, 1], pixels[kept, 0]]
    if not kept.any():
        return nothing
    kji = ijk[kept][:, ::-1]
    first, last = kji.min(axis=0), kji.max(axis=0)
    bits = np.zeros(last - first + 1, dtype=bool)
    bits[tuple((kji - first).T)] = True
    return tuple(slice(int(a), int(b) + 1) for a, b in zip(first, last, strict=True)), bits


def _straight_view(voxels: np.ndarray, volume: Volume, plane: Plane) -> np.ndarray | None:
    """The plane's pixels as a view of the array, if they are exactly a slice of the grid (or a part of one)."""
    pixel_to_ijk = volume.ras_to_ijk @ plane.pixel_to_ras
    rows, columns = plane.shape
    steps = np.rint(pixel_to_ijk[:3, :2]).astype(int)
    start = np.rint(pixel_to_ijk[:3, 3]).astype(int)
    # All four corners, since a plane turned about its diagonal keeps two of them on the grid.
    corners = np.array([(0, 0), (columns - 1, 0), (0, rows - 1), (columns - 1, rows - 1)]).T
    on_grid = start[:, None] + steps @ corners
    off_grid = np.abs(pixel_to_ijk[:3, :2] @ corners + pixel_to_ijk[:3, 3:] - on_grid).max()
    if off_grid > _GRID_TOLERANCE or (np.abs(steps).sum(axis=0) != 1).any():
        return None
    size = np.array(volume.shape)[::-1, None]
    if (on_grid < 0).any() or (on_grid >= size).any():
        return None
    column_axis, row_axis = (int(np.flatnonzero(steps[:, c])[0]) for c in (0, 1))
    if column_axis == row_axis:
        return None
    index: list[int | slice] = [int(s) for s in start[::-1]]
    for axis, column, count in ((column_axis, 0, columns), (row_axis, 1, rows)):
        step, first = int(steps[axis, column]), int(start[axis])
        stop = first + step * count
        index[2 - axis] = slice(first, None if stop < 0 else stop, step)
    view = voxels[tuple(index)]
    return view if 2 - row_axis < 2 - column_axis else view.T


def _inside(ijk: np.ndarray, volume: Volume) -> np.ndarray:
    """Which of (3, …) continuous indices lie in a voxel of the volume."""
    size = np.array(volume.shape)[::-1].reshape(3, *[1] * (ijk.ndim - 1))
    return ((ijk >= -0.5 - _GRID_TOLERANCE) & (ijk <= size - 0.5 + _GRID_TOLERANCE)).all(axis=0)


def _reach(mask: np.ndarray, plane: Plane, volume: Volume, half_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest (i, j, k) index that the set pixels, `half_mm` thick on both sides, can touch."""
    half = half_mm / np.linalg.norm(plane.pixel_to_ras[:3, 2])
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    sides = (columns[0] - 0.5, columns[-1] + 0.5), (rows[0] - 0.5, rows[-1] + 0.5), (-half, half)
    corners = np.array(np.meshgrid(*sides))
    ijk = volume.to_ijk(transform_points(plane.pixel_to_ras, corners.reshape(3, -1).T))
    return np.floor(ijk.min(axis=0)).astype(int) - 1, np.ceil(ijk.max(axis=0)).astype(int) + 1
