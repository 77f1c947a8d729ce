"""`sslseg batch`: whole archives, whatever happens on the way."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from SSLSegmentationLib import cli
from SSLSegmentationLib.commands import hands
from SSLSegmentationLib.commands.archive import Scan, scans_in
from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.inference.segment import Settings
from SSLSegmentationLib.io.locks import locked
from SSLSegmentationLib.io.segmentation import read_segmentation
from SSLSegmentationLib.io.write import write_volume
from SSLSegmentationLib.volume import Volume
from Testing.commands.batching import an_archive, dying_labour, stillborn_labour, working
from Testing.io.test_dicom import scan as dicom_scan
from Testing.io.test_dicom import write as write_dicom


def sslseg(*arguments: object):
    return CliRunner().invoke(cli.app, [*map(str, arguments)])


def test_scans_are_found_at_any_depth_under_names_of_their_own(tmp_path: Path) -> None:
    an_archive(tmp_path / "a")
    (tmp_path / "a" / "deep" / "er").mkdir(parents=True)
    shutil.copy(tmp_path / "a" / "scan0.nii.gz", tmp_path / "a" / "deep" / "er" / "scan0.nii.gz")
    shutil.copy(tmp_path / "a" / "scan0.nii.gz", tmp_path / "a" / "scan0.nii")
    (tmp_path / "a" / "notes.txt").write_text("nothing", "utf-8")
    (tmp_path / "a" / "s.seg.nrrd").write_text("a segmentation", "utf-8")
    write_dicom(tmp_path / "a" / "study", dicom_scan(2))
    found = [scan.name for scan in scans_in(tmp_path / "a")]
    assert found == ["scan0", "scan0-2", "scan1", "scan2", "deep__er__scan0", "study"]
    assert [scan.name for scan in scans_in(tmp_path / "a", "*1.nii.gz")] == ["scan1", "study"]


def test_every_series_of_a_folder_is_a_scan(tmp_path: Path) -> None:
    write_dicom(tmp_path / "study", dicom_scan(2), series="1.2.826.0.1.7")
    write_dicom(tmp_path / "study", dicom_scan(3), series="1.2.826.0.1.8", number=5)
    found = scans_in(tmp_path)
    assert [scan.name for scan in found] == ["study-series1", "study-series2"]
    assert {scan.series for scan in found} == {"1.2.826.0.1.7", "1.2.826.0.1.8"}


def test_a_folder_without_scans_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no scan"):
        scans_in(tmp_path)


def test_what_is_wrong_with_a_scan_does_not_stop_the_rest(tmp_path: Path) -> None:
    archive = an_archive(tmp_path / "scans", 4)
    (archive / "scan1.nii.gz").write_bytes(b"junk")
    write_volume(Volume(np.full((4, 5, 6), 9000, np.int16)), archive / "scan2.nii.gz")
    (tmp_path / "out").mkdir()
    outcomes = {one.name: one for one in working(scans_in(archive), tmp_path / "out")}
    assert [outcomes[f"scan{number}"].state for number in range(4)] == ["done", "failed", "failed", "done"]
    assert "scan1.nii.gz" in outcomes["scan1"].reason
    assert outcomes["scan2"].reason == "RuntimeError: too bright for me"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["scan0", "scan3"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the killed batches are forked processes")
def test_a_batch_that_is_killed_anywhere_leaves_whole_results_and_goes_on(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "Testing.commands.batching", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout) > 15, "so many steps on the disk are there to be killed at"


def test_a_scan_that_brings_its_process_down_has_failed_and_the_others_are_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hands, "_labour", dying_labour)
    scans = scans_in(an_archive(tmp_path / "scans", 4))
    (tmp_path / "out").mkdir()
    assignment = hands.Assignment(Path(), Settings(), tmp_path / "out", False)
    outcomes = {one.name: one for one in hands.by_processes(scans, assignment, ["cpu"])}
    assert {name: one.state for name, one in outcomes.items()} == {
        "scan0": "done",
        "scan1": "failed",
        "scan2": "done",
        "scan3": "done",
    }
    assert "code 9" in outcomes["scan1"].reason


def test_a_device_on_which_nothing_starts_ends_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hands, "_labour", stillborn_labour)
    assignment = hands.Assignment(Path(), Settings(), tmp_path, False)
    with pytest.raises(InputError, match="choose another --device"):
        list(hands.by_processes([Scan("one", tmp_path)], assignment, ["cpu"]))


@pytest.fixture(scope="module")
def segmented(package_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """An archive with one broken scan, segmented once with a real network in a process of its own."""
    folder = tmp_path_factory.mktemp("batch")
    archive = an_archive(folder / "scans", 2)
    (archive / "broken.nii.gz").write_bytes(b"junk")
    done = sslseg("batch", archive, folder / "out", "--model", package_folder, "--device", "cpu", "--json")
    assert done.exit_code == 1, done.output
    assert json.loads(done.stdout)["failed"][0]["name"] == "broken"
    assert "1 failed" in done.output
    return archive, folder / "out", package_folder


def test_each_scan_gets_what_segment_writes(segmented: tuple[Path, Path, Path]) -> None:
    _, out, _ = segmented
    assert {path.name for path in out.iterdir()} == {".lock", "failures.json", "scan0", "scan1"}
    assert {path.name for path in (out / "scan0").iterdir()} == {
        "segmentation.seg.nrrd",
        "uncertainty.nii.gz",
        "report.json",
    }
    assert read_segmentation(out / "scan0" / "segmentation.seg.nrrd").labels[0].name == "liver"


def test_a_second_run_does_only_what_is_missing(segmented: tuple[Path, Path, Path], tmp_path: Path) -> None:
    archive, out, package = segmented
    shutil.copytree(archive, tmp_path / "scans", copy_function=shutil.copy2)
    shutil.copytree(out, tmp_path / "out")
    (tmp_path / "scans" / "broken.nii.gz").unlink()
    before = (tmp_path / "out" / "scan0" / "report.json").stat().st_mtime_ns
    again = sslseg("batch", tmp_path / "scans", tmp_path / "out", "--model", package, "--device", "cpu", "--json")
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout) == {"scans": 2, "done": 2, "skipped": 2, "failed": []}
    assert (tmp_path / "out" / "scan0" / "report.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("change", ["settings", "scan"])
def test_results_of_another_kind_are_not_replaced_unasked(
    segmented: tuple[Path, Path, Path], tmp_path: Path, change: str
) -> None:
    archive, out, package = segmented
    shutil.copytree(archive, tmp_path / "scans", copy_function=shutil.copy2)
    shutil.copytree(out, tmp_path / "out")
    options = ["--doubt", "none"] if change == "settings" else []
    if change == "scan":
        write_volume(Volume(np.zeros((3, 3, 3), np.int16)), tmp_path / "scans" / "scan1.nii.gz")
    error = sslseg("batch", tmp_path / "scans", tmp_path / "out", "--model", package, *options).exception
    assert isinstance(error, InputError)
    assert "--overwrite" in str(error)


def test_two_batches_do_not_write_to_one_folder(segmented: tuple[Path, Path, Path]) -> None:
    archive, out, package = segmented
    with locked(out / ".lock", "busy"):
        error = sslseg("batch", archive, out, "--model", package).exception
    assert isinstance(error, InputError)
    assert "Another batch" in str(error)


def test_ray_does_the_same(segmented: tuple[Path, Path, Path], tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    archive, out, package = segmented
    command = [
        sys.executable,
        "-c",
        "from SSLSegmentationLib.cli import main; main()",
        "batch",
        archive,
        tmp_path / "out",
        "--model",
        package,
    ]
    done = subprocess.run(
        [*map(str, command), "--ray", "local", "--json"], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 1, done.stderr
    assert [one["name"] for one in json.loads(done.stdout)["failed"]] == ["broken"]
    for name in ("scan0", "scan1"):
        ours, theirs = (
            read_segmentation(folder / name / "segmentation.seg.nrrd").layers[0].voxels
            for folder in (out, tmp_path / "out")
        )
        np.testing.assert_array_equal(ours, theirs)
