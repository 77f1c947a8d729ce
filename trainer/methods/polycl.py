"""PolyCL (Moseley and Imran, ISBI 2024; Ward, Moseley and Imran, arXiv 2505.19208): contrast of different real slices.

An encoder of slices learns that two slices belong together, for being of one scan (S), for both showing the organ or
both not (O), or both of that (M), and that a third one does not. No slice is augmented: the other slice is the
augmentation. S needs no labels; O and M have to know which slices show the organ.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from SSLSegmentationLib.errors import InputError
from trainer.methods.base import Batch, Method
from trainer.methods.optimiser import Optimiser, Schedule
from trainer.networks import build
from trainer.parts.collapse import CollapseGuard, spread
from trainer.parts.contrast import triplet_infonce
from trainer.parts.heads import MLPProjector, global_vector
from trainer.parts.samplers_triplets import Scope, TripletSlices, Variant
from trainer.parts.transfer import freeze_the_rest, state_behind

if TYPE_CHECKING:
    from trainer.data.plan import Plan
    from trainer.data.splits import Split
    from trainer.data.store import Store


@dataclass(frozen=True)
class Settings:
    variant: Variant = "S"
    neg_scope: Scope = "same"
    """For M, whose negatives are of the same scan in the paper's figure, and of another in its code."""
    negatives: int = 1
    """For each anchor."""
    temperature: float = 0.5
    projection: Literal["linear", "mlp"] = "linear"
    """As published, or with a hidden layer and batch normalisation, which starts with vectors that differ more."""
    central: float = 1.0
    """Part of a scan's slices, around its middle, that are looked at."""
    organ: tuple[int, ...] = ()
    """For O and M, the classes that count as the organ; all if empty."""
    weak_labels: bool = False
    """For O and M, whether the flags of cases that the split takes as unlabelled are used, where they have labels: for
    trials in which somebody has marked the first and last slice of the organ in every scan."""
    batch: int = 0
    """Anchors in a batch; 0 takes the plan's."""
    optimiser: Optimiser = field(
        default_factory=lambda: Optimiser(
            "adam", 1e-3, weight_decay=0.0, schedule=Schedule("restarts", period=10, of=100)
        )
    )


class PolyCL(Method):
    Settings = Settings
    pretraining = True
    needs_labels = 0

    def __init__(self, plan: Plan, settings: Settings, steps: int, seed: int) -> None:
        super().__init__(plan, settings, steps, seed)
        if plan.dims != 2:
            raise InputError("PolyCL learns from slices, but the plan is for volumes: make a plan with --dims 2.")
        self.backbone = build(plan.network)
        freeze_the_rest(self.backbone, "bottleneck")
        channels = self.backbone.channels()["bottleneck"]
        self.projector = MLPProjector(channels, channels, channels, layers=1)
        if settings.projection == "mlp":
            self.projector = MLPProjector(channels, channels, max(1, channels // 2))
        self.guard = CollapseGuard(steps)

    @classmethod
    def batches(cls, plan: Plan, store: Store, split: Split, settings: Settings, **place: Any) -> TripletSlices:
        # The organ's flags are labels, though cheap ones: without being asked, those of unlabelled cases are not used.
        everything = settings.variant == "S" or settings.weak_labels
        names = (*split.labelled, *split.unlabelled) if everything else split.labelled
        return TripletSlices(
            plan,
            store,
            names,
            batch=settings.batch or None,
            variant=settings.variant,
            scope=settings.neg_scope,
            negatives=settings.negatives,
            central=settings.central,
            organ=settings.organ,
            **place,
        )

    def embed(self, slices: Tensor) -> Tensor:
        """Max-pooling over 2×2, mean over the slice, projection: (batch, d)."""
        bottleneck = self.backbone.bottleneck(slices)
        window = [2 if side > 1 else 1 for side in bottleneck.shape[2:]]
        return self.projector(global_vector(functional.max_pool3d(bottleneck, window)))

    def terms(self, batch: Batch, step: int) -> dict[str, Tensor]:
        anchor, positive, negatives = batch["anchor"], batch["positive"], batch["negative"]
        count = len(anchor)
        vectors = self.embed(torch.cat([anchor, positive, negatives.flatten(0, 1)]))
        z, near, far = vectors[:count], vectors[count : 2 * count], vectors[2 * count :]
        width = spread(vectors)
        self.guard.look({"features": width}, step)
        return {
            "contrast": triplet_infonce(z, near, far.unflatten(0, (count, -1)), self.settings.temperature),
            "watched/spread_of_features": width,
        }

    def weights(self, step: int) -> dict[str, float]:
        return {"contrast": 1.0, "watched/spread_of_features": 0.0}

    def transferable(self) -> dict[str, Tensor]:
        return state_behind(self.backbone, "bottleneck")
