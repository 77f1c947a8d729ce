"""UA-MT (Yu et al., MICCAI 2019): a mean teacher that is only followed where it is sure.

The teacher sees each unlabelled patch several times, with noise and with its drop-out alive. Where the entropy of its
mean opinion is above a threshold, which rises while it learns, the student is left alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer.methods.mean_teacher import MeanTeacher
from trainer.parts.consistency import squared_difference
from trainer.parts.schedules import sigmoid_ramp
from trainer.parts.uncertainty import entropy, mean_of_passes

if TYPE_CHECKING:
    from torch import Tensor


class UncertaintyAwareMeanTeacher(MeanTeacher):
    @dataclass(frozen=True)
    class Settings(MeanTeacher.Settings):
        passes: int = 8
        """How often the teacher looks."""
        certainty: float = 0.75
        """The entropy below which it is followed at first, as a part of that of a voxel torn between two classes; the
        part rises to 1. With more classes a voxel can be in greater doubt, and is left alone to the end."""

    def consistency(self, logits: Tensor, image: Tensor, step: int) -> Tensor:
        """Σ M Σ_c (p − q)² / (C Σ M), with M = [H(q̄) < (0.75 + 0.25 · ramp(t)) · log 2] and q̄ the mean of 8 passes.

        As in the published code, the student follows one pass of the teacher (q), and q̄ only tells where.
        """
        s = self.settings
        target = mean_of_passes(self.teacher, image, 1, s.noise)
        doubt = entropy(mean_of_passes(self.teacher, image, s.passes, s.noise))
        part = s.certainty + (1 - s.certainty) * sigmoid_ramp(step, self.steps)
        return squared_difference(logits, target, doubt < part * math.log(2))
