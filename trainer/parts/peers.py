"""The other network: a running average of the one that is trained."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class EMATeacher(nn.Module):
    """A copy whose weights follow those of the student: w ← m w + (1 − m) w_student, after every step.

    Its normalisation layers gather statistics of their own, as it runs in training mode with its drop-out alive.
    """

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.network = copy.deepcopy(student).requires_grad_(False)

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        return self.network(image)

    @torch.no_grad()
    def update(self, student: nn.Module, momentum: float) -> None:
        mine, theirs = list(self.network.parameters()), [weight.detach() for weight in student.parameters()]
        torch._foreach_lerp_(mine, theirs, 1 - momentum)
