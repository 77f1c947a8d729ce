"""On what a training runs, in which number format and memory layout."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

import torch

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.inference.devices import choose_device
from SSLSegmentationLib.inference.predictors import Precision, best_precision
from trainer.run import Training

_LIGHTNING = {"f32": "32-true", "bf16": "bf16-mixed", "f16": "16-mixed"}
_MOST_WORKERS = 8


@dataclass(frozen=True)
class Hardware:
    device: str
    """cpu, cuda, cuda:1 or mps."""
    precision: Precision
    devices: int | list[int]
    nodes: int
    strategy: str
    workers: int

    @property
    def kind(self) -> Literal["cpu", "cuda", "mps"]:
        return torch.device(self.device).type

    @property
    def lightning_precision(self) -> str:
        return _LIGHTNING[self.precision]

    @property
    def channels_last(self) -> tuple[int, ...]:
        """Which networks are faster so, by the number of axes their data has: 4 for slices, 5 for volumes.

        Tensor cores want it of all. On a processor volumes take a tenth less time, and slices a tenth more.
        """
        if self.kind == "cuda" and self.precision != "f32":
            return 4, 5
        return (5,) if self.kind == "cpu" else ()


def choose(training: Training) -> Hardware:
    device = choose_device(training.device)
    kind = torch.device(device).type
    if kind == "cuda" and training.devices > torch.cuda.device_count():
        raise InputError(
            f"{training.devices} devices were asked for, but there are {torch.cuda.device_count()}: set devices lower."
        )
    precision = training.precision if training.precision != "auto" else best_precision(device)
    if precision == "f16" and kind == "cpu":
        raise InputError("A processor cannot train in f16: choose the precision bf16 or f32.")
    several = training.devices * training.nodes > 1
    # Methods have parts that some steps leave alone, which plain DDP would wait for.
    strategy = "ddp_find_unused_parameters_true" if several and training.strategy == "auto" else training.strategy
    numbered = device.startswith("cuda:") and training.devices == 1
    return Hardware(
        device,
        precision,
        [int(device.partition(":")[2])] if numbered else training.devices,
        training.nodes,
        strategy,
        _workers(kind, training),
    )


def _workers(kind: str, training: Training) -> int:
    """A GPU is fed by processes of their own; a processor that trains would only share its cores with them."""
    if training.workers >= 0:
        return training.workers
    if kind == "cpu":
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(_MOST_WORKERS, (cores - 1) // training.devices))
