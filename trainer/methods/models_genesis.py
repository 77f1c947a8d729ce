"""Models Genesis (Zhou et al., MICCAI 2019), the baseline: restore patches whose appearance was spoilt.

Voxels are shuffled, grey values sent through a curve, blocks painted over; encoder and decoder learn what the anatomy
must have looked like. With `everywhere` off, only spoilt voxels count. What is watched beside is the error of giving
the spoilt patch back as it is: as long as the restoration is not below it, nothing has been learnt.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from trainer.data.batches import UnlabelledBatches
from trainer.methods.base import Batch, Method
from trainer.methods.optimiser import Optimiser, Schedule
from trainer.networks import build
from trainer.parts.corruption import corrupt_as_genesis
from trainer.parts.heads import RestorationHead
from trainer.parts.restoration import restoration_error
from trainer.parts.transfer import freeze_the_rest, state_behind

if TYPE_CHECKING:
    from trainer.data.plan import Plan
    from trainer.data.splits import Split
    from trainer.data.store import Store

_PURPOSE = 24  # of random numbers, apart from those of other batches


@dataclass(frozen=True)
class Corruption:
    """Chances of each; of `painted`, the part `outer` keeps a few blocks and hides the rest."""

    remapped: float = 0.9
    shuffled: float = 0.5
    painted: float = 0.9
    outer: float = 0.8


@dataclass(frozen=True)
class Settings:
    corruption: Corruption = field(default_factory=Corruption)
    everywhere: bool = True
    """Whether voxels that were left alone count as well, as published."""
    batch: int = 0
    """Patches in a batch; 0 takes the plan's."""
    optimiser: Optimiser = field(
        default_factory=lambda: Optimiser("adamw", 1e-3, schedule=Schedule("cosine", warm_up=5, of=100))
    )


class SpoiltBatches(UnlabelledBatches):
    """`image` as it was, `spoilt`, and `touched`, which voxels that concerns."""

    corruption: Corruption = Corruption()

    def __getitem__(self, step: int) -> Batch:
        batch, rng, chances = super().__getitem__(step), self.generator(step, _PURPOSE), vars(self.corruption)
        found = [corrupt_as_genesis(image, rng, **chances) for image in batch["image"][:, 0].numpy()]
        spoilt, touched = (
            torch.stack([torch.from_numpy(one)[None] for one in kind]) for kind in zip(*found, strict=True)
        )
        return batch | {"spoilt": spoilt, "touched": touched}


class ModelsGenesis(Method):
    Settings = Settings
    pretraining = True
    needs_labels = 0

    def __init__(self, plan: Plan, settings: Settings, steps: int, seed: int) -> None:
        super().__init__(plan, settings, steps, seed)
        self.backbone = build(plan.network)
        freeze_the_rest(self.backbone, "feat")
        self.restorer = RestorationHead(self.backbone.channels()["feat"], dims=plan.dims)

    @classmethod
    def batches(cls, plan: Plan, store: Store, split: Split, settings: Settings, **place: Any) -> SpoiltBatches:
        names = (*split.labelled, *split.unlabelled)
        found = SpoiltBatches(plan, store, names, batch=settings.batch or None, **place)
        found.corruption = settings.corruption
        return found

    def terms(self, batch: Batch, step: int) -> dict[str, Tensor]:
        restored = self.restorer(self.backbone.features(batch["spoilt"])["feat"])
        counted = torch.ones_like(batch["touched"]) if self.settings.everywhere else batch["touched"]
        return {
            "restoration": restoration_error(restored, batch["image"], counted),
            "watched/given_back": restoration_error(batch["spoilt"], batch["image"], counted),
        }

    def weights(self, step: int) -> dict[str, float]:
        return {"restoration": 1.0, "watched/given_back": 0.0}

    def transferable(self) -> dict[str, Tensor]:
        return state_behind(self.backbone, "feat")
