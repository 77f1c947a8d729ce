"""Reviewing the work list, through the window: two readers, corrections that are never lost, what is remembered."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import slicer

from SSLSegmentationLib.dataset.dataset import Dataset
from SSLSegmentationLib.dataset.worklist import WorkList
from SSLSegmentationLib.io.segmentation import write_segmentation
from SSLSegmentationLib.io.write import write_volume
from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.volume import Volume
from Testing.dataset.cases import faults_of
from Testing.slicer.module.bench import LIVER, PATIENCE, Bench, middle_of, phantom, tilted
from Testing.slicer.module.test_export import correct, settle

LABELS = (Label(1, "liver", (0.9, 0.5, 0.4)), Label(2, "cyst"))


def a_result(folder: Path, scan: Volume, name: str, doubt: float, form: str = ".nii.gz") -> None:
    """What `sslseg batch` leaves of a scan."""
    truth = phantom()[1]
    path = folder.parent / "archive" / f"{name}{form}"
    path.parent.mkdir(exist_ok=True)
    write_volume(scan, path)
    case = folder / name
    case.mkdir(parents=True)
    labels = scan.with_voxels((truth.voxels == LIVER).astype(np.uint8))
    write_segmentation(case / "segmentation.seg.nrrd", labels, LABELS)
    unsure = np.zeros(scan.shape, np.float32)
    unsure[20:24, 30:40, 30:40] = 0.9
    write_volume(scan.with_voxels(unsure), case / "uncertainty.nii.gz")
    found = int(labels.voxels.sum())
    report = {
        "model": {"id": "organs", "version": "1.2", "weights_sha256": "ab" * 32},
        "doubt": {"share": doubt, "ml": 1.0},
        "labels": [
            {"value": 1, "name": "liver", "ml": found * scan.voxel_ml, "voxels": found, "touches_border": True},
            {"value": 2, "name": "cyst", "ml": 0.0, "voxels": 0, "touches_border": False},
        ],
        "source": {"path": str(path), "series": None},
        "remarks": [],
    }
    (case / "report.json").write_text(json.dumps(report), "utf-8")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    scan = phantom()[0]
    for name, doubt, form in (("easy", 0.01, ".nii.gz"), ("hard", 0.4, ".nrrd"), ("middle", 0.1, ".nii.gz")):
        a_result(folder, tilted(scan) if name == "hard" else scan, name, doubt, form)
    return folder


def choose(bench: Bench, folder: Path, by: str = "reader 1") -> None:
    bench.ui.workListSection.collapsed = False
    bench.ui.exportByEdit.text = by
    bench.ui.workListPathEdit.currentPath = str(folder)
    bench.app.wait_until(lambda: bench.ui.caseList.topLevelItemCount > 0)


def rows(bench: Bench) -> list[tuple[str, ...]]:
    bench.app.wait(0.1)
    tree = bench.ui.caseList
    return [tuple(tree.topLevelItem(n).text(c) for c in range(5)) for n in range(tree.topLevelItemCount)]


def next_case(bench: Bench) -> None:
    bench.app.click(bench.ui.nextCaseButton)
    bench.app.wait_until(lambda: not bench.work.operation, PATIENCE)
    bench.app.turn(5)


def test_the_next_case_is_opened_with_all_there_is(bench: Bench, results: Path) -> None:
    choose(bench, results)
    assert [row[:2] for row in rows(bench)] == [("hard", "40.0 %"), ("middle", "10.0 %"), ("easy", "1.0 %")]
    assert rows(bench)[0][4] == "not found: cyst; cut off: liver"
    assert not bench.ui.doneCaseButton.enabled
    assert not bench.ui.unexportedFrame.visible
    next_case(bench)
    assert bench.parameters.scan.GetName() == "hard"
    (segment,) = [one for one in bench.segments.GetSegmentIDs() if bench.mask(one).any()]
    assert bench.segments.GetSegment(segment).GetName() == "liver"
    assert (bench.mask(segment) == (phantom()[1].voxels == LIVER)).all()
    assert bench.ui.showDoubtCheckBox.enabled
    bench.app.click(bench.ui.showDoubtCheckBox)
    bench.app.click(bench.ui.nextUnsureButton)
    bench.app.wait_until(lambda: bench.ui.doubtLabel.text.startswith("1 of"))
    assert rows(bench)[0][3] == "open here"
    assert WorkList(results).items()[0].by == "reader 1"
    assert not bench.ui.nextCaseButton.enabled
    bench.picture("worklist-open")


def test_two_readers_do_not_get_the_same_case(bench: Bench, results: Path) -> None:
    theirs = WorkList(results).next("reader 2")
    assert theirs.name == "hard"
    choose(bench, results)
    assert rows(bench)[0][3] == "taken (reader 2)"
    bench.app.in_loop(lambda: bench.ui.caseList.itemDoubleClicked.emit(bench.ui.caseList.topLevelItem(0), 0))
    assert bench.work.message.isError
    assert "reader 2 has hard open" in bench.ui.messageLabel.text
    assert bench.parameters.scan is None
    next_case(bench)
    assert bench.parameters.scan.GetName() == "middle"
    bench.picture("worklist-two-readers")
    bench.app.click(bench.ui.skipCaseButton)
    bench.app.turn(5)
    assert bench.parameters.scan is None, "nothing was changed, so that nothing has to be kept"
    next_case(bench)
    assert bench.parameters.scan.GetName() == "easy"
    bench.app.click(bench.ui.doneCaseButton)
    bench.app.turn(5)
    next_case(bench)
    assert "somebody has it open" in bench.ui.messageLabel.text
    states = {item.name: (item.state, item.by) for item in WorkList(results).items()}
    assert states == {"hard": ("taken", "reader 2"), "middle": ("skipped", "reader 1"), "easy": ("done", "reader 1")}


def test_a_case_that_is_given_back_is_free(bench: Bench, results: Path) -> None:
    choose(bench, results)
    next_case(bench)
    bench.app.click(bench.ui.giveBackCaseButton)
    bench.app.turn(5)
    assert WorkList(results).items()[0].state == "open"
    bench.app.wait_until(lambda: rows(bench)[0][3] == "free")
    assert bench.ui.nextCaseButton.enabled


def test_corrections_are_exported_before_a_case_is_done(bench: Bench, results: Path, tmp_path: Path) -> None:
    choose(bench, results)
    next_case(bench)
    bench.ui.datasetPathEdit.currentPath = str(tmp_path / "set")
    bench.app.click(bench.ui.newSegmentButton)
    bench.app.turn(5)
    correct(bench, middle_of(tilted(phantom()[1]), LIVER))
    settle(bench)
    bench.app.click(bench.ui.doneCaseButton)
    bench.app.wait_until(lambda: bench.ui.unexportedFrame.visible)
    assert "in no dataset yet" in bench.ui.unexportedLabel.text
    assert WorkList(results).items()[0].state == "taken", "nothing is done before the answer"
    bench.picture("worklist-unexported")
    bench.app.click(bench.ui.stayButton)
    assert not bench.ui.unexportedFrame.visible
    assert bench.parameters.scan.GetName() == "hard"
    bench.app.click(bench.ui.doneCaseButton)
    bench.app.wait_until(lambda: bench.ui.unexportedFrame.visible)
    bench.app.click(bench.ui.exportFirstButton)
    bench.app.wait_until(lambda: WorkList(results).items()[0].state == "done", PATIENCE)
    bench.app.turn(5)
    assert bench.parameters.scan is None
    assert "revision 1" in bench.ui.messageLabel.text
    dataset = Dataset(tmp_path / "set")
    assert faults_of(tmp_path / "set") == []
    provenance = dataset.provenance(dataset.cases[0])
    assert (provenance.model.id, provenance.model.weights_sha256) == ("organs", "ab" * 32)
    assert [(step.operation, step.outcome) for step in provenance.history] == [
        ("segment", "accepted"),
        ("prompt", "accepted"),
    ]
    assert [label.name for label in dataset.labels][:2] == ["liver", "cyst"], "as the model has them"


def test_corrections_that_are_not_exported_stay_in_the_scene(bench: Bench, results: Path) -> None:
    choose(bench, results)
    bench.ui.datasetPathEdit.currentPath = ""
    next_case(bench)
    node = bench.parameters.segmentation
    bench.app.click(bench.ui.newSegmentButton)
    bench.app.turn(5)
    correct(bench, middle_of(tilted(phantom()[1]), LIVER))
    bench.app.click(bench.ui.skipCaseButton)
    bench.app.wait_until(lambda: bench.ui.unexportedFrame.visible)
    bench.app.click(bench.ui.exportFirstButton)
    assert bench.work.message.isError, "no dataset is chosen"
    assert "folder of the dataset" in bench.ui.messageLabel.text
    bench.app.click(bench.ui.keepOpenButton)
    bench.app.turn(5)
    assert WorkList(results).items()[0].state == "skipped"
    assert node.GetScene() is slicer.mrmlScene
    assert "hard segmentation" in [one.GetName() for one in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")]
    next_case(bench)
    assert bench.parameters.scan.GetName() == "middle"


def test_a_scan_that_is_gone_is_told_and_its_case_given_back(bench: Bench, results: Path) -> None:
    (results.parent / "archive" / "hard.nrrd").unlink()
    choose(bench, results)
    next_case(bench)
    assert bench.work.message.isError
    assert "hard.nrrd is not there any more" in bench.ui.messageLabel.text
    assert WorkList(results).items()[0].state == "open"
    assert bench.parameters.scan is None


def test_a_folder_that_is_none_is_told(bench: Bench, tmp_path: Path) -> None:
    bench.ui.workListSection.collapsed = False
    bench.ui.workListPathEdit.currentPath = str(tmp_path / "nothing")
    bench.app.wait_until(lambda: "is not a folder" in bench.ui.caseNoteLabel.text)


def test_a_dicom_series_is_opened_and_is_the_same_case_as_elsewhere(
    bench: Bench, results: Path, tmp_path: Path
) -> None:
    from SSLSegmentationLib.dataset.dataset import scan_identity
    from SSLSegmentationLib.io.read import read_volume
    from Testing.io.test_dicom import write

    scan = tilted(phantom()[0])
    series = tmp_path / "series"
    write(series, scan.with_voxels(scan.voxels.astype(np.int16)))
    path = results / "hard" / "report.json"
    report = json.loads(path.read_text("utf-8"))
    report["source"] = {"path": str(series), "series": "1.2.826.0.1.7"}
    path.write_text(json.dumps(report), "utf-8")
    choose(bench, results)
    next_case(bench)
    assert bench.parameters.scan.GetName() == "hard"
    bench.ui.datasetPathEdit.currentPath = str(tmp_path / "set")
    bench.app.turn(5)
    bench.app.click(bench.ui.exportButton)
    bench.app.wait_until(lambda: "revision 1" in bench.ui.messageLabel.text, PATIENCE)
    dataset = Dataset(tmp_path / "set")
    assert dataset.provenance(dataset.cases[0]).scan == scan_identity(read_volume(series))
