"""Two crops of one image, and which place in one is which place in the other.

A view is a box of the image resized to the patch. Where it lies is a 3×4 affine from the view's own coordinates, −1 to
1 from edge to edge along i, j and k, to voxel indices of the image. Those coordinates do not depend on the resolution,
so the same affine serves the view and every feature map made from it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

Triple = tuple[int, int, int]

_TOUCHING = 1e-4  # of the half width: rounding must not put the one slice of a 2D view outside of itself


# --- where views lie ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Box:
    """Part of an image, in voxels from edge to edge: a voxel v reaches from v to v + 1."""

    low: np.ndarray
    size: np.ndarray

    def affine(self, flips: tuple[bool, bool, bool] = (False, False, False)) -> np.ndarray:
        """From −1…1 across the box to voxel indices, whose centres are whole numbers."""
        half = np.where(flips, -self.size, self.size) / 2
        return np.concatenate([np.diag(half), (self.low + self.size / 2 - 0.5)[:, None]], axis=1)

    def shared(self, other: Box) -> float:
        """The part of the larger box that lies in the other as well: at least this much of each view has a partner."""
        both = np.minimum(self.low + self.size, other.low + other.size) - np.maximum(self.low, other.low)
        return float(np.prod(both.clip(min=0)) / max(np.prod(self.size), np.prod(other.size)))


def draw_region(image_shape: Triple, patch: Triple, rng: np.random.Generator) -> Box:
    """A patch somewhere in the image; along an axis on which the image is smaller, the patch lies around its middle."""
    room = np.subtract(image_shape, patch)
    low = [int(rng.integers(free + 1)) if free >= 0 else free // 2 for free in room]
    return Box(np.array(low, dtype=float), np.array(patch, dtype=float))


def draw_crop(region: Box, rng: np.random.Generator, scale: tuple[float, float], ratio: float) -> Box:
    """A random-resized crop: `scale` of the region's volume, sides in proportions that differ by at most `ratio`."""
    axes = region.size > 1
    stretch = rng.uniform(-0.5, 0.5, axes.sum()) * np.log(ratio)
    sides = rng.uniform(*scale) ** (1 / axes.sum()) * np.exp(stretch - stretch.mean())
    size = region.size.copy()
    size[axes] *= np.minimum(sides, 1)
    return Box(region.low + rng.random(3) * (region.size - size), size)


def draw_two_crops(
    region: Box,
    rng: np.random.Generator,
    *,
    scale: tuple[float, float] = (0.4, 1.0),
    ratio: float = 4 / 3,
    overlap: float = 0.3,
    tries: int = 10,
) -> tuple[Box, Box]:
    """Two crops of the region that share at least `overlap`; after `tries` draws without luck, twice the same."""
    first = draw_crop(region, rng, scale, ratio)
    for _ in range(tries):
        second = draw_crop(region, rng, scale, ratio)
        if first.shared(second) >= overlap:
            return first, second
    return first, first


def cut_view(image: np.ndarray, affine: np.ndarray, shape: Triple) -> Tensor:
    """The view as a (1, i, j, k) tensor, interpolated linearly; zero outside the image."""
    corners = affine[:, :3] @ np.array(np.meshgrid(*[(-1, 1)] * 3)).reshape(3, -1) + affine[:, 3:]
    last = np.array(image.shape) - 1
    low = np.floor(corners.min(1)).clip(0, last).astype(int)
    high = np.ceil(corners.max(1)).clip(low, last).astype(int)
    block = np.asarray(image[tuple(slice(a, b + 1) for a, b in zip(low, high, strict=True))], dtype=np.float32)
    index = _apply(torch.from_numpy(affine), cells(shape, dtype=torch.float64))
    sides = torch.tensor(block.shape)
    positions = 2 * (index - torch.from_numpy(low) + 0.5) / sides - 1
    view = sample_at(torch.from_numpy(block)[None, None], positions[None].float())[0]
    outside = ((index < -0.5) | (index > torch.tensor(image.shape) - 0.5)).any(-1)
    return view.masked_fill(outside, 0.0)


# --- the same place in the other view -------------------------------------------------------------------------------


