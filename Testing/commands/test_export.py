"""`sslseg export` on files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from SSLSegmentationLib import cli
from SSLSegmentationLib.dataset.dataset import Dataset
from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.io.read import read_volume
from SSLSegmentationLib.io.segmentation import write_segmentation
from SSLSegmentationLib.io.write import write_volume
from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.volume import Volume
from Testing.dataset.cases import faults_of

LABELS = (Label(4, "ball", (1.0, 0.0, 0.0)), Label(9, "shell", (0.0, 1.0, 0.0)), Label(11, "not found"))


def sslseg(*arguments: object):
    return CliRunner().invoke(cli.app, [*map(str, arguments)])


@pytest.fixture
def segmentation(scan: Volume, tmp_path: Path) -> Path:
    voxels = np.where(scan.voxels > 0, 4, 0).astype(np.uint8)
    voxels[:9][voxels[:9] > 0] = 9
    write_segmentation(tmp_path / "segmentation.seg.nrrd", scan.with_voxels(voxels), LABELS)
    return tmp_path / "segmentation.seg.nrrd"


def test_a_corrected_scan_becomes_a_case(scan: Volume, scan_file: Path, segmentation: Path, tmp_path: Path) -> None:
    write_volume(scan.with_voxels(np.full(scan.shape, 0.5, np.float32)), tmp_path / "doubt.nii.gz")
    done = sslseg(
        "export",
        scan_file,
        segmentation,
        tmp_path / "ds",
        "--uncertainty",
        tmp_path / "doubt.nii.gz",
        "--by",
        "me",
        "--json",
    )
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    dataset = Dataset(tmp_path / "ds")
    assert dataset.cases == (said["name"],)
    assert [label.name for label in dataset.labels] == ["ball", "shell", "not found"]
    assert dataset.provenance(said["name"]).by == "me"
    assert not faults_of(tmp_path / "ds")
    truth = read_volume(tmp_path / "ds" / "labelsTr" / f"{said['name']}.nii.gz")
    assert truth.same_grid_as(scan)
    np.testing.assert_array_equal(truth.voxels > 0, scan.voxels > 0)
    assert (Path(said["folder"]) / "uncertainty.nii.gz").is_file()
    assert "patient" not in (tmp_path / "ds" / "dataset.json").read_text("utf-8")


def test_a_second_export_says_that_it_is_a_revision(scan_file: Path, segmentation: Path, tmp_path: Path) -> None:
    sslseg("export", scan_file, segmentation, tmp_path / "ds", "-q")
    again = sslseg("export", scan_file, segmentation, tmp_path / "ds")
    assert "revision 2" in again.output


def test_an_anonymised_case_has_no_author(scan_file: Path, segmentation: Path, tmp_path: Path) -> None:
    sslseg("export", scan_file, segmentation, tmp_path / "ds", "--anonymise", "-q")
    dataset = Dataset(tmp_path / "ds")
    assert dataset.provenance(dataset.cases[0]).by == ""


def test_the_model_gives_a_new_dataset_its_label_values(
    scan: Volume, scan_file: Path, package_folder: Path, tmp_path: Path
) -> None:
    from SSLSegmentationLib.models.read import read_package

    names = read_package(package_folder).labels
    write_segmentation(
        tmp_path / "s.seg.nrrd", scan.with_voxels(np.ones(scan.shape, np.uint8)), [Label(1, names[1].name)]
    )
    done = sslseg("export", scan_file, tmp_path / "s.seg.nrrd", tmp_path / "ds", "--model", package_folder, "-q")
    assert done.exit_code == 0, done.output
    dataset = Dataset(tmp_path / "ds")
    assert [label.name for label in dataset.labels] == [label.name for label in names]
    used = dataset.provenance(dataset.cases[0]).model
    assert used is not None
    assert len(used.weights_sha256) == 64


def test_labels_of_another_scan_are_refused(scan_file: Path, tmp_path: Path) -> None:
    write_volume(Volume(np.ones((3, 4, 5), np.uint8)), tmp_path / "other.nii.gz")
    error = sslseg("export", scan_file, tmp_path / "other.nii.gz", tmp_path / "ds").exception
    assert isinstance(error, InputError)
    assert "does not lie on the grid" in str(error)
    assert not (tmp_path / "ds").exists()


def test_identifiers_and_anonymise_exclude_each_other(scan_file: Path, segmentation: Path, tmp_path: Path) -> None:
    error = sslseg("export", scan_file, segmentation, tmp_path / "ds", "--identifiers", "--anonymise").exception
    assert isinstance(error, InputError)
