from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from trainer.evaluate.calibration import reliability
from trainer.evaluate.metrics import Score
from trainer.evaluate.plots import box_plot, learning_curves, reliability_diagram
from trainer.evaluate.tables import Row, by_case, by_label, read_rows, summary, write_rows


def a_score(dice: float) -> Score:
    return Score(dice, dice / (2 - dice), 1.5, 0.5, 0.9, 2.0, 0.7, 10.0, 11.0)


NOT_SCORED = Score(*[math.nan] * 7, 0.0, 0.0)
ROWS = [
    Row("a", "liver", 6, a_score(0.9)),
    Row("a", "gallbladder", 4, NOT_SCORED),
    Row("b", "liver", 6, a_score(0.8)),
    Row("b", "gallbladder", 4, a_score(0.4)),
]


def test_rows_are_read_as_they_were_written(tmp_path: Path) -> None:
    write_rows(tmp_path / "cases.csv", ROWS)
    again = read_rows(tmp_path / "cases.csv")
    assert [(row.case, row.label, row.value) for row in again] == [(row.case, row.label, row.value) for row in ROWS]
    np.testing.assert_allclose([row.score.dice for row in again], [row.score.dice for row in ROWS])
    assert ",,,,,,,0,0" in (tmp_path / "cases.csv").read_text("utf-8"), "what is not scored is left empty"


def test_a_case_counts_with_the_labels_it_has() -> None:
    assert by_case(ROWS, "dice") == pytest.approx({"a": 0.9, "b": 0.6})
    np.testing.assert_allclose(by_label(ROWS, "dice")["gallbladder"], [np.nan, 0.4])


def test_the_summary_names_how_many_cases_were_scored() -> None:
    said = summary(ROWS)
    assert said["all"]["dice"]["value"] == pytest.approx(0.75)
    assert said["labels"]["liver"]["dice"]["cases"] == 2
    assert said["labels"]["gallbladder"]["dice"]["cases"] == 1
    assert said["labels"]["gallbladder"]["dice"]["value"] == pytest.approx(0.4)


def test_figures_are_drawn(tmp_path: Path) -> None:
    from matplotlib.image import imread

    box_plot(tmp_path / "box.png", by_label(ROWS, "dice"), "Dice")
    odds = np.full((2, 5, 5, 5), 0.5)
    curve = reliability(odds, np.zeros((5, 5, 5), int), np.ones((5, 5, 5), bool))
    reliability_diagram(tmp_path / "reliability.png", {"as trained": curve})
    learning_curves(tmp_path / "curve.png", {"loss": ([0, 1, 2], [3.0, 2.0, 1.5])}, "loss")
    for name in ("box.png", "reliability.png", "curve.png"):
        picture = imread(tmp_path / name)
        assert picture.shape[0] > 300
        assert np.ptp(picture[..., :3]) > 0.9
