"""Labelled batches with points on the organ's skeleton and on that of its surroundings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from trainer.data.batches import Batch, Batches, SupervisedBatches, TwoStreamBatches
from trainer.parts.skeleton import draw_points


class _Pointed(Batches):
    """Adds what `draw_points` finds in every labelled patch: `point_image` (n,), `point_place` (n, 3) in voxels of the
    patch, `point_class` (n,)."""

    organ: tuple[int, ...] = ()
    """The classes that make up the organ; all if empty."""
    ring_mm: tuple[float, float] = (8.0, 16.0)
    every: int = 8

    def labelled(self, names: Sequence[str], rng: np.random.Generator) -> Batch:
        batch = super().labelled(names, rng)
        classes = list(self.organ or range(1, batch["annotated"].shape[1]))
        image, places, kinds = [], [], []
        for index, name in enumerate(names):
            if not batch["annotated"][index, classes].all():
                continue  # what surrounds the part that is labelled may be organ as well
            organ = np.isin(batch["labels"][index, 0].numpy(), classes)
            spacing = tuple(map(float, self.store[name].spacing))
            points = draw_points(organ, spacing, rng, ring_mm=self.ring_mm, every=self.every)
            image.append(np.full(len(points.classes), index))
            places.append(points.positions)
            kinds.append(points.classes)
        return batch | {
            "point_image": torch.from_numpy(np.concatenate([np.zeros(0, dtype=np.int64), *image])),
            "point_place": torch.from_numpy(np.concatenate([np.zeros((0, 3), dtype=np.int64), *places])),
            "point_class": torch.from_numpy(np.concatenate([np.zeros(0, dtype=np.int64), *kinds])),
        }


class PointedBatches(_Pointed, SupervisedBatches):
    """Labelled patches only."""


class PointedTwoStreamBatches(_Pointed, TwoStreamBatches):
    """Unlabelled patches as well, which have no points."""
