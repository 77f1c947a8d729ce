"""Volume: voxels in patient space. The word on which everything else stands."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import permutations

import numpy as np

from SSLSegmentationLib.errors import InputError

AXIS_LETTERS = ("LR", "PA", "IS")  # for R, A and S: the letter of the negative and of the positive direction

_SHEAR_TOLERANCE = 1e-3  # cosine between two axes; scanners write directions with about six digits
_TIE = 1e-3  # of the sum of three cosines: so near, the last digit of a file must not decide between two letters


@dataclass(frozen=True, eq=False)
class Volume:
    """One component on a regular grid, as (k, j, i) voxels and a 4×4 matrix from (i, j, k) indices to RAS millimetres.

    The array is never copied; operations that only change the view (`reoriented`) share its memory.
    """

    voxels: np.ndarray
    ijk_to_ras: np.ndarray = field(default_factory=lambda: np.eye(4))
    name: str = "scan"
    modality: str = ""
    """DICOM's code (CT, MR, PT, US); empty where the file does not say."""

    def __post_init__(self) -> None:
        matrix = np.array(self.ijk_to_ras, dtype=np.float64)
        if self.voxels.ndim != 3:
            raise InputError(
                f"{self.name} has {self.voxels.ndim} dimensions, but a volume has three: choose one frame or component."
            )
        if 0 in self.voxels.shape:
            raise InputError(f"{self.name} has no voxels (its size is {self.voxels.shape[::-1]}): choose another file.")
        check_matrix(matrix, self.name)
        matrix.setflags(write=False)
        object.__setattr__(self, "ijk_to_ras", matrix)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along (k, j, i), as the array has it."""
        return self.voxels.shape

    @property
    def spacing(self) -> np.ndarray:
        """Millimetres between voxels along (i, j, k)."""
        return np.linalg.norm(self.ijk_to_ras[:3, :3], axis=0)

    @property
    def directions(self) -> np.ndarray:
        """3×3 matrix whose columns are the unit vectors of the i, j and k axes in RAS."""
        return self.ijk_to_ras[:3, :3] / self.spacing

    @property
    def ras_to_ijk(self) -> np.ndarray:
        return np.linalg.inv(self.ijk_to_ras)

    @property
    def orientation(self) -> str:
        """Three letters that say towards what i, j and k grow, such as "RAS" or "LPS" (the nearest, if oblique)."""
        return orientation_of(self.ijk_to_ras)

    @property
    def voxel_ml(self) -> float:
        """Millilitres in one voxel."""
        return float(abs(np.linalg.det(self.ijk_to_ras[:3, :3]))) / 1000.0

    def to_ras(self, ijk: np.ndarray) -> np.ndarray:
        """RAS millimetres of (…, 3) continuous voxel indices in (i, j, k) order."""
        return transform_points(self.ijk_to_ras, ijk)

    def to_ijk(self, ras: np.ndarray) -> np.ndarray:
        """Continuous (i, j, k) indices of (…, 3) RAS points."""
        return transform_points(self.ras_to_ijk, ras)

    def with_voxels(self, voxels: np.ndarray, *, name: str | None = None) -> Volume:
        """Other voxels (a label map, an uncertainty) on the same grid."""
        if voxels.shape != self.shape:
            raise ValueError(f"voxels of shape {voxels.shape} do not fit the grid of {self.name}, {self.shape}")
        return replace(self, voxels=voxels, name=self.name if name is None else name)

    def same_grid_as(self, other: Volume, tolerance_mm: float = 1e-3) -> bool:
        """Whether both have the same size and every voxel lies at the same place, to the tolerance."""
        if self.shape != other.shape:
            return False
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in self.shape[::-1]])).reshape(3, -1).T
        return bool(np.abs(self.to_ras(corners) - other.to_ras(corners)).max() <= tolerance_mm)

    def reoriented(self, orientation: str = "RAS") -> Volume:
        """The same voxels with axes swapped and flipped so that i, j, k grow towards `orientation`.

        Nothing is interpolated and nothing is copied. Oblique axes stay oblique: each goes to its nearest letter.
        """
        source, target = _axes_of(self.orientation), _axes_of(orientation)
        order = [[axis for axis, _ in source].index(axis) for axis, _ in target]
        flips = [source[old][1] != target[new][1] for new, old in enumerate(order)]
        matrix = np.eye(4)
        matrix[:3, 3] = self.ijk_to_ras[:3, 3]
        for new, old in enumerate(order):
            column = self.ijk_to_ras[:3, old]
            if flips[new]:
                matrix[:3, 3] += column * (self.shape[2 - old] - 1)
                column = -column
            matrix[:3, new] = column
        voxels = self.voxels.transpose([2 - order[2 - axis] for axis in range(3)])
        voxels = voxels[tuple(slice(None, None, -1 if flips[2 - axis] else 1) for axis in range(3))]
        return replace(self, voxels=voxels, ijk_to_ras=matrix)

    def cropped(self, box: tuple[slice, slice, slice]) -> Volume:
        """The part inside a (k, j, i) box of plain slices, as a view, with the matrix moved along."""
        if any(s.step not in (None, 1) for s in box):
            raise ValueError(f"a crop has no steps, but the box is {box}")
        starts = np.array([s.indices(n)[0] for s, n in zip(box, self.shape, strict=True)][::-1])
        matrix = self.ijk_to_ras.copy()
        matrix[:3, 3] = self.to_ras(starts)
        return replace(self, voxels=self.voxels[box], ijk_to_ras=matrix)


def transform_points(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Apply a 4×4 matrix to (…, 3) points."""
    return np.asarray(points, dtype=np.float64) @ matrix[:3, :3].T + matrix[:3, 3]


