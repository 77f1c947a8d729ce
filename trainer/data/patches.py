"""Cutting patches out of prepared cases: where they lie, and how they come out in a single resampling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

Padding = Literal["zero", "edge"]

_NOISE = 1e-6
_COARSE_NOISE = 1e-3
"""Voxels by which float64, and float32, may round a place."""


@dataclass(frozen=True, eq=False)
class Swelling:
    """A ball of a case in which all is drawn from its middle towards its surface, which stays: what lies in the middle
    is swollen, and presses on what lies around; or shrunken, with a factor below 1."""

    centre: np.ndarray
    """Voxel index of the middle."""
    radius: float
    """Millimetres."""
    factor: float
    """So many times as large is what lies in the very middle."""
    spacing: np.ndarray
    """Of the case, in millimetres."""

    def source(self, places: Tensor) -> Tensor:
        """The (…, 3) voxels of the case that are seen at these places: at r of the radius, those from r / (f + r - fr).
        With 1 / f for f, this undoes itself."""
        import torch

        centre, spacing = (torch.from_numpy(np.asarray(one, np.float32)) for one in (self.centre, self.spacing))
        away = places - centre
        r = (torch.linalg.vector_norm(away * spacing, dim=-1, keepdim=True) / self.radius).clamp_(max=1)
        return away.div_(r.mul_(1 - self.factor).add_(self.factor)).add_(centre)


@dataclass(frozen=True, eq=False)
class Placement:
    """Where a patch lies in a case. What mirrors and turns has its own fields, since a view does it for nothing."""

    centre: np.ndarray
    """Continuous voxel index of the middle of the patch."""
    affine: np.ndarray | None = None
    """3×3, from voxels of the patch to voxels of the case; None for a patch that lies straight."""
    axes: tuple[int, int, int] = (0, 1, 2)
    """Which axis of the case each axis of the patch runs along."""
    flips: tuple[bool, bool, bool] = (False, False, False)
    """Which axes of the patch run backwards."""
    swelling: Swelling | None = None

    @property
    def straight(self) -> bool:
        """Whether all its voxels are voxels of the case."""
        return self.affine is None and self.swelling is None

    @property
    def matrix(self) -> np.ndarray:
        """3×3: voxel p of the patch shows the position centre + matrix @ (p - (patch - 1) / 2) of the case."""
        turned = np.zeros((3, 3))
        for axis, (runs_along, backwards) in enumerate(zip(self.axes, self.flips, strict=True)):
            turned[runs_along, axis] = -1.0 if backwards else 1.0
        return turned if self.affine is None else self.affine @ turned


def choose_centre(
    rng: np.random.Generator,
    shape: tuple[int, int, int],
    patch: tuple[int, int, int],
    foreground: Mapping[int, np.ndarray] | None = None,
    part: float = 0.0,
) -> np.ndarray:
    """The middle of a patch that lies inside the case, on whole voxels.

    In this `part` of all draws the patch holds a voxel of a class that is drawn first, so that small organs are seen as
    often as large ones. A case smaller than a patch lies in its middle, as the sliding window has it.
    """
    sides, sizes = np.array(patch), np.array(shape)
    room = sizes - sides
    if rng.random() < part and foreground:
        classes = [c for c, voxels in foreground.items() if len(voxels)]
        voxels = foreground[classes[rng.integers(len(classes))]]
        reach = sides // 4  # not always in the middle: where an organ lies in a patch must not give it away
        start = voxels[rng.integers(len(voxels))] - sides // 2 + rng.integers(-reach, reach + 1)
        start = np.clip(start, 0, np.maximum(room, 0))
    else:
        start = rng.integers(0, np.maximum(room, 0) + 1)
    return np.where(room < 0, -(-room // 2), start) + (sides - 1) / 2


def cut(array: np.ndarray, placement: Placement, patch: tuple[int, int, int], padding: Padding = "zero") -> np.ndarray:
    """The patch of an image as a new float32 array."""
    size = _straight_size(placement, patch)
    if placement.straight:
        return _turned(window(array, _start(placement, size), size, padding, np.float32), placement)
    low, around_size, grid = _grid(placement, size)
    return _turned(_sampled(window(array, low, around_size, padding, np.float32), grid), placement)


def cut_both(
    image: np.ndarray,
    labels: np.ndarray,
    placement: Placement,
    patch: tuple[int, int, int],
    padding: Padding = "zero",
) -> tuple[np.ndarray, np.ndarray]:
    """The patch of an image (float32) and of its labels (uint8); around a case everything is background."""
    size = _straight_size(placement, patch)
    if placement.straight:
        start = _start(placement, size)
        pair = window(image, start, size, padding, np.float32), window(labels, start, size, "zero", np.uint8)
    else:
        low, around_size, grid = _grid(placement, size)
        around = window(image, low, around_size, padding, np.float32)
        truth = window(labels, low, around_size, "zero", np.float32)
        pair = _sampled(around, grid), _sampled(truth, grid, nearest=True).astype(np.uint8)
    return _turned(pair[0], placement), _turned(pair[1], placement)


def window(
    array: np.ndarray, start: np.ndarray, size: list[int], padding: Padding, dtype: np.dtype | type
) -> np.ndarray:
    """The box of this size from `start` on, which may begin before the array and end behind it."""
    inside = [(max(0, a), min(n, a + side)) for a, side, n in zip(start, size, array.shape, strict=True)]
    part = array[tuple(slice(low, high) for low, high in inside)]
    if part.shape == tuple(size):
        return np.array(part, dtype=dtype, order="C")
    missing = [(int(low - a), int(a + side - high)) for a, side, (low, high) in zip(start, size, inside, strict=True)]
    part = part.astype(dtype)
    return np.pad(part, missing, mode="edge") if padding == "edge" else np.pad(part, missing)


def _straight_size(placement: Placement, patch: tuple[int, int, int]) -> list[int]:
    """The sides of the patch along the axes of the case, before it is turned."""
    size = [0, 0, 0]
    for side, runs_along in zip(patch, placement.axes, strict=True):
        size[runs_along] = side
    return size


def _start(placement: Placement, size: list[int]) -> np.ndarray:
    return np.rint(placement.centre - (np.array(size) - 1) / 2).astype(int)


def _turned(found: np.ndarray, placement: Placement) -> np.ndarray:
    found = found.transpose(placement.axes)
    if any(placement.flips):
        found = found[tuple(slice(None, None, -1 if backwards else 1) for backwards in placement.flips)]
    return np.ascontiguousarray(found)


def _grid(placement: Placement, size: list[int]) -> tuple[np.ndarray, list[int], Tensor]:
    """What part of the case a patch that is not straight touches, and the places in it as torch's grid_sample counts
    them: from -1 to 1 over the part, and the last axis first."""
    import torch

    affine = np.eye(3) if placement.affine is None else placement.affine
    if placement.swelling is None:
        reach = np.abs(affine) @ ((np.array(size) - 1) / 2)
        low, last = _box(placement.centre - reach, placement.centre + reach, _NOISE)
        slopes, middle = _counted(placement.centre, low, last)
        grid = _places(size, (affine * slopes[:, None])[::-1], middle[::-1])
    else:
        places = placement.swelling.source(_places(size, affine, placement.centre))
        ends = (end(places, dim=(0, 1, 2)).double().numpy() for end in (torch.amin, torch.amax))
        low, last = _box(*ends, _COARSE_NOISE)
        slopes, start = _counted(np.zeros(3), low, last)
        grid = torch.stack([places[..., a] * float(slopes[a]) + float(start[a]) for a in (2, 1, 0)], dim=-1)
    return low, [int(n) + 1 for n in last], grid[None]


def _box(first: np.ndarray, final: np.ndarray, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """The voxels around these positions: the first of them, and how many follow it along each axis."""
    # Where an axis stays as it is, its ends fall on voxels, and rounding noise must not ask for one more.
    low = np.floor(first + noise).astype(int)
    return low, np.ceil(final - noise).astype(int) - low


def _counted(position: np.ndarray, low: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A voxel, and a position, of a box as torch counts them. An axis of one voxel has only its middle."""
    per_voxel = np.where(last > 0, 2 / np.maximum(last, 1), 0.0)
    return per_voxel, np.where(last > 0, (position - low) * per_voxel - 1, 0.0)


def _places(size: list[int], matrix: np.ndarray, middle: np.ndarray) -> Tensor:
    """(i, j, k, 3) float32: middle + matrix @ (p - (size - 1) / 2) for every voxel p of a patch of this size."""
    import torch

    steps = [
        (torch.arange(n, dtype=torch.float32) - (n - 1) / 2).reshape([-1 if a == axis else 1 for a in range(3)])
        for axis, n in enumerate(size)
    ]
    places = torch.empty([*size, 3])
    for row in range(3):
        along = [step * float(slope) for step, slope in zip(steps, matrix[row], strict=True)]
        torch.add(along[0] + (along[1] + float(middle[row])), along[2], out=places[..., row])
    return places


def _sampled(around: np.ndarray, grid: Tensor, nearest: bool = False) -> np.ndarray:
    import torch
    from torch.nn.functional import grid_sample

    mode = "nearest" if nearest else "bilinear"
    return grid_sample(torch.from_numpy(around)[None, None], grid, mode, "border", align_corners=True)[0, 0].numpy()
