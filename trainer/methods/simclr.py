"""SimCLR (Chen et al., ICML 2020), the baseline: two views of an image are alike, views of other images are not.

Trains the encoder; images of one batch, whatever scan they are of, are each other's negatives.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from SSLSegmentationLib.errors import InputError
from trainer.methods.base import Batch, Method
from trainer.methods.optimiser import Optimiser, Schedule
from trainer.networks import build
from trainer.parts.collapse import CollapseGuard, spread
from trainer.parts.contrast import nt_xent
from trainer.parts.heads import MLPProjector, global_vector
from trainer.parts.samplers_views import Crops, TwoViews
from trainer.parts.transfer import freeze_the_rest, state_behind

if TYPE_CHECKING:
    from trainer.data.plan import Plan
    from trainer.data.splits import Split
    from trainer.data.store import Store


@dataclass(frozen=True)
class Settings:
    temperature: float = 0.5
    hidden: int = 512
    out: int = 128
    batch: int = 0
    """Regions in a batch; 0 takes the plan's."""
    crops: Crops = field(default_factory=Crops)
    optimiser: Optimiser = field(
        default_factory=lambda: Optimiser("adamw", 2e-3, schedule=Schedule("cosine", warm_up=5, of=100))
    )


class SimCLR(Method):
    Settings = Settings
    pretraining = True
    needs_labels = 0

    def __init__(self, plan: Plan, settings: Settings, steps: int, seed: int) -> None:
        super().__init__(plan, settings, steps, seed)
        if (settings.batch or plan.batch) < 2:
            raise InputError("SimCLR compares the images of a batch, but the batch has one: give it more.")
        self.backbone = build(plan.network)
        freeze_the_rest(self.backbone, "bottleneck")
        channels = self.backbone.channels()["bottleneck"]
        self.projector = MLPProjector(channels, settings.hidden, settings.out)
        self.guard = CollapseGuard(steps)

    @classmethod
    def batches(cls, plan: Plan, store: Store, split: Split, settings: Settings, **place: Any) -> TwoViews:
        names = (*split.labelled, *split.unlabelled)
        return TwoViews(plan, store, names, batch=settings.batch or None, crops=settings.crops, **place)

    def terms(self, batch: Batch, step: int) -> dict[str, Tensor]:
        views = torch.cat([batch["view_a"], batch["view_b"]])
        vectors = self.projector(global_vector(self.backbone.bottleneck(views)))
        image = torch.arange(len(views) // 2, device=views.device).repeat(2)
        width = spread(vectors)
        self.guard.look({"features": width}, step)
        return {
            "contrast": nt_xent(vectors, image, self.settings.temperature),
            "watched/spread_of_features": width,
        }

    def weights(self, step: int) -> dict[str, float]:
        return {"contrast": 1.0, "watched/spread_of_features": 0.0}

    def transferable(self) -> dict[str, Tensor]:
        return state_behind(self.backbone, "bottleneck")
