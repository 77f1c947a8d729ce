"""What is asked of a promptable model, and what its answers count."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.progress import Tick, silent
from SSLSegmentationLib.prompting.protocol import Answer, PixelPrompts
from SSLSegmentationLib.volume import Volume
from Testing.prompting.fake import Bright
from trainer.evaluate.prompting import LEAST, MEASURES, Answers, Asked, Questions, Shown, ask_case, by_case

SPACING = np.diag([1.0, 1.0, 3.0, 1.0])


def blocks() -> tuple[Volume, Volume]:
    """A bright bar through ten slices, a smaller one beside it, and a spot too small to be asked for."""
    truth = np.zeros((14, 40, 40), dtype=np.uint8)
    truth[2:12, 6:18, 5:17] = 1
    truth[4:9, 26:34, 24:35] = 2
    truth[6, 2, 30:33] = 3
    return Volume((truth > 0) * np.float32(200), SPACING, "scan", "CT"), Volume(truth, SPACING, "truth", "")


def test_three_slices_are_asked_and_the_largest_region_on_each() -> None:
    scan, truth = blocks()
    asked = dict(Questions(Shown(scan, truth), 1).slices())
    assert list(asked) == [4, 6, 9]
    assert all(region.sum() == 144 for region in asked.values())
    assert dict(Questions(Shown(scan, truth), 3).slices()) == {}


def test_a_model_that_sees_what_is_bright_is_right_in_everything() -> None:
    scan, truth = blocks()
    found = ask_case("blocks", scan, truth, Bright())
    assert [one.value for one in found] == [1, 2, 3]
    for one in found[:2]:
        assert one.figures == pytest.approx(dict.fromkeys(MEASURES, 1.0))
    assert found[2].figures == {}, f"a spot of fewer than {LEAST} pixels on one slice cannot be judged"


class Deaf(Bright):
    """Finds nothing, whatever it is told."""

    def decode(self, embedding: np.ndarray, prompts: Sequence[PixelPrompts], tick: Tick = silent) -> list[Answer]:
        return [Answer(np.full(embedding.shape, -9.0, np.float32), 0.1) for _ in prompts]


def test_a_model_that_finds_nothing_gets_nothing() -> None:
    scan, truth = blocks()
    assert Questions(Shown(scan, truth), 1).answered(Deaf()) == dict.fromkeys(MEASURES, 0.0)


def test_labels_on_another_grid_are_refused() -> None:
    scan, truth = blocks()
    with pytest.raises(InputError, match="another grid"):
        Shown(scan, Volume(truth.voxels, np.diag([1.0, 1.0, 2.0, 1.0]), "truth", ""))


def test_means_are_over_labels_then_over_cases(tmp_path: Path) -> None:
    figures = [("a", 1, 1.0), ("a", 2, 0.5), ("b", 1, 0.25)]
    asked = [Asked(case, value, {"1 click": score}) for case, value, score in figures] + [Asked("b", 2, {})]
    assert by_case(asked) == {"a": {"1 click": 0.75}, "b": {"1 click": 0.25}}
    answers = Answers(asked, {"cases": 2})
    answers.write(tmp_path)
    told = json.loads((tmp_path / "summary.json").read_text())
    assert told["scores"]["all"]["1 click"]["value"] == 0.5
    assert "box" not in told["scores"]["all"]
    rows = list(csv.DictReader((tmp_path / "prompts.csv").read_text().splitlines()))
    assert [row["1 click"] for row in rows] == ["1.0000", "0.5000", "0.2500", ""]
    assert (tmp_path / "dice.png").stat().st_size > 1000