def check_matrix(matrix: np.ndarray, name: str) -> None:
    """Refuse a matrix that does not describe a regular grid: not finite, no spacing, or axes at a slant."""
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or not np.allclose(matrix[3], (0, 0, 0, 1)):
        raise InputError(f"{name} has no usable position in space: convert it again from the original scan.")
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    if (spacing <= 0).any():
        raise InputError(
            f"{name} has a voxel spacing of zero ({_numbers(spacing)} mm): correct the header or convert it again."
        )
    axes = matrix[:3, :3] / spacing
    cosines = np.abs(axes.T @ axes - np.eye(3))
    if cosines.max() > _SHEAR_TOLERANCE:
        degrees = np.degrees(np.arcsin(min(1.0, cosines.max())))
        raise InputError(
            f"{name} has sheared axes ({degrees:.1f} degrees off a right angle, as a tilted gantry leaves them): "
            "resample it to a straight grid first, in Slicer with the module Resample Scalar/Vector/DWI Volume."
        )


def orientation_of(ijk_to_ras: np.ndarray) -> str:
    """The three letters of the axes of a matrix; every letter pair is used once, also for oblique axes."""
    axes = ijk_to_ras[:3, :3] / np.linalg.norm(ijk_to_ras[:3, :3], axis=0)
    nearness = {rows: sum(abs(axes[rows, range(3)])) for rows in permutations(range(3))}
    best = next(rows for rows, near in nearness.items() if near > max(nearness.values()) - _TIE)
    return "".join(AXIS_LETTERS[row][int(axes[row, column] > 0)] for column, row in enumerate(best))


def _axes_of(orientation: str) -> list[tuple[int, bool]]:
    """For each letter: which of R, A, S it belongs to, and whether it points along it."""
    found = [
        (row, pair.index(letter) == 1)
        for letter in orientation
        for row, pair in enumerate(AXIS_LETTERS)
        if letter in pair
    ]
    if len(orientation) != 3 or sorted(row for row, _ in found) != [0, 1, 2]:
        raise ValueError(f'"{orientation}" is not an orientation such as RAS or LPS')
    return found


def _numbers(values: np.ndarray) -> str:
    return " × ".join(f"{value:g}" for value in values)
