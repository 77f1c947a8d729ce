"""Cutting patches out of prepared cases: where they lie, and how they come out in a single resampling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

Padding = Literal["zero", "edge"]


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
    if placement.affine is None:
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
    if placement.affine is None:
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
    """What part of the case a patch lying askew touches, and the places in it as torch's grid_sample counts them."""
    import torch

    half = (np.array(size) - 1) / 2
    reach = np.abs(placement.affine) @ half
    # Where an axis stays as it is, its ends fall on voxels, and rounding noise must not ask for one more.
    low = np.floor(placement.centre - reach + 1e-6).astype(int)
    high = np.ceil(placement.centre + reach - 1e-6).astype(int)
    # Torch counts from -1 to 1 over a grid, and names the last axis first. An axis of one voxel has only its middle.
    last = high - low
    per_voxel = np.where(last > 0, 2 / np.maximum(last, 1), 0.0)
    middle = np.where(last > 0, (placement.centre - low) * per_voxel - 1, 0.0)
    slopes = placement.affine * per_voxel[:, None]
    steps = [
        (torch.arange(n, dtype=torch.float32) - h).reshape([-1 if a == axis else 1 for a in range(3)])
        for axis, (n, h) in enumerate(zip(size, half, strict=True))
    ]
    grid = torch.empty([1, *size, 3])
    for axis in range(3):
        along = [step * float(slope) for step, slope in zip(steps, slopes[axis], strict=True)]
        torch.add(along[0] + (along[1] + float(middle[axis])), along[2], out=grid[0, ..., 2 - axis])
    return low, [int(n) + 1 for n in last], grid


def _sampled(around: np.ndarray, grid: Tensor, nearest: bool = False) -> np.ndarray:
    import torch
    from torch.nn.functional import grid_sample

    mode = "nearest" if nearest else "bilinear"
    return grid_sample(torch.from_numpy(around)[None, None], grid, mode, "border", align_corners=True)[0, 0].numpy()
