"""Stack: parallel slices through a scan that share its voxels out, every voxel to exactly one slice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.plane import Box, Plane, slice_plane
from SSLSegmentationLib.proposal import Cropped
from SSLSegmentationLib.volume import Volume

_TOLERANCE = 1e-3  # voxels, the same as where masks are put back: rounding noise must not decide whose a voxel is
_STRAIGHT = 0.99999  # cosine; a quarter of a degree off an axis of the scan is that axis


@dataclass(frozen=True, eq=False)
class Stack:
    """Slices 0 to count − 1 of one size, along an axis of the scan or along any other direction.

    One slice is as thick as a step of the axis it faces most, measured along the normal. So each column of voxels along
    that axis meets each slice in one voxel: masks of neighbouring slices leave no hole and never overlap.
    """

    volume: Volume
    first: Plane
    count: int

    @property
    def step_mm(self) -> float:
        return float(np.linalg.norm(self.first.pixel_to_ras[:3, 2]))

    def plane(self, n: int) -> Plane:
        matrix = self.first.pixel_to_ras.copy()
        matrix[:3, 3] += n * matrix[:3, 2]
        return Plane(matrix, self.first.shape)

    def number_at(self, ras: np.ndarray) -> int:
        """The slice nearest to a place; it need not be one of the stack."""
        return int(np.floor(self.first.to_pixel(np.asarray(ras))[2] + 0.5 + _TOLERANCE))

    def numbers(self, box: Box) -> np.ndarray:
        """For every voxel of a (k, j, i) box the slice it belongs to."""
        along = _facing(self.volume, self.first)[1]
        # Steps from the first slice, as a sum over the three axes.
        steps = self.first.normal @ self.volume.ijk_to_ras[:3, :3] / along
        start = (self.volume.ijk_to_ras[:3, 3] - self.first.pixel_to_ras[:3, 3]) @ self.first.normal / along
        k, j, i = np.ogrid[box]
        place = steps[2] * k + steps[1] * j + steps[0] * i + start
        if along > 0:
            return np.ceil(place - 0.5 - _TOLERANCE).astype(np.int32)
        return np.floor(0.5 + _TOLERANCE - place).astype(np.int32)

    def look(self, mask: Cropped, n: int) -> np.ndarray:
        """The (rows, columns) pixels of slice n whose voxel is in the mask."""
        return look(mask, self.plane(n), self.volume)

    def touched(self, mask: Cropped) -> list[int]:
        """The slices in which the mask has voxels."""
        if not mask.bits.any():
            return []
        numbers = np.unique(self.numbers(mask.box)[mask.bits])
        return [int(n) for n in numbers if 0 <= n < self.count]


def slices_along(volume: Volume, axis: int) -> Stack:
    """The scan's own slices; `axis` 0, 1, 2 is k, j, i as in the array."""
    return Stack(volume, slice_plane(volume, axis, 0), volume.shape[axis])


def acquired(volume: Volume) -> Stack:
    """Slices along the axis with the largest spacing, across which scanners acquire; of equal ones the first."""
    steps = np.round(volume.spacing[::-1], 3)
    return slices_along(volume, int(np.argmax(steps)))


def slices_across(volume: Volume, normal: np.ndarray) -> Stack:
    """Slices at a right angle to any direction in RAS; the scan's own ones where the direction is one of its axes."""
    normal = np.asarray(normal, dtype=np.float64)
    if normal.shape != (3,) or not np.isfinite(normal).all() or not normal.any():
        raise InputError(f"{normal.tolist()} is no direction: give three numbers in RAS, not all zero.")
    normal = normal / np.linalg.norm(normal)
    cosines = np.abs(normal @ volume.directions)
    facing = int(np.argmax(cosines))
    if cosines[facing] > _STRAIGHT:
        return slices_along(volume, 2 - facing)
    columns = volume.directions[:, (facing + 1) % 3]
    columns = columns - (columns @ normal) * normal
    columns /= np.linalg.norm(columns)
    size = float(volume.spacing.min())
    matrix = np.eye(4)
    matrix[:3, 0], matrix[:3, 1], matrix[:3, 2] = columns * size, np.cross(normal, columns) * size, normal
    matrix[:3, 3] = volume.to_ras((np.array(volume.shape[::-1]) - 1) / 2)
    return slices_beside(volume, Plane(matrix, (1, 1)))


