"""Batches of two views of each image, with where they lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainer.data.batches import OneStream
from trainer.data.plan import Plan
from trainer.data.store import Store
from trainer.parts.looks import FIRST, SECOND, Look, change
from trainer.parts.views import cut_view, draw_region, draw_two_crops

PURPOSE = 21
"""Keeps these random numbers apart from those of other batches."""


@dataclass(frozen=True)
class Crops:
    """How the two views of a region are drawn, and what is done to each."""

    scale: tuple[float, float] = (0.4, 1.0)
    """Part of the region's area or volume."""
    ratio: float = 4 / 3
    """The most by which one side may shrink more than another."""
    overlap: float = 0.3
    """The least part of each view that the other shows as well."""
    flips: tuple[int, ...] = ()
    """Axes along which a view may be mirrored; anatomy has a left and a right, so none."""
    first: Look = FIRST
    second: Look = SECOND


class TwoViews(OneStream):
    """`view_a` and `view_b` (batch, 1, i, j, k), and `affine_a` and `affine_b` (batch, 3, 4).

    Both are random-resized crops of one region of the size of a patch.
    """

    purpose = PURPOSE

    def __init__(
        self, plan: Plan, store: Store, names: Sequence[str], *, crops: Crops | None = None, **common: Any
    ) -> None:
        super().__init__(plan, store, names, **common)
        self.crops = crops or Crops()

    def __getitem__(self, step: int) -> dict[str, Tensor]:
        names, rng = self.drawn(step)
        pairs = [self._pair(self.store[name].image, rng) for name in names]
        return {key: torch.stack([pair[key] for pair in pairs]) for key in pairs[0]}

    def _pair(self, image: np.ndarray, rng: np.random.Generator) -> dict[str, Tensor]:
        crops = self.crops
        region = draw_region(image.shape, self.plan.patch, rng)
        boxes = draw_two_crops(region, rng, scale=crops.scale, ratio=crops.ratio, overlap=crops.overlap)
        pair = {}
        for name, box, look in zip("ab", boxes, (crops.first, crops.second), strict=True):
            flips = tuple(axis in crops.flips and bool(rng.random() < 0.5) for axis in range(3))
            affine = box.affine(flips)
            view = cut_view(image, affine, self.plan.patch)[0].numpy()
            pair[f"view_{name}"] = torch.from_numpy(change(view, look, rng))[None]
            pair[f"affine_{name}"] = torch.from_numpy(affine).float()  # accelerators of some makes know no double
        return pair
