"""How good the answers of a promptable model are: after clicks, after a box, and along the slices.

A robot clicks into the middle of the largest region of a label on a slice, then into the middle of the largest mistake,
and so on; a box is drawn two pixels around the region. Three slices of each label are asked, at a quarter, a half and
three quarters of its length. For the figure along the slices, the middle one is taken as it was drawn, and spread.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.io.atomic import replacing
from SSLSegmentationLib.prompting.boxes import grown, tight
from SSLSegmentationLib.prompting.picture import picture, window_of
from SSLSegmentationLib.prompting.propagate import propagate, usual_rule
from SSLSegmentationLib.prompting.protocol import PixelPrompts, Promptable
from SSLSegmentationLib.prompting.robot import Ask, Place, clicked, dice
from SSLSegmentationLib.prompting.stack import slices_along
from SSLSegmentationLib.proposal import Cropped
from SSLSegmentationLib.regions import largest_region
from SSLSegmentationLib.steps import finish
from SSLSegmentationLib.volume import Volume
from trainer.evaluate.bootstrap import mean_of
from trainer.evaluate.plots import box_plot

CLICKS = (1, 3, 5)
MEASURES = ("1 click", "3 clicks", "5 clicks", "box", "along slices")
LEAST = 30
"""Pixels of a region that is asked for."""
REACH = 12
"""Slices on both sides that the middle one is spread to."""
RULES = (
    "A robot clicks into the middle of the largest region of a label on a slice, then into the largest mistake; a box "
    "is two pixels wider than the region. Three slices a label, at a quarter, a half and three quarters of its length, "
    f"where its largest region has {LEAST} pixels. Along slices: the middle slice as drawn, spread by {REACH} slices "
    "both ways; Dice over these without it. Means over slices, then labels, then cases; 95 % bootstrap intervals."
)

Figures = dict[str, float]


@dataclass(frozen=True)
class Asked:
    """What came of one label of one case, by measure."""

    case: str
    value: int
    figures: Figures


@dataclass(frozen=True, eq=False)
class Answers:
    asked: list[Asked]
    facts: Mapping[str, Any]

    def summary(self) -> dict[str, Any]:
        cases = by_case(self.asked)
        return {
            **self.facts,
            "rules": RULES,
            "scores": {
                "all": {name: asdict(mean_of(np.array(found))) for name, found in by_measure(cases.values()).items()},
                "cases": {case: {name: round(found, 4) for name, found in one.items()} for case, one in cases.items()},
            },
        }

    def write(self, folder: Path) -> None:
        """prompts.csv, summary.json and a box plot."""
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / "prompts.csv") as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["case", "value", *MEASURES])
            for one in self.asked:
                told = (f"{one.figures[name]:.4f}" if name in one.figures else "" for name in MEASURES)
                table.writerow([one.case, one.value, *told])
        with replacing(folder / "summary.json") as temporary:
            temporary.write_text(json.dumps(self.summary(), indent=1, allow_nan=False) + "\n", "utf-8")
        values = by_measure(one.figures for one in self.asked)
        box_plot(folder / "dice.png", {name: np.array(found) for name, found in values.items()}, "Dice")


def by_case(asked: Sequence[Asked]) -> dict[str, Figures]:
    """The mean over the labels of a case, in the measures that any of them is large enough for."""
    cases = dict.fromkeys(one.case for one in asked)
    own = {case: by_measure(one.figures for one in asked if one.case == case) for case in cases}
    return {case: {name: mean(found) for name, found in figures.items()} for case, figures in own.items()}


def by_measure(figures: Iterable[Figures]) -> dict[str, list[float]]:
    """The figures of each measure that there are any of."""
    figures = list(figures)
    found = {name: [one[name] for one in figures if name in one] for name in MEASURES}
    return {name: values for name, values in found.items() if values}


def ask_case(case: str, scan: Volume, truth: Volume, model: Promptable) -> list[Asked]:
    """All labels of a case."""
    shown = Shown(scan, truth)
    return [Asked(case, value, Questions(shown, value).answered(model)) for value in shown.values()]


class Shown:
    """A case as users see it, slice by slice, and what is true of it."""

    def __init__(self, scan: Volume, truth: Volume) -> None:
        if not truth.same_grid_as(scan):
            raise InputError("The labels lie on another grid than their scan: choose labels of this scan.")
        self.scan, self.truth = scan, truth
        self.stack, self._window = slices_along(scan, 0), window_of(scan)
        self._pictures: dict[int, np.ndarray] = {}

    def values(self) -> list[int]:
        return [int(value) for value in np.unique(self.truth.voxels) if value]

    def picture(self, k: int) -> np.ndarray:
        if k not in self._pictures:
            self._pictures[k] = picture(self.scan, self.stack.plane(k), self._window)
        return self._pictures[k]


class Questions:
    """Everything that is asked about one label of a case."""

    def __init__(self, shown: Shown, value: int) -> None:
        self.shown, self.there = shown, shown.truth.voxels == value

    def slices(self) -> Iterator[tuple[int, np.ndarray]]:
        """Numbers of slices, and the largest region of the label on each."""
        there = np.flatnonzero(self.there.sum(axis=(1, 2)) >= LEAST)
        chosen = {int(there[round(part * (len(there) - 1))]) for part in (0.25, 0.5, 0.75)} if len(there) else set()
        for k in sorted(chosen):
            region = largest_region(self.there[k])
            if region.sum() >= LEAST:
                yield k, region

    def answered(self, model: Promptable) -> Figures:
        """By a model, in all measures that the label is large enough for."""
        found = [_of_slice(model, self.shown.picture(k), region) for k, region in self.slices()]
        figures = {name: mean(values) for name, values in by_measure(found).items()}
        return figures | self.along(model)

    def along(self, model: Promptable | None) -> Figures:
        """Spread by a model, or by the grey values alone."""
        there = np.flatnonzero(self.there.any(axis=(1, 2)))
        if not len(there):
            return {}
        middle = int(there[len(there) // 2])
        others = [k for k in range(middle - REACH, middle + REACH + 1) if 0 <= k < len(self.there) and k != middle]
        if not self.there[others].any():
            return {}
        drawn = np.zeros_like(self.there)
        drawn[middle] = self.there[middle]
        everywhere = tuple(slice(0, n) for n in drawn.shape)
        seed = Cropped(everywhere, drawn).tight()
        rule = usual_rule(model, REACH)
        proposal = finish(propagate(self.shown.stack, {"it": seed}, [middle], model, rule=rule)).proposals["it"]
        found = proposal.accepted_into(seed).within(everywhere)
        return {MEASURES[-1]: dice(found[others], self.there[others])}


def after_clicks(region: np.ndarray, ask: Ask) -> Figures:
    scores = clicked(region, ask, max(CLICKS))
    return {name: scores[count - 1] for name, count in zip(MEASURES, CLICKS, strict=False)}


def _of_slice(model: Promptable, seen: np.ndarray, region: np.ndarray) -> Figures:
    embedding = model.encode(seen)

    def answer(**prompts: Any) -> np.ndarray:
        return model.decode(embedding, [PixelPrompts(**prompts)])[0].mask

    def ask(places: Sequence[Place], signs: Sequence[bool]) -> np.ndarray:
        return answer(points=np.array(places), positive=np.array(signs))

    box = grown(tight(region), region.shape, 0.0, 2.0)
    return after_clicks(region, ask) | {"box": dice(answer(box=box), region)}
