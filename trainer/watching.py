"""What is measured while a training runs: its losses, its pace, and how well it segments by now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor

from trainer import records
from trainer.data.plan import Plan
from trainer.data.store import Store
from trainer.hardware import Hardware
from trainer.methods.base import Method
from trainer.predict import classes_on_grid
from trainer.run import Run


@dataclass(frozen=True)
class Moment:
    """Where a training is."""

    step: int
    steps: int
    values: dict[str, float]
    """What was measured last, by name."""


Watch = Callable[[Moment], None]


class Recording(Callback):
    """Means of the terms, the learning rate, the pace and the share of time spent waiting for data, every few steps."""

    def __init__(self, run: Run, watch: Watch, every: int) -> None:
        self._run = run
        self._watch = watch
        self._every = every
        self._writer: Any = None
        self._sums: dict[str, Tensor] = {}
        self._steps = 0
        self._images = 0
        self._since = self._free = 0.0
        self._waited = 0.0

    def on_train_start(self, trainer: Trainer, method: Method) -> None:
        if trainer.is_global_zero:
            from torch.utils.tensorboard import SummaryWriter

            first = trainer.global_step
            records.forget_after(self._run.metrics, first)
            self._writer = SummaryWriter(str(self._run.folder / "log"), purge_step=first + 1 if first else None)
        self._since = self._free = perf_counter()

    def on_train_batch_start(self, trainer: Trainer, method: Method, batch: dict[str, Tensor], index: int) -> None:
        self._waited += perf_counter() - self._free
        self._images += next(iter(batch.values())).shape[0] * trainer.world_size

    def on_train_batch_end(self, trainer: Trainer, method: Method, outputs: Any, *_: Any) -> None:
        self._steps += 1
        for name, term in {"loss": outputs["loss"], **outputs["terms"]}.items():
            self._sums[name] = self._sums.get(name, 0.0) + term.detach()
        step = trainer.global_step
        if step % self._every == 0 or step == method.steps:
            self._tell(trainer, method, step)
        self._free = perf_counter()

    def _tell(self, trainer: Trainer, method: Method, step: int) -> None:
        passed = max(perf_counter() - self._since, 1e-9)
        values = {f"train/{name}": float(total) / self._steps for name, total in self._sums.items()}
        values |= {
            "train/rate": method.optimiser.lr * method.optimiser.schedule(step - 1, method.steps),
            "pace/seconds_per_step": passed / self._steps,
            "pace/images_per_second": self._images / passed,
            "pace/waiting": self._waited / passed,
        }
        self.record(trainer, method, step, values)
        self._sums, self._steps, self._images, self._waited = {}, 0, 0, 0.0
        self._since = perf_counter()

    def record(self, trainer: Trainer, method: Method, step: int, values: dict[str, float]) -> None:
        if not trainer.is_global_zero:
            return
        records.append(self._run.metrics, step, values)
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._watch(Moment(step, method.steps, values))

    def pause(self, seconds: float) -> None:
        """Leave time out of the pace that something else has taken."""
        self._since += seconds
        self._free = perf_counter()

    def teardown(self, trainer: Trainer, method: Method, stage: str) -> None:
        if self._writer is not None:
            self._writer.close()


class Validation(Callback):
    """Segments whole validation cases, as prepared, with a copy of the network; the course of their Dice is recorded.

    It decides about nothing: the last checkpoint is what counts.
    """

    def __init__(
        self, store: Store, names: Sequence[str], plan: Plan, hardware: Hardware, every: int, recording: Recording
    ) -> None:
        self._store, self._names, self._plan = store, names, plan
        self._hardware, self._every, self._recording = hardware, every, recording

    def on_train_batch_end(self, trainer: Trainer, method: Method, *_: Any) -> None:
        step = trainer.global_step
        if not self._names or (step % self._every and step != method.steps):
            return
        started = perf_counter()
        dice = self._dice(trainer, method)
        values = {"validation/dice": float(np.nanmean(dice))} if not np.isnan(dice).all() else {}
        for label, own in zip(self._plan.labels, dice.T, strict=True):
            if not np.isnan(own).all():
                values[f"validation/{label.name.replace(',', ' ')}"] = float(np.nanmean(own))
        self._recording.record(trainer, method, step, values)
        self._recording.pause(perf_counter() - started)

    def _dice(self, trainer: Trainer, method: Method) -> np.ndarray:
        """(cases, labels), NaN where nobody looked, or where there is nothing and nothing was found."""
        # A copy, because inference lays weights out in memory as it likes, and training has to go on unchanged.
        network = deepcopy(method.predictor().network).eval()
        dice = torch.full((len(self._names), len(self._plan.labels)), torch.nan)
        for index in range(trainer.global_rank, len(self._names), trainer.world_size):
            case = self._store[self._names[index]]
            found = classes_on_grid(network, self._plan, case.image, str(method.device), self._hardware.precision)
            for column in range(len(self._plan.labels)):
                if case.annotated[column + 1]:
                    a, b = found == column + 1, case.labels == column + 1
                    total = int(a.sum()) + int(b.sum())
                    dice[index, column] = 2 * int((a & b).sum()) / total if total else torch.nan
        if trainer.world_size > 1:
            gathered = trainer.strategy.all_gather(dice.to(method.device)).cpu()
            dice = gathered.nan_to_num(nan=-1.0).amax(dim=0)
            dice[dice < 0] = torch.nan
        return dice.numpy()
