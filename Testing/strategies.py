"""What hypothesis draws from in every room: grids in patient space as scanners, files and users produce them."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from SSLSegmentationLib.plane import Plane
from SSLSegmentationLib.volume import AXIS_LETTERS, Volume

ORIENTATIONS = [
    "".join(AXIS_LETTERS[row][side] for row, side in zip(rows, sides, strict=True))
    for rows in permutations(range(3))
    for sides in product((0, 1), repeat=3)
]
"""All 48 orders and directions of three axes."""


def orientations() -> st.SearchStrategy[str]:
    return st.sampled_from(ORIENTATIONS)


def directions_of(orientation: str) -> np.ndarray:
    """3×3 matrix whose columns point towards the letters; a mirrored grid where three letters are left-handed."""
    columns = np.zeros((3, 3))
    for axis, letter in enumerate(orientation):
        row = next(row for row, pair in enumerate(AXIS_LETTERS) if letter in pair)
        columns[row, axis] = 1.0 if AXIS_LETTERS[row][1] == letter else -1.0
    return columns


def numbers(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False, allow_infinity=False)


def rotations(most: float = np.pi) -> st.SearchStrategy[np.ndarray]:
    """Rotation matrices about any axis by up to `most` radians and a bit."""
    vectors = st.tuples(*[numbers(-most, most)] * 3)
    return vectors.map(lambda vector: Rotation.from_rotvec(vector).as_matrix())


@st.composite
def matrices(draw: st.DrawFn, oblique: bool | None = None) -> np.ndarray:
    """IJK→RAS of any axis order and flip, with anisotropic spacing; straight, oblique, or either."""
    axes = directions_of(draw(orientations()))
    if draw(st.booleans()) if oblique is None else oblique:
        axes = draw(rotations()) @ axes
    matrix = np.eye(4)
    matrix[:3, :3] = axes * draw(st.tuples(*[numbers(0.25, 6.0)] * 3))
    matrix[:3, 3] = draw(st.tuples(*[numbers(-500.0, 500.0)] * 3))
    return matrix


@st.composite
def volumes(draw: st.DrawFn, oblique: bool | None = None, most: int = 6) -> Volume:
    """A small volume in which every voxel has a value of its own."""
    shape = draw(st.tuples(*[st.integers(1, most)] * 3))
    return Volume(np.arange(np.prod(shape), dtype=np.int16).reshape(shape), draw(matrices(oblique)))


@st.composite
def oblique_planes(draw: st.DrawFn, volume: Volume, most: int = 24) -> Plane:
    """A plane at any angle through, beside or partly outside the volume, with pixels and slices of any size."""
    matrix = np.eye(4)
    matrix[:3, :3] = draw(rotations()) * draw(st.tuples(*[numbers(0.25, 4.0)] * 3))
    shape = draw(st.tuples(st.integers(1, most), st.integers(1, most)))
    through = volume.to_ras([draw(numbers(-0.3, 1.3)) * (n - 1) for n in volume.shape[::-1]])
    matrix[:3, 3] = through - matrix[:3, :3] @ [(shape[1] - 1) / 2, (shape[0] - 1) / 2, 0]
    return Plane(matrix, shape)


@st.composite
def straight_planes(draw: st.DrawFn, volume: Volume) -> tuple[Plane, np.ndarray]:
    """A part of one of the volume's slices, transposed and flipped in any way, and the voxels it must show."""
    axis = draw(st.integers(0, 2))
    across = draw(st.permutations([a for a in range(3) if a != axis]))
    index: list[int | slice] = [draw(st.integers(0, n - 1)) for n in volume.shape]
    start = np.array(index, dtype=float)
    steps = np.zeros((3, 2))  # of the array's axes, for columns and rows
    shape = []
    for pixel_axis, array_axis in zip((1, 0), across, strict=True):
        size = volume.shape[array_axis]
        first, last = draw(st.integers(0, size - 1)), draw(st.integers(0, size - 1))
        step = 1 if last > first or (last == first and draw(st.booleans())) else -1
        stop = last + step
        index[array_axis] = slice(first, None if stop < 0 else stop, step)
        start[array_axis], steps[array_axis, 1 - pixel_axis] = first, step
        shape.append(abs(last - first) + 1)
    matrix = np.eye(4)
    matrix[:3, :2] = volume.ijk_to_ras[:3, :3] @ steps[::-1]
    matrix[:3, 2] = volume.ijk_to_ras[:3, 2 - axis] * draw(st.sampled_from([1.0, -1.0, 0.5]))
    matrix[:3, 3] = volume.to_ras(start[::-1])
    columns, rows = shape
    image = volume.voxels[tuple(index)]
    # `across` names the array axis of the columns first, then that of the rows.
    return Plane(matrix, (rows, columns)), image.T if across[0] < across[1] else image
