from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from SSLSegmentationLib import cli
from SSLSegmentationLib.errors import Cancelled, InputError
from SSLSegmentationLib.inference.segment import Segmenter
from SSLSegmentationLib.io.read import read_volume
from SSLSegmentationLib.io.segmentation import read_segmentation
from SSLSegmentationLib.volume import Volume

FILES = {"segmentation.seg.nrrd", "uncertainty.nii.gz", "disagreement.nii.gz", "sheet.png", "report.json"}


def sslseg(*arguments: object):
    return CliRunner().invoke(cli.app, ["segment", *map(str, arguments)])


def refused(*arguments: object) -> str:
    """The sentence with which the command refuses."""
    error = sslseg(*arguments).exception
    assert isinstance(error, InputError), error
    return str(error)


def test_a_scan_gives_results_on_its_own_grid(scan: Volume, scan_file: Path, package_folder: Path, tmp_path: Path):
    out = tmp_path / "results"
    done = sslseg(scan_file, "--model", package_folder, "-o", out, "--device", "cpu")
    assert done.exit_code == 0, done.output
    assert {path.name for path in out.iterdir()} == FILES
    found = read_segmentation(out / "segmentation.seg.nrrd")
    assert [label.name for label in found.labels] == ["liver", "spleen"]
    assert all(layer.same_grid_as(scan) for layer in found.layers)
    doubt = read_volume(out / "uncertainty.nii.gz")
    assert doubt.same_grid_as(scan)
    assert doubt.voxels.dtype == np.float32
    assert doubt.voxels.min() >= 0
    assert 0 < doubt.voxels.max() <= 1
    report = json.loads((out / "report.json").read_text())
    for index, entry in enumerate(report["labels"]):
        voxels = int(found.mask(index).voxels.sum())
        assert entry["voxels"] == voxels
        assert entry["ml"] == pytest.approx(voxels * 1.2 * 1.2 * 2.5 / 1000, abs=1e-3)
    assert report["model"]["id"] == "two-organs"
    assert "not a medical device" in report["notice"]


def test_json_is_the_only_thing_on_standard_output(scan_file: Path, package_folder: Path, tmp_path: Path):
    done = sslseg(scan_file, "--model", package_folder, "-o", tmp_path / "results", "--doubt", "none", "--json")
    report = json.loads(done.stdout)
    assert report["mean_uncertainty"] is None
    assert {Path(file).name for file in report["files"]} == {"segmentation.seg.nrrd", "sheet.png", "report.json"}


def test_quiet_prints_nothing(scan_file: Path, package_folder: Path, tmp_path: Path):
    done = sslseg(scan_file, "--model", package_folder, "-o", tmp_path / "results", "--quiet")
    assert done.exit_code == 0
    assert done.output == ""


def test_results_are_replaced_only_if_asked(scan_file: Path, package_folder: Path, tmp_path: Path):
    (tmp_path / "report.json").write_text("mine")
    sentence = refused(scan_file, "--model", package_folder, "-o", tmp_path)
    assert "report.json" in sentence
    assert "--overwrite" in sentence
    assert (tmp_path / "report.json").read_text() == "mine"
    assert sslseg(scan_file, "--model", package_folder, "-o", tmp_path, "--overwrite").exit_code == 0
    assert json.loads((tmp_path / "report.json").read_text())["scan"]["name"] == "patient"


def test_what_an_earlier_result_had_and_this_one_has_not_is_gone(scan_file: Path, package_folder: Path, tmp_path: Path):
    out = tmp_path / "results"
    run = (scan_file, "--model", package_folder, "-o", out)
    assert sslseg(*run).exit_code == 0
    (out / "notes.txt").write_text("mine")
    assert sslseg(*run, "--doubt", "none", "--overwrite").exit_code == 0
    assert {path.name for path in out.iterdir()} == FILES - {"uncertainty.nii.gz", "disagreement.nii.gz"} | {
        "notes.txt"
    }


def test_a_cancelled_run_leaves_no_file(monkeypatch, scan_file: Path, package_folder: Path, tmp_path: Path):
    def cancelled(*_):
        raise Cancelled

    monkeypatch.setattr(Segmenter, "_attempt", cancelled)
    out = tmp_path / "results"
    done = sslseg(scan_file, "--model", package_folder, "-o", out)
    assert isinstance(done.exception, Cancelled)
    assert list(out.iterdir()) == []


def test_a_full_disk_leaves_no_file(monkeypatch, scan_file: Path, package_folder: Path, tmp_path: Path):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("SSLSegmentationLib.commands.results.write_report", full)
    out = tmp_path / "results"
    assert isinstance(sslseg(scan_file, "--model", package_folder, "-o", out).exception, OSError)
    assert list(out.iterdir()) == []


def test_a_scan_that_is_none_is_refused_before_anything_is_written(package_folder: Path, tmp_path: Path):
    text = tmp_path / "notes.nii.gz"
    text.write_text("not a scan")
    out = tmp_path / "results"
    assert "notes.nii.gz" in refused(text, "--model", package_folder, "-o", out)
    assert list(out.iterdir()) == []


def test_a_scan_of_another_modality_is_noted(scan: Volume, package_folder: Path, tmp_path: Path):
    from dataclasses import replace

    from SSLSegmentationLib.io.write import write_volume

    write_volume(replace(scan, modality="MR"), tmp_path / "mr.nrrd")
    done = sslseg(tmp_path / "mr.nrrd", "--model", package_folder, "-o", tmp_path / "results")
    assert "The scan is MR" in done.stderr


def test_without_a_model_the_installed_ones_are_named(scan_file: Path, monkeypatch, tmp_path: Path):
    monkeypatch.setattr("SSLSegmentationLib.models.store.installed", lambda: [])
    assert "--model" in refused(scan_file, "-o", tmp_path / "results")


def test_an_unknown_model_is_refused_with_the_way_to_find_one(scan_file: Path, tmp_path: Path):
    assert "sslseg models list" in refused(scan_file, "--model", "no-such", "-o", tmp_path / "results")


def test_a_device_that_is_not_there_is_refused(scan_file: Path, package_folder: Path, tmp_path: Path):
    sentence = refused(scan_file, "--model", package_folder, "-o", tmp_path / "results", "--device", "cuda:99")
    assert "cuda:99" in sentence


def test_the_program_ends_with_code_2_and_one_sentence(monkeypatch, capsys, tmp_path: Path):
    monkeypatch.setattr(
        "sys.argv", ["sslseg", "segment", str(tmp_path / "[none].nii.gz"), "-m", "abdomen-ct-fast", "-o", str(tmp_path)]
    )
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "[none].nii.gz does not exist" in said.replace("\n", "")
    assert "Traceback" not in said
