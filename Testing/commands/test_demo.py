from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from SSLSegmentationLib import cli
from SSLSegmentationLib.io.read import read_volume
from SSLSegmentationLib.io.segmentation import read_segmentation
from SSLSegmentationLib.phantom import abdomen_phantom
from SSLSegmentationLib.phantom.names import organ_labels


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
    assert "A synthetic abdomen is not a patient" in " ".join(done.stderr.split())
    scan = read_volume(tmp_path / "scan.nii.gz")
    assert all(layer.same_grid_as(scan) for layer in read_segmentation(tmp_path / "segmentation.seg.nrrd").layers)
    scores = json.loads((tmp_path / "report.json").read_text())["dice_to_the_phantom"]
    assert len(scores) == 13
    assert scores["liver"] > 0.8
    assert (tmp_path / "sheet.png").stat().st_size > 10_000


def test_what_the_simulated_user_did_is_told_and_written(coarse_phantom, monkeypatch, tmp_path: Path):
    """With answers that are the truth."""
    from SSLSegmentationLib import phantom
    from SSLSegmentationLib.commands import corrected, simulated
    from SSLSegmentationLib.prompting.compose import Patch, compose

    values = {label.name: label.value for label in organ_labels()}
    truth = phantom.abdomen_phantom(1)[1].voxels

    def answer(stack, organ, prompts, before, network, tick):
        whole = tuple(slice(0, n) for n in truth.shape)
        patch = Patch(whole, np.ones(truth.shape, bool), truth == values[organ], np.zeros(truth.shape, np.float32))
        return compose(before, patch, score=1.0, segment=organ)

    monkeypatch.setattr(simulated, "_answer", answer)
    monkeypatch.setattr(simulated, "_WELL", 1.0)  # or a good model would leave nothing to correct
    monkeypatch.setattr(corrected, "promptable", lambda model, device: None)
    done = demo("-o", tmp_path, "--device", "cpu", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    user = told["simulated_user"]
    assert user["model"] == "grey values"
    assert user["dice_on_the_slice"]["before"] < user["dice_on_the_slice"]["after"] == 1.0
    assert user["clicks"] == 1
    assert user["slice"] not in user["spread_to_slices"]
    scan = read_volume(tmp_path / "scan.nii.gz")
    for folder in ("corrected", "spread"):
        assert str(tmp_path / folder / "sheet.png") in told["files"]
        found = read_segmentation(tmp_path / folder / "segmentation.seg.nrrd")
        assert user["organ"] in [label.name for label in found.labels]
        assert all(layer.same_grid_as(scan) for layer in found.layers)


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
