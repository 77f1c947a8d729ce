"""The table of a training's course, also after it was cut short."""

from __future__ import annotations

from pathlib import Path

from trainer import records


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    records.append(path, 10, {"train/loss": 0.5, "train/dice": 0.25})
    records.append(path, 20, {"train/loss": 0.125})
    assert records.read(path) == {"train/loss": ([10, 20], [0.5, 0.125]), "train/dice": ([10], [0.25])}


def test_a_line_that_was_cut_short_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    records.append(path, 10, {"train/loss": 0.5})
    with path.open("a") as file:
        file.write("20,train/lo")
    assert records.read(path) == {"train/loss": ([10], [0.5])}
    records.forget_after(path, 30)
    records.append(path, 20, {"train/loss": 0.25})
    assert records.read(path) == {"train/loss": ([10, 20], [0.5, 0.25])}


def test_steps_that_are_gone_back_to_are_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    for step in (10, 20, 30):
        records.append(path, step, {"train/loss": step})
    records.forget_after(path, 20)
    assert records.read(path) == {"train/loss": ([10, 20], [10, 20])}


def test_nothing_is_there_before_the_first_step(tmp_path: Path) -> None:
    records.forget_after(tmp_path / "metrics.csv", 0)
    assert records.read(tmp_path / "metrics.csv") == {}
