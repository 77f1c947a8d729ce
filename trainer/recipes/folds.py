"""A model that ships, and the cross-validation that says how good it is: the same training on parts of the cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from trainer import records
from trainer.evaluate.plots import box_plot, learning_curves
from trainer.evaluate.tables import by_label
from trainer.recipes.study import UNWATCHED, Clock, judged, run, settings, trainer
from trainer.report import lines_of, markdown, read_run

ALL = "all"
"""The part that holds nobody back. It is what ships."""
_SMOOTHED = 5
"""Records of the loss that make one point of its curve."""


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
        """What the cross-validation has found so far, with every case as a point, and how the loss fell."""
        if runs := [read_run(folder) for folder in self.judges()]:
            (self.out / "table.md").write_text(markdown(lines_of(runs)), "utf-8")
            box_plot(self.out / "dice.png", by_label([row for one in runs for row in one.rows], "dice"), "Dice")
        parts = [*map(str, range(self.folds)), ALL]
        if curves := {f"part {part}": curve for part in parts if (curve := self.loss(part))[0]}:
            learning_curves(self.out / "loss.png", curves, "loss")

    def loss(self, part: str) -> tuple[list[float], list[float]]:
        """Steps and losses of all stages of a part, one after the other, each the mean of several records."""
        steps: list[float] = []
        losses: list[float] = []
        before = 0
        for stage in self.stages:
            found = records.read(self.out / "runs" / f"{part}-{stage.name}" / "metrics.csv").get("train/loss", ([], []))
            for start in range(0, len(found[0]) - _SMOOTHED + 1, _SMOOTHED):
                taken = slice(start, start + _SMOOTHED)
                steps.append(before + mean(found[0][taken]))
                losses.append(mean(found[1][taken]))
            before += stage.steps
        return steps, losses

    def ship(self, whole: Path, judges: Sequence[Path]) -> None:
        target = self.out / self.card.id
        if not target.exists():
            about = (
                f"--{key}={getattr(self.card, key)}" for key in ("title", "licence", "data", "description", "version")
            )
            judge = (f"--judge={folder}" for folder in judges)
            trainer("package", whole, "--out", target, "--half", *about, *judge)
