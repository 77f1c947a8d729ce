"""Mean teacher (Tarvainen and Valpola 2017): learn the labels, and agree with your own average where there are none.

The teacher is the running average of the student's weights. It sees unlabelled patches with noise, the student sees
them without; their probabilities are to be the same.

    L = λ_s (CE + Dice) on labelled patches + λ(t) · mean (p_student − p_teacher)² on unlabelled ones
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from trainer.methods.base import Batch, Method
from trainer.methods.optimiser import Optimiser
from trainer.methods.streams import Streams, baseline_optimiser, definition_for
from trainer.networks import Backbone, build
from trainer.parts.consistency import squared_difference
from trainer.parts.losses import supervised
from trainer.parts.peers import EMATeacher
from trainer.parts.schedules import sigmoid_ramp, teacher_momentum
from trainer.parts.uncertainty import mean_of_passes

if TYPE_CHECKING:
    from torch import Tensor

    from trainer.data.batches import TwoStreamBatches
    from trainer.data.plan import Plan
    from trainer.data.splits import Split
    from trainer.data.store import Store


class MeanTeacher(Method):
    @dataclass(frozen=True)
    class Settings:
        optimiser: Optimiser = field(default_factory=baseline_optimiser)
        streams: Streams = field(default_factory=Streams)
        network: dict[str, Any] = field(default_factory=dict)
        """Instead of the plan's."""
        supervised: float = 0.5
        """Weight of cross-entropy and of Dice loss."""
        consistency: float = 0.1
        """Weight of agreeing with the teacher, once the ramp is over. More is worse with Muon: see docs/training.md."""
        ramp: float = 1.0
        """Part of the training over which that weight rises, in 40 stairs."""
        momentum: float = 0.99
        """Of the teacher's weights."""
        noise: float = 0.1
        """Standard deviation of what is added to the teacher's image."""
        predict: Literal["student", "teacher"] = "teacher"
        """Which of the two is evaluated and packaged."""

    needs_unlabelled = 1

    def __init__(self, plan: Plan, settings: Any, steps: int, seed: int) -> None:
        super().__init__(plan, settings, steps, seed)
        self.student = build(definition_for(plan, settings.network))
        self.teacher = EMATeacher(self.student)

    @classmethod
    def batches(
        cls, plan: Plan, store: Store, split: Split, settings: Any, *, steps: int, seed: int, rank: int, world: int
    ) -> TwoStreamBatches:
        return settings.streams.batches(plan, store, split, steps=steps, seed=seed, rank=rank, world=world)

    def terms(self, batch: Batch, step: int) -> dict[str, Tensor]:
        known = len(batch["labels"])
        logits = self.student(batch["image"])
        ce, dice = supervised(logits[:known], batch["labels"], batch["annotated"])
        return {
            "cross_entropy": ce,
            "dice": dice,
            "consistency": self.consistency(logits[known:], batch["image"][known:], step),
        }

    def weights(self, step: int) -> dict[str, float]:
        s = self.settings
        rising = s.consistency * sigmoid_ramp(step, s.ramp * self.steps, stairs=40)
        return {"cross_entropy": s.supervised, "dice": s.supervised, "consistency": rising}

    def consistency(self, logits: Tensor, image: Tensor, step: int) -> Tensor:
        """mean over voxels and classes of (p_student − p_teacher)², where the teacher sees noise."""
        return squared_difference(logits, mean_of_passes(self.teacher, image, 1, self.settings.noise))

    def after_step(self, step: int) -> None:
        self.teacher.update(self.student, teacher_momentum(step, self.settings.momentum))

    def learner(self) -> Backbone:
        return self.student

    def predictor(self) -> Backbone:
        return self.student if self.settings.predict == "student" else self.teacher.network
