from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from SSLSegmentationLib.dataset.dataset import Dataset
from SSLSegmentationLib.dataset.handing import Parcel, handing_over, taken_over
from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.io.read import read_volume
from SSLSegmentationLib.steps import finish
from Testing.dataset.cases import LIVER, SPLEEN, a_case, faults_of

PROGRAM = "from SSLSegmentationLib.dataset.handing import main; main()"


def parcel_in(folder: Path, dataset: Path, **kind) -> Path:
    folder.mkdir()
    finish(handing_over(folder, Parcel(a_case(**kind), dataset, (SPLEEN, LIVER))))
    return folder


def test_a_case_arrives_as_it_was_sent(tmp_path: Path) -> None:
    sent = a_case()
    exported = taken_over(parcel_in(tmp_path / "parcel", tmp_path / "set"))
    dataset = Dataset(tmp_path / "set")
    assert faults_of(tmp_path / "set") == []
    assert [label.name for label in dataset.labels] == ["spleen", "liver"], "a new dataset has the model's order"
    told = dataset.provenance(exported.name)
    assert told.history == sent.provenance.history
    assert (told.by, told.by_hand, told.model) == ("reader 1", 7, sent.provenance.model)
    image = read_volume(tmp_path / "set" / "imagesTr" / f"{exported.name}_0000.nii.gz")
    assert (image.voxels == sent.scan.voxels).all()
    assert image.same_grid_as(sent.scan)
    doubt = read_volume(exported.folder / "uncertainty.nii.gz")
    assert (doubt.voxels == sent.uncertainty.voxels).all()


def test_a_scan_that_comes_again_is_the_next_revision(tmp_path: Path) -> None:
    first = taken_over(parcel_in(tmp_path / "one", tmp_path / "set"))
    second = taken_over(parcel_in(tmp_path / "two", tmp_path / "set", change=1))
    assert (first.revision, second.revision) == (1, 2)
    assert first.name == second.name


def test_the_program_answers_in_one_line(tmp_path: Path) -> None:
    folder = parcel_in(tmp_path / "parcel", tmp_path / "set")
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(folder)], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["revision"] == 1
    assert not folder.exists(), "it may be large"


def test_what_is_wrong_is_said_in_a_sentence(tmp_path: Path) -> None:
    other = tmp_path / "set"
    other.mkdir()
    (other / "dataset.json").write_text("{}", "utf-8")
    folder = parcel_in(tmp_path / "parcel", other)
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "export into another folder" in json.loads(done.stdout)["error"]
    assert done.stderr == ""


def test_a_disk_without_room_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="free some space"):
        finish(handing_over(tmp_path / "missing", Parcel(a_case(), tmp_path / "set")))


def test_large_arrays_are_written_in_pieces(tmp_path: Path, monkeypatch) -> None:
    from SSLSegmentationLib.dataset import handing

    monkeypatch.setattr(handing, "_PIECE", 100)
    case = a_case()
    assert sum(1 for _ in handing_over(tmp_path, Parcel(case, tmp_path / "set"))) >= 3 * len(case.scan.voxels)
    assert (np.load(tmp_path / "scan.npy") == case.scan.voxels).all()
