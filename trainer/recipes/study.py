"""A study: many runs of `python -m trainer`, one after the other, that go on where they ended."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from SSLSegmentationLib.io.atomic import replacing
from trainer.run import SETTINGS

UNWATCHED = "validate_every=1000000"
"""The setting of a training that nobody looks at before it ends."""
_TIME_IS_UP = "The time is up. The same command goes on from here."


@dataclass(frozen=True)
class Way:
    """A method as a study runs it: alone, or after a pre-training."""

    name: str
    method: str = "supervised"
    preset: str = "default"
    pretraining: str = ""
    pretraining_preset: str = "default"
    before: tuple[str, ...] = ()
    """Changes of the pre-training's settings, as --set takes them."""
    changes: tuple[str, ...] = ()
    """Of the training's."""
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
        return min(max(1.0, self._end - time.monotonic()), 1e6)  # what operating systems can wait for

    def check(self) -> None:
        if time.monotonic() > self._end:
            raise SystemExit(_TIME_IS_UP)


def trainer(*arguments: object, clock: Clock | None = None) -> None:
    """One command of the trainer, in a process of its own: what it leaves in memory does not add up.

    The process is forked from one that has imported what commands need, which takes longer than some of them do.
    """
    words = [str(argument) for argument in arguments]
    command = " ".join(["python -m trainer", *words])
    print("$", command, flush=True)
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(["trainer.recipes.preloaded"])
    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder) / "said"
        process = forks.Process(target=_command, args=(words, said))
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever ends a study ends its training as well
        process.start()
        try:
            process.join(None if clock is None else clock.seconds)
            if process.is_alive():
                raise SystemExit(_TIME_IS_UP)
        finally:
            process.kill()
            process.join()
        if process.exitcode:
            told = said.read_text("utf-8", errors="replace") if said.exists() else "It could not be started."
            raise SystemExit(f"{command} failed:\n{told[-4000:]}")


def _command(arguments: list[str], said: Path) -> None:
    from trainer.commands import main

    with said.open("w", encoding="utf-8") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    main(arguments)


def arguments(name: str, purpose: str | None, *folders: str, device: str = "cpu") -> argparse.ArgumentParser:
    """Those every recipe has: folders by name, the last of which takes the results, the device, and when to stop."""
    title = (purpose or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog=f"python -m trainer.recipes.{name}", description=title)
    for folder in (*folders, "out"):
        parser.add_argument(folder, type=Path)
    parser.add_argument("--device", default=device)
    parser.add_argument("--minutes", type=float, default=1e6, help="stop after so many minutes; run again to go on")
    return parser


def add_choice(parser: argparse.ArgumentParser, ways: Sequence[Way], seeds: Sequence[int]) -> None:
    """What a comparison of methods runs: all of them with few labels and some seeds, or a part of that."""
    parser.add_argument("--methods", nargs="*", default=[], metavar="NAME", help=", ".join(way.name for way in ways))
    parser.add_argument("--labelled", nargs="*", type=int, default=[8, 16])
    parser.add_argument("--seeds", nargs="*", type=int, default=seeds)


def settings(*changes: str) -> tuple[str, ...]:
    """As the commands take them."""
    return tuple(word for change in changes for word in ("--set", change))


def planned(work: Path, data: Path, change: Callable[[dict[str, Any]], object], *how: object) -> Path:
    """A folder with the plan that is proposed for the data, changed."""
    path = work / "plan.yaml"
    if not path.exists():
        with tempfile.TemporaryDirectory() as folder:
            trainer("plan", data.resolve(), "--out", folder, *how)
            plan = yaml.safe_load((Path(folder) / "plan.yaml").read_text("utf-8"))
        change(plan)
        work.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:  # a proposal that nobody changed must not be taken for the plan
            temporary.write_text(yaml.safe_dump(plan, sort_keys=False), "utf-8")
    return work


def run(folder: Path, *begin: object, clock: Clock | None = None) -> Path:
    """A run that is trained to its end, begun by these arguments if it has not begun."""
    if (folder / "done.json").exists():
        return folder
    if (folder / SETTINGS).exists():
        trainer("resume", folder, clock=clock)
    else:
        trainer(*begin, "--out", folder, clock=clock)
    return folder


def judged(folder: Path, *how: object) -> Path:
    """A run that is evaluated."""
    if not (folder / "evaluation" / "summary.json").exists():
        trainer("evaluate", folder, *how)
    return folder


def chosen(ways: Sequence[Way], names: Sequence[str]) -> list[Way]:
    if unknown := set(names) - {way.name for way in ways}:
        raise SystemExit(f"There is no {', '.join(sorted(unknown))}: choose of {', '.join(way.name for way in ways)}.")
    return [way for way in ways if not names or way.name in names]
