"""Judging cases: scores on the scan's own grid, calibration on the network's, everything into one folder."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.io.atomic import replacing
from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.volume import Volume
from trainer.evaluate.calibration import Reliability, near_objects, reliability
from trainer.evaluate.metrics import score
from trainer.evaluate.plots import box_plot, reliability_diagram
from trainer.evaluate.tables import Row, by_label, summary, write_rows

RULES = (
    "A label that truth and prediction both lack is not scored. Where one of both lacks it, Dice, Jaccard and NSD are "
    "0 and distances are the diagonal of the scan. 95HD and ASSD pool the distances of both surfaces. Means are taken "
    "over cases, those of all labels first over the labels of a case. Intervals are 95 % bootstrap intervals."
)


def rows_of(
    case: str,
    found: Volume,
    truth: Volume,
    labels: Sequence[Label],
    annotated: Collection[int] | None = None,
    tolerance_mm: float = 2.0,
) -> list[Row]:
    """The scores of every label that this case annotates, which are all if it does not say; on the scan's grid."""
    if not found.same_grid_as(truth):
        raise InputError(f"The labels of {case} lie on another grid than its scan: resample them to the scan.")
    spacing = tuple(float(mm) for mm in truth.spacing[::-1])
    asked = [label for label in labels if annotated is None or label.value in annotated]
    return [
        Row(
            case,
            label.name,
            label.value,
            score(found.voxels == label.value, truth.voxels == label.value, spacing, tolerance_mm),
        )
        for label in asked
    ]


def reliability_of(
    logits: np.ndarray, truth: np.ndarray, spacing: tuple[float, float, float], temperature: float = 1.0
) -> Reliability:
    """Calibration in one case: (classes, i, j, k) logits and class numbers on the network's grid."""
    scaled = logits.astype(np.float32) / temperature
    scaled -= scaled.max(axis=0)
    probabilities = np.exp(scaled)
    probabilities /= probabilities.sum(axis=0)
    return reliability(probabilities, truth, near_objects(probabilities.argmax(axis=0), truth, spacing))


@dataclass(frozen=True, eq=False)
class Evaluation:
    rows: list[Row]
    reliabilities: Mapping[str, Reliability]
    """By the name of the temperature, such as "as trained" and "temperature 1.31"."""
    facts: Mapping[str, Any]
    """What is needed to run it again: model, cases, tolerance, seed, version."""

    def summary(self) -> dict[str, Any]:
        return {
            **self.facts,
            "rules": RULES,
            "scores": summary(self.rows),
            "calibration_error": {name: found.error for name, found in self.reliabilities.items()},
        }


def write_evaluation(evaluation: Evaluation, folder: Path) -> None:
    """cases.csv, summary.json, a box plot and the reliability diagram."""
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(folder / "cases.csv", evaluation.rows)
    with replacing(folder / "summary.json") as temporary:
        temporary.write_text(json.dumps(evaluation.summary(), indent=1, allow_nan=False) + "\n", "utf-8")
    box_plot(folder / "dice.png", by_label(evaluation.rows, "dice"), "Dice")
    if evaluation.reliabilities:
        reliability_diagram(folder / "reliability.png", evaluation.reliabilities)