def slices_beside(volume: Volume, plane: Plane) -> Stack:
    """Slices parallel to a plane, one of which lies in it, with pixels like its own, over all of the scan.

    The plane itself may show a part of the scan only, as a slice view does.
    """
    cosines = np.abs(plane.normal @ volume.directions)
    facing, along = _facing(volume, plane)
    if cosines[facing] > _STRAIGHT:
        return slices_along(volume, 2 - facing)
    matrix = plane.pixel_to_ras.copy()
    matrix[:3, 2] = plane.normal * abs(along)
    corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in volume.shape[::-1]])).reshape(3, -1).T
    places = Plane(matrix, plane.shape).to_pixel(volume.to_ras(corners))
    low, high = np.ceil(places.min(axis=0) - 0.5), np.floor(places.max(axis=0) + 0.5)
    matrix[:3, 3] += matrix[:3, :3] @ low
    columns, rows, count = (int(n) for n in high - low + 1)
    return Stack(volume, Plane(matrix, (rows, columns)), count)


def part_of(plane: Plane, rows: slice, columns: slice) -> Plane:
    """The plane of some rows and columns of a plane."""
    matrix = plane.pixel_to_ras.copy()
    matrix[:3, 3] = plane.to_ras(np.array([columns.start, rows.start], dtype=float))
    return Plane(matrix, (rows.stop - rows.start, columns.stop - columns.start))


def look(mask: Cropped, plane: Plane, volume: Volume) -> np.ndarray:
    """The (rows, columns) pixels of a plane whose voxel is in the mask: the way back of `put_back`.

    The voxel of a pixel is the one, in the nearest column along the axis the plane faces, that belongs to the plane.
    Interpolating would mix in the slices on both sides, and what is drawn on a single slice would get holes.
    """
    seen = np.zeros(plane.shape, dtype=bool)
    if 0 in mask.bits.shape:
        return seen
    pixel_to_ijk = volume.ras_to_ijk @ plane.pixel_to_ras
    # Only the pixels that the box of the mask can reach.
    sides = np.array(np.meshgrid(*[(s.start - 1.5, s.stop + 0.5) for s in mask.box[::-1]])).reshape(3, -1).T
    around = plane.to_pixel(volume.to_ras(sides))[:, :2]
    low = np.maximum(np.floor(around.min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(around.max(axis=0)).astype(int) + 1, plane.shape[::-1])
    if (low >= high).any():
        return seen
    rows, columns = np.mgrid[low[1] : high[1], low[0] : high[0]]
    ijk = pixel_to_ijk[:3, 0, None, None] * columns + pixel_to_ijk[:3, 1, None, None] * rows
    ijk = np.moveaxis(ijk + pixel_to_ijk[:3, 3, None, None], 0, -1)
    ijk = np.floor(ijk + 0.5 + _TOLERANCE)
    facing, along = _facing(volume, plane)
    ijk[..., facing] = 0
    distance = (volume.to_ras(ijk) - plane.pixel_to_ras[:3, 3]) @ plane.normal
    ijk[..., facing] = np.floor(-distance / along + 0.5 + _TOLERANCE)
    kji = ijk[..., ::-1].astype(int) - [s.start for s in mask.box]
    inside = ((kji >= 0) & (kji < mask.bits.shape)).all(axis=-1)
    part = np.zeros(inside.shape, dtype=bool)
    part[inside] = mask.bits[tuple(kji[inside].T)]
    seen[low[1] : high[1], low[0] : high[0]] = part
    return seen


def _facing(volume: Volume, plane: Plane) -> tuple[int, float]:
    """The axis (of i, j, k) that the plane faces most, and the millimetres along the normal in one step of it."""
    along = plane.normal @ volume.ijk_to_ras[:3, :3]
    facing = int(np.argmax(np.abs(along)))
    return facing, float(along[facing])
