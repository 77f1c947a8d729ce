from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from SSLSegmentationLib.errors import InputError
from trainer.evaluate.judge import Evaluation, write_evaluation
from trainer.evaluate.metrics import Score
from trainer.evaluate.tables import Row
from trainer.report import lines_of, markdown, read_run


def a_run(folder: Path, method: str, dice: dict[str, float], seed: int = 0, fold: int = 0, labelled: int = 8) -> Path:
    rows = [
        Row(case, label, value, Score(figure + shift, 0.5, 3.0, 1.0, 0.9, 3.0, 1.0, 5.0, 5.0))
        for case, figure in dice.items()
        for value, (label, shift) in enumerate([("anterior", 0.0), ("posterior", -0.02)], start=1)
    ]
    facts: dict[str, Any] = {"method": method, "preset": "default", "labelled": labelled, "seed": seed, "fold": fold}
    write_evaluation(Evaluation(rows, {}, facts), folder / "evaluation")
    return folder


def test_a_method_is_compared_with_the_baseline_on_the_same_cases(tmp_path: Path) -> None:
    base = {"a": 0.60, "b": 0.80, "c": 0.90}
    runs = [
        a_run(tmp_path / "s0", "supervised", base, seed=0),
        a_run(tmp_path / "s1", "supervised", {case: dice + 0.02 for case, dice in base.items()}, seed=1),
        a_run(tmp_path / "m0", "mean_teacher", {case: dice + 0.05 for case, dice in base.items()}, seed=0),
    ]
    first, second = lines_of([read_run(folder) for folder in runs])
    assert (first.method, first.seeds, first.cases, first.gain) == ("supervised", (0, 1), 3, None)
    assert first.dice[0] == pytest.approx(0.77 - 0.01 + 0.0066667)
    assert first.dice[1] == pytest.approx(0.02 / 2**0.5)
    assert second.gain is not None
    assert (second.gain.value, second.gain.low, second.gain.high) == pytest.approx((0.05, 0.05, 0.05)), "of seed 0"
    assert second.labels["anterior"] - second.labels["posterior"] == pytest.approx(0.02)


def test_without_a_seed_in_common_all_seeds_are_compared(tmp_path: Path) -> None:
    runs = [
        a_run(tmp_path / "s0", "supervised", {"a": 0.6, "b": 0.8}, seed=0),
        a_run(tmp_path / "m1", "mean_teacher", {"b": 0.9, "c": 0.1}, seed=1),
    ]
    _, second = lines_of([read_run(folder) for folder in runs])
    assert second.gain is not None
    assert second.gain.value == pytest.approx(0.1), "of the case that both judged"


def test_folds_of_one_seed_are_put_together(tmp_path: Path) -> None:
    runs = [
        a_run(tmp_path / "0", "supervised", {"a": 0.5}, fold=0),
        a_run(tmp_path / "1", "supervised", {"b": 0.7}, fold=1),
    ]
    (line,) = lines_of([read_run(folder) for folder in runs])
    assert (line.cases, line.seeds) == (2, (0,))
    assert line.dice[0] == pytest.approx(0.59)


def test_a_label_that_one_seed_did_not_judge_is_the_mean_of_the_others(tmp_path: Path) -> None:
    whole = read_run(a_run(tmp_path / "0", "supervised", {"a": 0.5}, seed=0))
    part = read_run(a_run(tmp_path / "1", "supervised", {"a": 0.7}, seed=1))
    part.rows[:] = [row for row in part.rows if row.label == "anterior"]
    for runs in ([whole, part], [part, whole]):
        (line,) = lines_of(runs)
        assert line.labels == pytest.approx({"anterior": 0.6, "posterior": 0.48})


def test_the_same_run_given_twice_is_refused(tmp_path: Path) -> None:
    run = read_run(a_run(tmp_path / "0", "supervised", {"a": 0.5}))
    with pytest.raises(InputError, match="give each run once"):
        lines_of([run, run])


def test_gains_are_taken_over_the_baseline_with_as_many_labels(tmp_path: Path) -> None:
    runs = [
        a_run(tmp_path / "8", "supervised", {"a": 0.5}, labelled=8),
        a_run(tmp_path / "16", "supervised", {"a": 0.7}, labelled=16),
        a_run(tmp_path / "m", "ua_mt", {"a": 0.75}, labelled=16),
        a_run(tmp_path / "n", "ua_mt", {"a": 0.75}, labelled=4),
    ]
    lines = {(line.method, line.labelled): line for line in lines_of([read_run(folder) for folder in runs])}
    gain = lines["ua_mt", 16].gain
    assert gain is not None
    assert gain.value == pytest.approx(0.05)
    assert lines["ua_mt", 4].gain is None


def test_the_table_can_be_read(tmp_path: Path) -> None:
    runs = [
        a_run(tmp_path / "s", "supervised", {"a": 0.5, "b": 0.6}),
        a_run(tmp_path / "m", "ua_mt", {"a": 0.6, "b": 0.8}),
    ]
    head, rule, *rows = markdown(lines_of([read_run(folder) for folder in runs])).splitlines()
    assert head.startswith("| labelled | method | seeds | Dice | anterior | posterior |")
    assert rule.count("---") == head.count("|") - 1
    assert rows[0].startswith("| 8 | supervised | 1 | 0.540 |")
    assert rows[1].endswith("| +0.150 [+0.100, +0.200] |")


def test_a_run_without_evaluation_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="python -m trainer evaluate"):
        read_run(tmp_path)
