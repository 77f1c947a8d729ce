"""A study: many runs of `python -m trainer`, one after the other, that go on where they ended."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.run import SETTINGS

_TIME_IS_UP = "The time is up. The same command goes on from here."


@dataclass(frozen=True)
class Way:
    """A method as a study runs it: alone, or after a pre-training."""

    name: str
    method: str = "supervised"
    preset: str = "default"
    pretraining: str = ""
    pretraining_preset: str = "default"
    flat: bool = False
    """On slices, by the plan for these."""
    seen_labels: bool = False
    """Whether the pre-training looks at labels, which then must be only those of the labelled cases."""


class Clock:
    """Ends a study in time; what it stops then goes on later from its last checkpoint."""

    def __init__(self, minutes: float) -> None:
        self._end = time.monotonic() + 60 * minutes

    @property
    def seconds(self) -> float:
        return max(1.0, self._end - time.monotonic())

    def check(self) -> None:
        if time.monotonic() > self._end:
            raise SystemExit(_TIME_IS_UP)


def trainer(*arguments: object, clock: Clock | None = None) -> None:
    """One command of the trainer, in a process of its own: what it leaves in memory does not add up."""
    command = [sys.executable, "-m", "trainer", *map(str, arguments)]
    print("$ python -m trainer", *map(str, arguments), flush=True)
    limit = None if clock is None else clock.seconds
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=limit)
    except subprocess.TimeoutExpired:
        raise SystemExit(_TIME_IS_UP) from None
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")


def run(folder: Path, *begin: object, clock: Clock | None = None) -> Path:
    """A run that is trained to its end, begun by these arguments if it has not begun."""
    if (folder / "done.json").exists():
        return folder
    if (folder / SETTINGS).exists():
        trainer("resume", folder, clock=clock)
    else:
        trainer(*begin, "--out", folder, clock=clock)
    return folder


def judged(folder: Path) -> Path:
    """A run that is evaluated."""
    if not (folder / "evaluation" / "summary.json").exists():
        trainer("evaluate", folder)
    return folder


def chosen(ways: Sequence[Way], names: Sequence[str]) -> list[Way]:
    if unknown := set(names) - {way.name for way in ways}:
        raise SystemExit(f"There is no {', '.join(sorted(unknown))}: choose of {', '.join(way.name for way in ways)}.")
    return [way for way in ways if not names or way.name in names]
