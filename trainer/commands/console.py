"""What the commands print: people read standard error, programs read standard output."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

if TYPE_CHECKING:  # the help is to come at once, without torch
    from SSLSegmentationLib.progress import Tick
    from trainer.watching import Moment, Watch

people = Console(stderr=True, highlight=False)

_SECONDS_BETWEEN_LINES = 10.0  # where there is no terminal to draw a bar on


def say(text: str) -> None:
    people.print(text, markup=False, soft_wrap=True)


@contextmanager
def progress() -> Iterator[Tick]:
    """A Tick that draws one bar a stage, where there is a terminal."""
    bars, tasks = _bars(), {}

    def tick(stage: str, part: float) -> None:
        if stage not in tasks:
            bars.start()
            tasks[stage] = bars.add_task(stage, total=1.0, told="")
        bars.update(tasks[stage], completed=part)

    try:
        yield tick
    finally:
        if tasks:
            bars.stop()


@contextmanager
def training_bar() -> Iterator[Watch]:
    """A Watch that shows step, loss, pace and the last Dice: as a bar, or as a line now and then."""
    bars, task, last = _bars(), None, 0.0
    known: dict[str, float] = {}

    def watch(moment: Moment) -> None:
        nonlocal task, last
        known.update(moment.values)
        told = _told(known)
        if not people.is_terminal:
            ending = moment.step == moment.steps and "validation/dice" not in moment.values
            if perf_counter() - last > _SECONDS_BETWEEN_LINES or ending or "validation/dice" in moment.values:
                say(f"step {moment.step}/{moment.steps}  {told}")
                last = perf_counter()
            return
        if task is None:
            bars.start()
            task = bars.add_task("Training", total=moment.steps, told="")
        bars.update(task, completed=moment.step, told=told)

    try:
        yield watch
    finally:
        if task is not None:
            bars.stop()


def _told(values: dict[str, float]) -> str:
    parts = []
    if "train/loss" in values:
        parts.append(f"loss {values['train/loss']:.3f}")
    if "validation/dice" in values:
        parts.append(f"validation Dice {values['validation/dice']:.3f}")
    if "pace/seconds_per_step" in values:
        waiting = values["pace/waiting"]
        pace = f"{values['pace/seconds_per_step']:.2f} s a step"
        parts.append(pace + (f", {waiting:.0%} of it waiting for data" if waiting > 0.1 else ""))
    return "  ".join(parts)


def _bars() -> Any:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[told]}"),
    )
    return Progress(*columns, console=people, disable=not people.is_terminal)
