"""Dual networks (Lu, Wu, Kateb and Chaddad, ISBI 2025): SSL-contrastive, and two ways more to learn from each other.

L_unc = mean_v( e^{−KL_v} · CE(s_v, argmax t_v) ) + mean_v(KL_v)     the teacher t corrects the student s, less so
                                                                     where the two disagree
L_cos = mean_v( 1 − cos(p_A(v), p_B(v)) )                            both are drawn to each other

loser: L_s + 0.5 L_v + L_u + λ(t) L_c + w(t) (L_unc + L_cos)         winner: L_s + 0.5 L_v + L_u + w(t) L_cos
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch

from trainer.methods.base import Batch
from trainer.methods.ssl_contrastive import SSLContrastive, Unlabelled
from trainer.parts.consistency import cosine_distance, rectified_cross_entropy
from trainer.parts.peers import EMATeacher
from trainer.parts.schedules import sigmoid_ramp, teacher_momentum

if TYPE_CHECKING:
    from torch import Tensor

    from trainer.data.plan import Plan


class DualNetworks(SSLContrastive):
    @dataclass(frozen=True)
    class Settings(SSLContrastive.Settings):
        teacher: Literal["winner", "mutual", "first", "average"] = "winner"
        """Who corrects whom: the winner the loser; each the other; always the first the second, as released; or a
        running average of both, each of them."""
        rectified_on: Literal["unlabelled", "all"] = "unlabelled"
        soft: bool = False
        """Whether a student learns the teacher's probabilities, sharpened by `softness`, instead of its classes."""
        softness: float = 0.5
        rectified: float = 1.0
        cosine: float = 1.0
        consistency_ramp: float = 1.0
        """Part of the training over which these two weights rise, in 40 stairs; 0: they are there at once."""
        momentum: float = 0.999
        """Of the running average, with `teacher: average`."""

    def __init__(self, plan: Plan, settings: Any, steps: int, seed: int) -> None:
        super().__init__(plan, settings, steps, seed)
        self.average = EMATeacher(self.peers) if settings.teacher == "average" else None

    def terms(self, batch: Batch, step: int) -> dict[str, Tensor]:
        outputs = self.peers.first.features(batch["image"]), self.peers.second.features(batch["image"])
        terms, unlabelled = self.terms_of(outputs, batch, step)
        logits = outputs[0]["logits"], outputs[1]["logits"]
        first = 0 if self.settings.rectified_on == "all" else len(batch["labels"])
        terms["rectified"] = self.rectified((logits[0][first:], logits[1][first:]), batch["image"][first:], unlabelled)
        terms["cosine"] = cosine_distance(*logits)
        return terms

    def weights(self, step: int) -> dict[str, float]:
        s = self.settings
        rising = sigmoid_ramp(step, s.consistency_ramp * self.steps, stairs=40)
        return super().weights(step) | {"rectified": s.rectified * rising, "cosine": s.cosine * rising}

    def rectified(self, logits: tuple[Tensor, Tensor], image: Tensor, unlabelled: Unlabelled) -> Tensor:
        """mean_v( e^{−KL_v} · CE(s_v, argmax t_v) ) + mean_v(KL_v), KL_v = KL(softmax t_v ‖ softmax s_v).

        Summed over those who learn. Teachers get no gradient.
        """
        if self.average is not None:
            opinion = self.average(image)
            lessons = [(student, opinion) for student in logits]
        else:
            taught = {"winner": (unlabelled.loser,), "mutual": (0, 1), "first": (1,)}[self.settings.teacher]
            lessons = [(logits[student], logits[1 - student]) for student in taught]
        s = self.settings
        return torch.stack(
            [rectified_cross_entropy(*lesson, soft=s.soft, temperature=s.softness) for lesson in lessons]
        ).sum()

    def after_step(self, step: int) -> None:
        if self.average is not None:
            self.average.update(self.peers, teacher_momentum(step, self.settings.momentum))
