"""Prompt: what the user placed to say what belongs to a segment, always in RAS millimetres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.plane import Box, Plane, put_back
from SSLSegmentationLib.volume import Volume, check_matrix, transform_points

Ras = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class PointPrompt:
    """A click: this place belongs to the segment, or (negative) does not."""

    ras: Ras
    positive: bool = True
    plane: Plane | None = None
    """The view it was placed in; None if it was placed in space."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "ras", _point(self.ras, "the point"))


@dataclass(frozen=True, eq=False)
class BoxPrompt:
    """A box around the structure: a corner and the edges that leave it.

    Two edges span a rectangle on a plane, three a box in space; they need not run along the axes of the scan.
    """

    corner: Ras
    edges: tuple[Ras, ...]
    plane: Plane | None = None

    def __post_init__(self) -> None:
        if len(self.edges) not in (2, 3):
            raise InputError(f"the box has {len(self.edges)} edges: give two for a rectangle or three for a box.")
        object.__setattr__(self, "corner", _point(self.corner, "the corner of the box"))
        object.__setattr__(self, "edges", tuple(_point(edge, "an edge of the box") for edge in self.edges))

    @property
    def corners(self) -> np.ndarray:
        """The four or eight corners in RAS."""
        steps = np.array(np.meshgrid(*[(0, 1)] * len(self.edges), indexing="ij")).reshape(len(self.edges), -1).T
        return np.array(self.corner) + steps @ np.array(self.edges)

    def around(self, volume: Volume) -> Box:
        """The (k, j, i) box of the voxels that the prompt can touch; empty where it misses the volume."""
        ijk = volume.to_ijk(self.corners)
        first = np.maximum(np.floor(ijk.min(axis=0) + 0.5), 0).astype(int)
        last = np.minimum(np.floor(ijk.max(axis=0) + 0.5), np.array(volume.shape[::-1]) - 1).astype(int)
        last = np.maximum(last, first - 1)
        return tuple(slice(int(a), int(b) + 1) for a, b in zip(first[::-1], last[::-1], strict=True))


@dataclass(frozen=True, eq=False)
class MaskPrompt:
    """A painted area: pixels (rows, columns) of a plane, or voxels (k, j, i) of a grid, and where they lie."""

    pixels: np.ndarray
    to_ras: np.ndarray
    """4×4: from (column, row, depth) of a plane, or from (i, j, k) of a grid."""
    positive: bool = True

    def __post_init__(self) -> None:
        pixels, matrix = np.asarray(self.pixels, dtype=bool), np.array(self.to_ras, dtype=np.float64)
        if pixels.ndim not in (2, 3) or 0 in pixels.shape:
            raise InputError(f"the painted mask has the shape {pixels.shape}: give rows and columns, or a block.")
        check_matrix(matrix, "the painted mask")
        matrix.setflags(write=False)
        object.__setattr__(self, "pixels", pixels)
        object.__setattr__(self, "to_ras", matrix)

    @property
    def plane(self) -> Plane | None:
        return Plane(self.to_ras, self.pixels.shape) if self.pixels.ndim == 2 else None

    def on(self, volume: Volume) -> tuple[Box, np.ndarray]:
        """The voxels of the volume it covers, as a (k, j, i) box and the bits inside it."""
        if self.plane is not None:
            return put_back(self.pixels, self.plane, volume)
        found = np.argwhere(self.pixels)
        nothing = (slice(0, 0),) * 3, np.zeros((0, 0, 0), dtype=bool)
        if len(found) == 0:
            return nothing
        # The voxels whose centres lie in a set voxel of the mask: looked up from the volume's side, so that a mask with
        # a coarser grid leaves no holes.
        first, last = found.min(axis=0) - 0.5, found.max(axis=0) + 0.5
        sides = np.array(np.meshgrid(*zip(first, last, strict=True), indexing="ij")).reshape(3, -1).T
        ijk = volume.to_ijk(transform_points(self.to_ras, sides[:, ::-1]))
        low = np.maximum(np.ceil(ijk.min(axis=0) - 1e-6).astype(int), 0)
        high = np.minimum(np.floor(ijk.max(axis=0) + 1e-6).astype(int), np.array(volume.shape[::-1]) - 1)
        if (low > high).any():
            return nothing
        box = tuple(slice(int(a), int(b) + 1) for a, b in zip(low[::-1], high[::-1], strict=True))
        steps = np.meshgrid(*(np.arange(s.start, s.stop) for s in box[::-1]), indexing="ij")
        ras = volume.to_ras(np.stack(steps, axis=-1))
        at = np.floor(transform_points(np.linalg.inv(self.to_ras), ras) + 0.5 + 1e-6).astype(int)[..., ::-1]
        inside = ((at >= 0) & (at < np.array(self.pixels.shape))).all(axis=-1)
        bits = np.zeros(inside.shape, dtype=bool)
        bits[inside] = self.pixels[tuple(at[inside].T)]
        return box, bits.transpose(2, 1, 0)


Prompt = PointPrompt | BoxPrompt | MaskPrompt


def _point(values: Ras, what: str) -> Ras:
    array = np.asarray(values, dtype=np.float64)
    if array.shape != (3,) or not np.isfinite(array).all():
        raise InputError(f"{what} is {values}, but a place has three finite millimetres: right, anterior, superior.")
    return tuple(float(value) for value in array)
