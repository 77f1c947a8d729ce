"""Cross pseudo supervision (Chen et al., CVPR 2021): two networks, each taught by what the other makes of a patch.

    L = Σ over both (CE + Dice) on labelled patches + λ(t) · [ CE(A, argmax B) + CE(B, argmax A) ]

They begin differently, so their mistakes differ; what both tell, each learns.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trainer.methods.base import Batch, Method
from trainer.methods.optimiser import Optimiser
from trainer.methods.streams import Streams, baseline_optimiser, pair_of_networks
from trainer.networks import Peers
from trainer.parts.consistency import pseudo_cross_entropy, pseudo_labels
from trainer.parts.losses import supervised
from trainer.parts.schedules import sigmoid_ramp

if TYPE_CHECKING:
    from torch import Tensor

    from trainer.data.batches import TwoStreamBatches
    from trainer.data.plan import Plan
    from trainer.data.splits import Split
    from trainer.data.store import Store


class CrossPseudo(Method):
    @dataclass(frozen=True)
    class Settings:
        optimiser: Optimiser = field(default_factory=baseline_optimiser)
        streams: Streams = field(default_factory=Streams)
        first: dict[str, Any] = field(default_factory=dict)
        """Instead of the plan's network."""
        second: dict[str, Any] = field(default_factory=dict)
        """Instead of one like the first."""
        cross: float = 1.0
        """Weight of what each learns from the other, once the ramp is over."""
        ramp: float = 0.4
        """Part of the training over which that weight rises, in 40 stairs; 0: it is there at once."""
        on_labelled: bool = False
        """Whether they teach each other on labelled patches as well."""

    needs_unlabelled = 1

    def __init__(self, plan: Plan, settings: Any, steps: int, seed: int) -> None:
        super().__init__(plan, settings, steps, seed)
        self.peers: Peers = pair_of_networks(plan, settings.first, settings.second, alike=True)

    @classmethod
    def batches(
        cls, plan: Plan, store: Store, split: Split, settings: Any, *, steps: int, seed: int, rank: int, world: int
    ) -> TwoStreamBatches:
        return settings.streams.batches(plan, store, split, steps=steps, seed=seed, rank=rank, world=world)

    def terms(self, batch: Batch, step: int) -> dict[str, Tensor]:
        known = len(batch["labels"])
        a, b = self.peers.first(batch["image"]), self.peers.second(batch["image"])
        ce_a, dice_a = supervised(a[:known], batch["labels"], batch["annotated"])
        ce_b, dice_b = supervised(b[:known], batch["labels"], batch["annotated"])
        first = 0 if self.settings.on_labelled else known
        return {
            "cross_entropy_a": ce_a,
            "cross_entropy_b": ce_b,
            "dice_a": dice_a,
            "dice_b": dice_b,
            "cross_a": pseudo_cross_entropy(a[first:], pseudo_labels(b[first:])),
            "cross_b": pseudo_cross_entropy(b[first:], pseudo_labels(a[first:])),
        }

    def weights(self, step: int) -> dict[str, float]:
        s = self.settings
        cross = s.cross * sigmoid_ramp(step, s.ramp * self.steps, stairs=40)
        return {
            "cross_entropy_a": 1.0,
            "cross_entropy_b": 1.0,
            "dice_a": 1.0,
            "dice_b": 1.0,
            "cross_a": cross,
            "cross_b": cross,
        }

    def predictor(self) -> Peers:
        return self.peers
