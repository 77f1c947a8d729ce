"""Export for training, through the window: what was done is told, and what is written is a dataset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import slicer

from SSLSegmentationLib.dataset.dataset import Dataset, scan_identity
from SSLSegmentationLib.dataset.provenance import Provenance
from SSLSegmentationLib.io.read import read_volume
from Testing.dataset.cases import faults_of
from Testing.slicer.module.bench import LIVER, PATIENCE, RIGHT_KIDNEY, Bench, middle_of, phantom, tilted


def export(bench: Bench, folder: Path) -> str:
    """Press Export, and wait for what the line at the top says."""
    bench.ui.datasetPathEdit.currentPath = str(folder)
    bench.app.turn(5)
    bench.app.click(bench.ui.exportButton)
    bench.app.wait_until(lambda: not bench.work.operation, PATIENCE)
    bench.app.turn(5)
    return bench.work.message.sentence


def told(folder: Path) -> Provenance:
    dataset = Dataset(folder)
    (name,) = dataset.cases
    return dataset.provenance(name)


def correct(bench: Bench, place: np.ndarray, button: str = "acceptButton") -> None:
    bench.place("Red", place)
    bench.wait_suggested()
    bench.app.click(getattr(bench.ui, button))
    bench.wait_idle()


def settle(bench: Bench) -> None:
    """Until the journal has looked at what has changed."""
    bench.app.wait(0.6)
    bench.app.wait_until(lambda: not bench.work.journal._queue)


def test_an_oblique_case_tells_how_it_came_about(bench: Bench, tmp_path: Path) -> None:
    scan, truth = (tilted(volume) for volume in phantom())
    bench.load(scan)
    assert not bench.ui.exportButton.enabled
    bench.app.click(bench.ui.segmentButton)
    suggestion = bench.wait_suggested()
    bench.app.click(bench.ui.acceptButton)
    bench.wait_idle()
    bench.app.choose(bench.ui.segmentSelector, "right kidney")
    place = middle_of(truth, RIGHT_KIDNEY)
    bench.place("Red", place)
    bench.app.wait_until(
        lambda: bench.work.suggestion is not None or "nothing" in bench.work.message.sentence, PATIENCE
    )
    bench.wait_idle()
    if bench.work.suggestion is not None:
        bench.app.click(bench.ui.rejectButton)
    bench.app.click(bench.ui.positiveButton)
    settle(bench)
    kidney = bench.panel.editor.segmentId
    before = bench.mask(kidney)
    paint(bench, place)
    changed = int((bench.mask(kidney) ^ before).sum())
    assert changed > 0
    bench.panel.editor.undo()
    settle(bench)
    bench.panel.editor.redo()
    settle(bench)
    bench.ui.exportByEdit.text = "reader 1"
    said = export(bench, tmp_path / "set")
    bench.picture("export-done")
    assert "revision 1" in said
    assert faults_of(tmp_path / "set") == []
    provenance = told(tmp_path / "set")
    assert provenance.scan == scan_identity(read_volume_of(bench))
    assert provenance.by == "reader 1"
    assert provenance.by_hand >= changed
    assert provenance.model.id == "abdomen-ct-fast"
    assert len(provenance.model.weights_sha256) == 64
    first, *_, last = provenance.history
    assert (first.operation, first.outcome) == ("segment", "accepted")
    assert first.added == sum(int(mask.bits.sum()) for _label, mask in suggestion.fresh)
    assert (last.operation, last.outcome, last.segment) == ("paint", "redone", "right kidney")
    assert last.added + last.removed >= changed
    dataset = Dataset(tmp_path / "set")
    labels = read_volume(next((tmp_path / "set" / "labelsTr").iterdir()))
    values = {label.name: label.value for label in dataset.labels}
    assert (labels.voxels == values["right kidney"])[bench.mask(kidney)].mean() > 0.99
    assert [label.name for label in bench.work.journal.history.expected] == [label.name for label in dataset.labels]
    assert (dataset.revisions(dataset.cases[0])[0] / "uncertainty.nii.gz").exists()


def read_volume_of(bench: Bench):
    from SSLSegmentationLib.scene.volumes import volume_of

    return volume_of(bench.parameters.scan)


def paint(bench: Bench, place: np.ndarray) -> None:
    """A stroke with the brush of the Segment Editor."""
    red = bench.app.view("Red")
    red.jump_to(tuple(place))
    bench.panel.editor.widget.setActiveEffectByName("Paint")
    bench.app.turn(5)
    x, y = red.place_of(tuple(place))
    red.drag((x - 25, y), (x + 45, y))
    bench.panel.editor.widget.setActiveEffect(None)
    settle(bench)


def test_clicks_are_told_with_what_became_of_them(bench: Bench, tmp_path: Path) -> None:
    scan, truth = phantom()
    bench.load(scan)
    segment = bench.new_segment()
    correct(bench, middle_of(truth, LIVER), "rejectButton")
    bench.app.click(bench.ui.clearPromptsButton)
    correct(bench, middle_of(truth, LIVER))
    correct(bench, middle_of(truth, RIGHT_KIDNEY))
    settle(bench)
    both = int(bench.mask(segment).sum())
    bench.panel.editor.undo()
    settle(bench)
    size = int(bench.mask(segment).sum())
    said = export(bench, tmp_path / "set")
    assert "1 segment" in said
    provenance = told(tmp_path / "set")
    assert [(step.operation, step.outcome) for step in provenance.history] == [
        ("prompt", "rejected"),
        ("prompt", "accepted"),
        ("prompt", "undone"),
    ]
    assert provenance.history[1].added == size
    assert provenance.history[2].added == both - size
    assert provenance.by_hand == 0
    (point,) = provenance.history[1].prompts
    assert point["kind"] == "point"
    assert np.abs(np.array(point["ras"]) - middle_of(truth, LIVER)).max() < 5

    bench.panel.editor.redo()
    settle(bench)
    said = export(bench, tmp_path / "set")
    assert "revision 2" in said
    assert told(tmp_path / "set").history[-1].outcome == "redone"
    assert faults_of(tmp_path / "set") == []
    (name,) = Dataset(tmp_path / "set").cases
    assert len(Dataset(tmp_path / "set").revisions(name)) == 2


def test_the_history_is_saved_with_the_scene(bench: Bench, tmp_path: Path) -> None:
    scan, truth = phantom()
    bench.load(scan)
    bench.new_segment()
    correct(bench, middle_of(truth, LIVER), "rejectButton")
    correct(bench, middle_of(truth, LIVER) + np.array([0, 0, 11.0]))
    settle(bench)
    steps = bench.work.journal.history.steps({})
    assert len(steps) == 2
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(False)
    bench.app.turn(5)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    bench.app.turn(10)
    settle(bench)
    assert bench.work.journal.history.steps({}) == steps, "and nothing of it looks as if it had been done by hand"
    export(bench, tmp_path / "set")
    again = told(tmp_path / "set").history
    assert [(step.outcome, step.prompts, step.added) for step in again] == [
        (step.outcome, step.prompts, step.added) for step in steps
    ]


def test_the_first_segment_wins_and_hidden_ones_stay_out(bench: Bench, tmp_path: Path) -> None:
    from SSLSegmentationLib.proposal import Proposal

    scan, _truth = phantom()
    bench.load(scan)
    ids = [bench.new_segment() for _ in range(3)]
    bench.panel.editor.node.SetOverwriteMode(slicer.vtkMRMLSegmentEditorNode.OverwriteNone)
    for number, one in enumerate(ids):
        bits = np.ones((4, 6, 8), dtype=bool)
        box = (slice(10, 14), slice(20, 26), slice(20 + 4 * number, 28 + 4 * number))
        bench.work._writer.accept(Proposal(box, bits, np.zeros_like(bits), 1.0), one)
    bench.parameters.segmentation.GetDisplayNode().SetSegmentVisibility(ids[2], False)
    bench.app.turn(5)
    settle(bench)
    assert "Stays out" in bench.ui.exportNoteLabel.text
    said = export(bench, tmp_path / "set")
    assert "2 segments" in said
    assert f"{4 * 6 * 4} voxels lie in several segments" in said
    labels = read_volume(next((tmp_path / "set" / "labelsTr").iterdir())).voxels
    assert np.bincount(labels.ravel())[1:].tolist() == [4 * 6 * 8, 4 * 6 * 4]
    assert told(tmp_path / "set").by_hand == 0 or told(tmp_path / "set").history[0].operation == "paint"


def test_a_folder_of_another_program_is_refused_with_the_remedy(bench: Bench, tmp_path: Path) -> None:
    scan, truth = phantom()
    bench.load(scan)
    bench.new_segment()
    correct(bench, middle_of(truth, LIVER))
    (tmp_path / "dataset.json").write_text("{}", "utf-8")
    said = export(bench, tmp_path)
    assert bench.work.message.isError
    assert "export into another folder" in said
    assert bench.ui.messageLabel.text == said
    assert "choose the folder" in export(bench, Path("somewhere"))


def test_cancelling_an_export_leaves_a_dataset_that_is_valid(bench: Bench, tmp_path: Path) -> None:
    scan, truth = phantom()
    bench.load(scan)
    bench.new_segment()
    correct(bench, middle_of(truth, LIVER))
    export(bench, tmp_path / "set")
    bench.app.click(bench.ui.exportButton)
    bench.app.wait_until(lambda: bench.work.stage == "Compressing", PATIENCE)
    bench.app.click(bench.ui.cancelButton)
    bench.app.wait_until(lambda: not bench.work.operation, 2.0)
    assert "Cancelled" in bench.work.message.sentence
    bench.app.wait(0.5)
    assert faults_of(tmp_path / "set") == []
    assert "revision 2" in export(bench, tmp_path / "set") or "revision 3" in bench.work.message.sentence


def test_folder_and_name_are_remembered(bench: Bench, tmp_path: Path) -> None:
    import qt

    assert bench.ui.exportByEdit.text
    bench.ui.datasetPathEdit.currentPath = str(tmp_path)
    bench.ui.exportByEdit.text = "reader 2"
    assert qt.QSettings().value("SSLSegmentation/Export/Folder") == str(tmp_path)
    assert qt.QSettings().value("SSLSegmentation/Export/By") == "reader 2"


def test_splitting_is_told_and_is_nothing_by_hand(bench: Bench, tmp_path: Path) -> None:
    from SSLSegmentationLib.proposal import Proposal

    scan, _truth = phantom()
    bench.load(scan)
    segment = bench.new_segment()
    bits = np.zeros((6, 8, 20), dtype=bool)
    bits[:, :, :8] = bits[:, :4, 12:] = True
    bench.work._writer.accept(
        Proposal((slice(10, 16), slice(20, 28), slice(20, 40)), bits, np.zeros_like(bits), 1.0), segment
    )
    settle(bench)
    assert bench.work.journal.history.painted(segment) == bits.sum(), "so far it is as if it had been painted"
    bench.app.click(bench.ui.splitButton)
    bench.wait_idle()
    assert bench.segments.GetNumberOfSegments() == 2
    assert "2 segments" in export(bench, tmp_path / "set")
    provenance = told(tmp_path / "set")
    assert [(step.operation, step.outcome) for step in provenance.history] == [
        ("paint", "accepted"),
        ("split", "accepted"),
    ]
    assert provenance.by_hand == 0
