"""A model that ships, and the cross-validation that says how good it is: the same training on parts of the cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.recipes.study import UNWATCHED, Clock, judged, run, settings, trainer
from trainer.report import lines_of, markdown, read_run

ALL = "all"
"""The part that holds nobody back. It is what ships."""


@dataclass(frozen=True)
class Stage:
    """A training, which begins with the weights of the stage before it."""

    name: str
    work: Path
    """The folder of its plan."""
    steps: int
    changes: tuple[str, ...] = ()
    """Of the settings, as --set takes them."""


@dataclass(frozen=True)
class Card:
    """What the package says of itself."""

    id: str
    title: str
    licence: str
    data: str
    """What it was trained on, with attribution."""
    description: str
    version: str = "1.0"


@dataclass(frozen=True)
class Model:
    out: Path
    folds: int
    stages: Sequence[Stage]
    split: Callable[[str], Sequence[object]]
    """The arguments that tell which cases a part trains on."""
    card: Card
    device: str = "cpu"
    judging: tuple[object, ...] = ()
    """Arguments of `evaluate`."""

    def make(self, parts: Sequence[str], clock: Clock) -> None:
        """Train and judge these parts, and write the package when all of them are there."""
        for part in parts:
            self.train(part, clock)
            self.table()
        whole, judges = self.folder(ALL), self.judges()
        if (whole / "done.json").exists() and len(judges) == self.folds:
            self.ship(whole, judges)

    def train(self, part: str, clock: Clock) -> None:
        """All stages of a part, one after the other."""
        start: tuple[object, ...] = ()
        for stage in self.stages:
            folder = self.out / "runs" / f"{part}-{stage.name}"
            same = ("--steps", stage.steps, "--device", self.device)
            changes = settings(UNWATCHED, *stage.changes)
            begin = ("train", stage.work, *self.split(part), *same, *changes, *start)
            start = ("--from", run(folder, *begin, clock=clock))
        if part != ALL:
            judged(folder, *self.judging)

    def folder(self, part: str) -> Path:
        """The run of a part's last stage."""
        return self.out / "runs" / f"{part}-{self.stages[-1].name}"

    def judges(self) -> list[Path]:
        """The runs of the cross-validation that are judged by now."""
        folders = [self.folder(str(fold)) for fold in range(self.folds)]
        return [folder for folder in folders if (folder / "evaluation" / "summary.json").exists()]

    def table(self) -> None:
        """What the cross-validation has found so far."""
        if runs := [read_run(folder) for folder in self.judges()]:
            (self.out / "table.md").write_text(markdown(lines_of(runs)), "utf-8")

    def ship(self, whole: Path, judges: Sequence[Path]) -> None:
        target = self.out / self.card.id
        if not target.exists():
            about = (
                f"--{key}={getattr(self.card, key)}" for key in ("title", "licence", "data", "description", "version")
            )
            judge = (f"--judge={folder}" for folder in judges)
            trainer("package", whole, "--out", target, "--half", *about, *judge)
