from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.volume import Volume
from trainer.evaluate.judge import Evaluation, reliability_of, rows_of, write_evaluation

LABELS = (Label(3, "anterior", (255, 0, 0)), Label(7, "posterior", (0, 255, 0)))


def a_case(spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> tuple[Volume, Volume]:
    truth = np.zeros((10, 12, 14), np.uint8)
    truth[2:5, 3:8, 3:8] = 3
    truth[5:8, 3:8, 3:8] = 7
    found = truth.copy()
    found[2, 3:8, 3:8] = 0
    matrix = np.diag([*spacing, 1.0])
    return Volume(found, matrix), Volume(truth, matrix)


def test_every_label_is_scored_on_the_grid_of_the_scan() -> None:
    rows = rows_of("one", *a_case(spacing=(1.0, 1.0, 4.0)), LABELS)
    assert [(row.label, row.value) for row in rows] == [("anterior", 3), ("posterior", 7)]
    assert rows[0].score.dice == pytest.approx(2 * 50 / (50 + 75))
    assert rows[0].score.hd95_mm == pytest.approx(4.0), "the missing slice is 4 mm thick along k, the first array axis"
    assert rows[1].score.dice == 1.0


def test_a_label_that_the_case_does_not_annotate_is_not_scored() -> None:
    assert [row.label for row in rows_of("one", *a_case(), LABELS, annotated={7})] == ["posterior"]


def test_labels_on_another_grid_are_refused() -> None:
    found, truth = a_case()
    with pytest.raises(InputError, match="another grid"):
        rows_of("one", found, Volume(truth.voxels, np.diag([2.0, 1, 1, 1])), LABELS)


def test_a_higher_temperature_lowers_the_confidence_and_not_the_answer() -> None:
    random = np.random.default_rng(0)
    truth = (random.random((8, 8, 8)) < 0.5).astype(np.uint8)
    logits = np.stack([np.zeros(truth.shape), 6.0 * truth - 3.0 + 6 * random.standard_normal(truth.shape)])
    bold, humble = (reliability_of(logits, truth, (1.0, 1.0, 1.0), heat) for heat in (1.0, 4.0))
    assert bold.right.sum() == humble.right.sum()
    assert humble.confidence.sum() < bold.confidence.sum()
    assert humble.error < bold.error


def test_an_evaluation_is_written_with_its_rules_and_without_numbers_that_json_does_not_have(tmp_path: Path) -> None:
    found, truth = a_case()
    absent = (*LABELS, Label(9, "tumour", (0, 0, 255)))
    logits = np.stack([np.ones((4, 4, 4)), np.zeros((4, 4, 4))])
    reliability = reliability_of(logits, np.ones((4, 4, 4), np.uint8), (1.0, 1.0, 1.0))
    evaluation = Evaluation(rows_of("one", found, truth, absent), {"as trained": reliability}, {"model": "small"})
    write_evaluation(evaluation, tmp_path / "evaluation")
    said = json.loads((tmp_path / "evaluation" / "summary.json").read_text("utf-8"))
    assert said["model"] == "small"
    assert "diagonal" in said["rules"]
    assert said["scores"]["labels"]["tumour"]["dice"] == {"value": None, "low": None, "high": None, "cases": 0}
    assert said["calibration_error"]["as trained"] > 0.7
    names = {path.name for path in (tmp_path / "evaluation").iterdir()}
    assert names == {"cases.csv", "summary.json", "dice.png", "reliability.png"}
