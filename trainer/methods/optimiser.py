"""How a method's weights are moved: the optimiser, and its learning rate as a function of the step alone."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from trainer.methods.muon import Muon


@dataclass(frozen=True)
class Schedule:
    """What the learning rate is multiplied with as training goes on.

    constant  1
    step      `factor` for every milestone that is behind
    poly      (1 - step / steps) ** `power`
    cosine    from 1 to 0 along half a cosine
    restarts  the same again and again, every `period` steps
    """

    kind: Literal["constant", "step", "poly", "cosine", "restarts"] = "constant"
    warm_up: int = 0
    """Steps in which the rate rises in a straight line before all else."""
    milestones: tuple[int, ...] = ()
    factor: float = 0.1
    power: float = 0.9
    period: int = 1000
    of: int = 0
    """The length of training that warm_up, milestones and period are meant for; they are stretched with another one.
    0: they are steps, whatever the length."""

    def __call__(self, step: int, steps: int) -> float:
        """The factor at a step (from 0) of a training of so many steps."""
        stretch = steps / self.of if self.of else 1.0
        warm_up = self.warm_up * stretch
        if step < warm_up:
            return (step + 1) / (warm_up + 1)
        part = min(1.0, (step - warm_up) / max(1.0, steps - warm_up))
        if self.kind == "step":
            return self.factor ** sum(step >= round(milestone * stretch) for milestone in self.milestones)
        if self.kind == "poly":
            return (1 - part) ** self.power
        if self.kind == "cosine":
            return 0.5 * (1 + math.cos(math.pi * part))
        if self.kind == "restarts":
            period = max(1, round(self.period * stretch))
            return 0.5 * (1 + math.cos(math.pi * ((step - math.ceil(warm_up)) % period) / period))
        return 1.0


@dataclass(frozen=True)
class Optimiser:
    name: Literal["sgd", "adam", "adamw", "muon"] = "adamw"
    lr: float = 1e-3
    weight_decay: float = 1e-4
    momentum: float = 0.9
    """Of sgd; the others keep their own."""
    nesterov: bool = False
    schedule: Schedule = field(default_factory=Schedule)

    def __call__(self, groups: Iterable[dict[str, Any]], *, half: bool = False) -> torch.optim.Optimizer:
        """The torch optimiser of parameter groups. A group's `rate` (1 if it has none) scales its learning rate, for
        good, or for the part of the training that `until` says. `half`: what allows it computes in bf16."""
        groups = [{"rate": 1.0, **group} for group in groups]
        if self.name == "muon":
            return Muon(groups, self.lr, self.weight_decay, half=half)
        common = {"lr": self.lr, "weight_decay": self.weight_decay}
        if self.name == "sgd":
            return torch.optim.SGD(groups, momentum=self.momentum, nesterov=self.nesterov, **common)
        return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[self.name](groups, **common)

    def set_rate(self, optimiser: torch.optim.Optimizer, step: int, steps: int) -> float:
        """Give the optimiser the learning rate of a step. Nothing is remembered, so a resumed run is the same."""
        rate = self.lr * self.schedule(step, steps)
        for group in optimiser.param_groups:
            slowed = step < group.get("until", 1.0) * steps
            group["lr"] = rate * (group["rate"] if slowed else 1.0)
        return rate