def cells(shape: Triple, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> Tensor:
    """Centres of the cells of a grid of this shape in the coordinates of its view: (i, j, k, 3)."""
    axes = [(2 * torch.arange(n, dtype=dtype, device=device) + 1) / n - 1 for n in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)


def in_other_view(affine: Tensor, other: Tensor, shape: Triple) -> Tensor:
    """Where the cells of a view's feature grid lie in the coordinates of the other view: (batch, i, j, k, 3).

    u' = B⁻¹ A u: from the view into the image, and from the image into the other view.
    """
    linear = torch.linalg.solve(other[..., :3], affine[..., :3])
    shift = torch.linalg.solve(other[..., :3], affine[..., 3:] - other[..., 3:])
    places = cells(shape, affine.dtype, affine.device)
    return torch.stack([_apply(a, places) for a in torch.cat([linear, shift], -1)])


def is_inside(positions: Tensor, shape: Triple) -> Tensor:
    """Which positions can be interpolated between cell centres of a grid of this shape, without going beyond them."""
    reach = torch.tensor([1 - 1 / n for n in shape], device=positions.device) + _TOUCHING
    return (positions.abs() <= reach).all(-1)


def sample_at(features: Tensor, positions: Tensor) -> Tensor:
    """(batch, channel, …) values of a feature map (batch, channel, i, j, k) at (batch, i, j, k, 3) positions."""
    grid = positions.flip(-1).to(features.dtype)  # torch counts the last axis first
    return functional.grid_sample(features, grid, mode="bilinear", padding_mode="border", align_corners=False)


@dataclass(frozen=True)
class Matches:
    """Pixels of one view with their counterparts in the other."""

    image: Tensor
    """(n,) which of the batch a pixel belongs to."""
    cell: Tensor
    """(n,) its place in the flattened feature grid."""
    pixel: Tensor
    """(m,) for each pair, which of the n pixels it is of; a pixel has one partner, or several within a radius."""
    target: Tensor
    """(m, channel) the partner's features."""

    def rows(self, features: Tensor) -> Tensor:
        """The n pixels' own features, (n, channel)."""
        return features.flatten(2)[self.image, :, self.cell]


def match_places(features: Tensor, affine: Tensor, other: Tensor, shape: Triple, most: int) -> Matches:
    """For cells that lie inside the other view: its features interpolated at the very same place.

    `features` belongs to the other view; `shape` is the grid of this one; at most `most` cells of each image are drawn.
    """
    positions = in_other_view(affine, other, shape)
    chosen = _draw(is_inside(positions, tuple(features.shape[2:])).flatten(1), most)
    image, cell = chosen.nonzero(as_tuple=True)
    target = sample_at(features.float(), positions).flatten(2)[image, :, cell]
    return Matches(image, cell, torch.arange(len(image), device=image.device), target)


def match_radius(
    features: Tensor, affine: Tensor, other: Tensor, shape: Triple, most: int, radius: float = 0.7
) -> Matches:
    """PixPro's rule: all cells of the other view whose centres are nearer than `radius` × the larger cell diagonal."""
    other_shape = tuple(features.shape[2:])
    chosen = _draw((in_other_view(affine, other, shape).abs() <= 1 + _TOUCHING).all(-1).flatten(1), most)
    diagonal = torch.maximum(_diagonal(affine, shape), _diagonal(other, other_shape))
    here, there = (cells(size, affine.dtype, affine.device).flatten(0, 2) for size in (shape, other_shape))
    # Measured from the middle of the other view: differences of large numbers would lose the digits that count.
    middle = other[..., 3:]
    affine, other = (torch.cat([one[..., :3], one[..., 3:] - middle], -1) for one in (affine, other))
    image, cell, pixel, target = [], [], [], []
    for index, row in enumerate(chosen):
        drawn = row.nonzero().flatten()
        distance = torch.cdist(_apply(affine[index], here[drawn]), _apply(other[index], there))
        near = distance < radius * diagonal[index]
        drawn, near = drawn[near.any(1)], near[near.any(1)]
        of, partner = near.nonzero(as_tuple=True)
        pixel.append(of + sum(map(len, cell)))
        image.append(torch.full_like(drawn, index))
        cell.append(drawn)
        target.append(features[index].float().flatten(1)[:, partner].T)
    return Matches(*map(torch.cat, (image, cell, pixel, target)))


def _draw(possible: Tensor, most: int) -> Tensor:
    """At most `most` of the true entries of each row of (batch, n), at random."""
    if most >= possible.shape[1]:
        return possible
    lot = torch.rand(possible.shape, device=possible.device).masked_fill(~possible, -1.0)
    return possible & (lot >= lot.topk(most, dim=1).values[:, -1:])


def _diagonal(affine: Tensor, shape: Triple) -> Tensor:
    """Length of a cell's diagonal in voxels, over the axes that have more than one cell."""
    sides = affine[..., :3].norm(dim=-2) * 2 / torch.tensor(shape, device=affine.device)
    return (sides * torch.tensor([n > 1 for n in shape], device=affine.device)).norm(dim=-1)


def _apply(affine: Tensor, points: Tensor) -> Tensor:
    """A 3×4 affine on (…, 3) points. No product of matrices, which mixed precision would round to three digits."""
    return (points[..., None, :] * affine[:, :3]).sum(-1) + affine[:, 3]
