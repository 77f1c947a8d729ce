"""The report: volumes are exact, and what it holds survives JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from SSLSegmentationLib import __version__
from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.report.report import build_report, write_report
from SSLSegmentationLib.volume import Volume
from Testing.strategies import matrices

TABLE = [Label(1, "liver"), Label(2, "spleen"), Label(3, "gallbladder")]


def known() -> tuple[Volume, Volume, Volume]:
    """6 voxels of liver inside, 4 of spleen at the border; 2 × 2.5 × 4 mm, so 0.02 ml each."""
    labels = np.zeros((5, 6, 7), np.uint8)
    labels[2, 1:3, 2:5] = 1
    labels[0, 3:5, 3:5] = 2
    doubt = np.zeros(labels.shape, np.float32)
    doubt[2, 1, 2:5] = 0.5
    scan = Volume(np.zeros(labels.shape, np.int16), np.diag([-2.0, -2.5, 4.0, 1.0]), "case", "CT")
    return scan, scan.with_voxels(labels), scan.with_voxels(doubt)


def rows(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in report["labels"]}


def test_volumes_of_a_known_label_map_are_exact() -> None:
    scan, labels, doubt = known()
    found = rows(build_report(scan, labels, TABLE, doubt))
    assert (found["liver"]["voxels"], found["liver"]["ml"]) == (6, 0.12)
    assert (found["spleen"]["voxels"], found["spleen"]["ml"]) == (4, 0.08)
    assert found["liver"]["mean_uncertainty"] == 0.25
    assert found["spleen"]["mean_uncertainty"] == 0.0


def test_an_organ_that_was_not_found_is_listed_with_nothing() -> None:
    scan, labels, doubt = known()
    row = rows(build_report(scan, labels, TABLE, doubt))["gallbladder"]
    assert row == {
        "value": 3, "name": "gallbladder", "voxels": 0, "ml": 0.0, "mean_uncertainty": None, "touches_border": False,
    }  # fmt: skip


def test_a_value_without_a_name_is_listed() -> None:
    scan, labels, _ = known()
    assert rows(build_report(scan, labels, TABLE[:1]))["label 2"]["voxels"] == 4


def test_organs_that_may_be_cut_off_are_marked() -> None:
    scan, labels, _ = known()
    found = rows(build_report(scan, labels, TABLE))
    assert not found["liver"]["touches_border"]
    assert found["spleen"]["touches_border"]
    for axis in range(3):
        for end in (0, -1):
            voxels = np.zeros(labels.shape, np.uint8)
            np.moveaxis(voxels, axis, 0)[end, 2, 2] = 1
            assert rows(build_report(scan, labels.with_voxels(voxels), TABLE))["liver"]["touches_border"]


def test_scan_model_and_machine_are_told() -> None:
    scan, labels, doubt = known()
    report = build_report(
        scan, labels, TABLE, doubt, model={"id": "a", "version": "1", "sha256": "0" * 64}, device="CPU",
        seconds={"segmenting": 1.23456}, memory_steps=["smaller tiles"],
    )  # fmt: skip
    assert report["scan"]["size"] == [7, 6, 5]
    assert report["scan"]["spacing_mm"] == [2.0, 2.5, 4.0]
    assert report["scan"]["orientation"] == "LPS"
    assert report["model"] == {"id": "a", "version": "1", "sha256": "0" * 64}
    assert (report["device"], report["seconds"], report["memory_steps"]) == (
        "CPU",
        {"segmenting": 1.235},
        ["smaller tiles"],
    )
    assert report["software"]["version"] == __version__
    assert "not a medical device" in report["notice"]
    assert report["mean_uncertainty"] == pytest.approx(1.5 / 210, abs=1e-6)


def test_a_written_report_reads_back_the_same(tmp_path: Path) -> None:
    report = build_report(*known()[:2], TABLE, known()[2])
    write_report(tmp_path / "report.json", report)
    assert json.loads((tmp_path / "report.json").read_text("utf-8")) == report


def test_a_report_that_json_cannot_hold_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_report(tmp_path / "report.json", {"value": float("nan")})
    assert list(tmp_path.iterdir()) == []


@settings(deadline=None, max_examples=25)
@given(matrices(), st.integers(0, 2**31), st.booleans())
def test_every_voxel_is_counted_once_on_any_grid(matrix: np.ndarray, seed: int, turned: bool) -> None:
    random = np.random.default_rng(seed)
    scan = Volume(np.zeros((3, 4, 5)), matrix)
    labels = scan.with_voxels(random.integers(0, 4, scan.shape).astype(np.uint8))
    doubt = scan.with_voxels(random.random(scan.shape))
    views = [v.reoriented("RAS") if turned else v for v in (scan, labels, doubt)]
    report = build_report(*views[:2], TABLE, views[2])
    for row in report["labels"]:
        here = labels.voxels == row["value"]
        assert row["voxels"] == here.sum()
        assert row["ml"] == pytest.approx(here.sum() * scan.voxel_ml, abs=1e-4)
        if here.any():
            assert row["mean_uncertainty"] == pytest.approx(doubt.voxels[here].mean(), abs=1e-6)
    assert report["mean_uncertainty"] == pytest.approx(doubt.voxels.mean(), abs=1e-6)
