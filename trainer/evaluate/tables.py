"""Scores as rows, and what is said of all of them together."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from SSLSegmentationLib.io.atomic import replacing
from trainer.evaluate.bootstrap import Mean, mean_of
from trainer.evaluate.metrics import Score

MEASURES = tuple(one.name for one in fields(Score) if not one.name.endswith("_ml"))


@dataclass(frozen=True)
class Row:
    case: str
    label: str
    value: int
    """The user's label value."""
    score: Score


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """One line a case and class; what is not scored is left empty."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["case", "label", "value", *(one.name for one in fields(Score))])
        for row in rows:
            figures = ("" if math.isnan(figure) else f"{figure:.6g}" for figure in asdict(row.score).values())
            table.writerow([row.case, row.label, row.value, *figures])


def read_rows(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        return [
            Row(
                line["case"],
                line["label"],
                int(line["value"]),
                Score(**{one.name: float(line[one.name] or "nan") for one in fields(Score)}),
            )
            for line in csv.DictReader(file)
        ]


def by_label(rows: Sequence[Row], measure: str) -> dict[str, np.ndarray]:
    """The figures of every label over its cases, labels in the order of the rows."""
    found: dict[str, list[float]] = {}
    for row in rows:
        found.setdefault(row.label, []).append(getattr(row.score, measure))
    return {label: np.array(values) for label, values in found.items()}


def by_case(rows: Sequence[Row], measure: str) -> dict[str, float]:
    """The mean over the labels that a case has."""
    found: dict[str, list[float]] = {}
    for row in rows:
        found.setdefault(row.case, []).append(getattr(row.score, measure))
    return {case: _mean(values) for case, values in found.items()}


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """The mean of every measure for each label, and for all labels together: the mean over labels in each case, then
    over cases; each with its 95 % interval."""
    labels = {
        label: {measure: _said(mean_of(by_label(rows, measure)[label])) for measure in MEASURES}
        for label in dict.fromkeys(row.label for row in rows)
    }
    together = {measure: _said(mean_of(np.array(list(by_case(rows, measure).values())))) for measure in MEASURES}
    return {"all": together, "labels": labels}


def _said(mean: Mean) -> dict[str, float | int | None]:
    return {name: None if math.isnan(figure) else figure for name, figure in asdict(mean).items()}


def _mean(values: list[float]) -> float:
    scored = [value for value in values if not math.isnan(value)]
    return sum(scored) / len(scored) if scored else math.nan
