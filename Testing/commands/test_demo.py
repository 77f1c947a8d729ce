from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from SSLSegmentationLib import cli
from SSLSegmentationLib.io.read import read_volume
from SSLSegmentationLib.io.segmentation import read_segmentation
from SSLSegmentationLib.phantom import abdomen_phantom


@pytest.fixture
def coarse_phantom(monkeypatch):
    """The demo's abdomen on a grid on which it is made in a moment."""
    coarse = partial(abdomen_phantom, shape=(72, 96, 96), spacing=(3.8, 3.8, 4.0))
    monkeypatch.setattr("SSLSegmentationLib.phantom.abdomen_phantom", coarse)


def demo(*arguments: object):
    return CliRunner().invoke(cli.app, ["demo", *map(str, arguments)])


def test_the_demo_finds_the_organs_of_its_phantom(coarse_phantom, tmp_path: Path):
    done = demo("-o", tmp_path, "--device", "cpu")
    assert done.exit_code == 0, done.output
    assert "trained on synthetic abdomens only" in " ".join(done.stderr.split())
    scan = read_volume(tmp_path / "scan.nii.gz")
    assert all(layer.same_grid_as(scan) for layer in read_segmentation(tmp_path / "segmentation.seg.nrrd").layers)
    scores = json.loads((tmp_path / "report.json").read_text())["dice_to_the_phantom"]
    assert len(scores) == 13
    assert scores["liver"] > 0.8
    assert (tmp_path / "sheet.png").stat().st_size > 10_000


def test_the_demo_can_be_run_again_into_the_same_folder(coarse_phantom, tmp_path: Path):
    assert demo("-o", tmp_path, "--seed", 1, "--quiet").exit_code == 0
    assert demo("-o", tmp_path, "--seed", 2, "--quiet").exit_code == 0
    assert json.loads((tmp_path / "report.json").read_text())["scan"]["name"] == "phantom 2"


def test_a_scan_of_the_user_takes_the_place_of_the_phantom(scan_file: Path, package_folder: Path, tmp_path: Path):
    out = tmp_path / "out"
    done = demo(scan_file, "-o", out, "--model", package_folder, "--json")
    assert json.loads(done.stdout)["scan"]["name"] == "patient"
    assert not (out / "scan.nii.gz").exists()
    assert "synthetic" not in done.stderr
