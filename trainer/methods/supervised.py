"""Training on labelled cases alone: what every semi-supervised method has to beat, and what fine-tuning does."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from trainer.data.augment import LOOKS
from trainer.data.batches import SupervisedBatches
from trainer.methods.base import Batch, Method
from trainer.methods.optimiser import Optimiser, Schedule
from trainer.networks import Backbone, build
from trainer.parts.losses import supervised
from trainer.parts.transfer import trained_by

if TYPE_CHECKING:
    from torch import Tensor

    from trainer.data.plan import Plan
    from trainer.data.splits import Split
    from trainer.data.store import Store


@dataclass(frozen=True)
class Settings:
    optimiser: Optimiser = field(
        default_factory=lambda: Optimiser("muon", 5e-3, 1e-3, schedule=Schedule("cosine", warm_up=100, of=6000))
    )
    network: dict[str, Any] = field(default_factory=dict)
    """Instead of the plan's."""
    augmentation: Literal["plan", "crop", "turns"] = "plan"
    """What the plan says; or nothing but where patches are cut; or that with quarter turns and mirrors in the plane."""
    foreground: float | None = None
    """Part of the patches that surely show a label, instead of what the plan says; 0: cut anywhere."""
    batch: int = 0
    """Patches in a step; 0: as many as the plan says."""
    cross_entropy: float = 1.0
    dice: float = 1.0
    encoder_rate: float = 1.0
    """What the encoder's learning rate is multiplied with at first, so that a new decoder does not spoil what it was
    taught before."""
    encoder_until: float = 0.1
    """The part of the training for which that holds."""


class Supervised(Method):
    Settings = Settings

    def __init__(self, plan: Plan, settings: Settings, steps: int, seed: int) -> None:
        super().__init__(plan, settings, steps, seed)
        told = settings.network
        self.backbone = build({**told, "in_channels": 1, "out_channels": plan.classes} if told else plan.network)

    @classmethod
    def batches(
        cls, plan: Plan, store: Store, split: Split, settings: Any, *, steps: int, seed: int, rank: int, world: int
    ) -> SupervisedBatches:
        return SupervisedBatches(
            plan if settings.foreground is None else replace(plan, foreground=settings.foreground),
            store,
            split.labelled,
            steps=steps,
            seed=seed,
            rank=rank,
            world=world,
            batch=settings.batch or plan.batch,
            augmentation=LOOKS[settings.augmentation],
        )

    def terms(self, batch: Batch, step: int) -> dict[str, Tensor]:
        logits = self.backbone(batch["image"])
        cross_entropy, dice = supervised(logits, batch["labels"], batch["annotated"])
        return {"cross_entropy": cross_entropy, "dice": dice}

    def weights(self, step: int) -> dict[str, float]:
        return {"cross_entropy": self.settings.cross_entropy, "dice": self.settings.dice}

    def parameter_groups(self) -> list[dict[str, Any]]:
        s = self.settings
        if s.encoder_rate == 1:
            return super().parameter_groups()
        encoder = trained_by(self.backbone, "bottleneck")
        slow, usual = [], []
        for name, value in self.backbone.network.named_parameters():
            (slow if name in encoder else usual).append(value)
        return [{"params": slow, "rate": s.encoder_rate, "until": s.encoder_until}, {"params": usual}]

    def predictor(self) -> Backbone:
        return self.backbone
