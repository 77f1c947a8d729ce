"""The window itself: keys, help, sample data, reload, the self-test, and that no handler holds it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import slicer

from SSLSegmentationLib.phantom import abdomen_phantom
from SSLSegmentationLib.volume import Volume
from Testing.slicer.module.bench import ENTRY, LIVER, PATIENCE, Bench, middle_of, phantom


def test_keys_work_while_the_module_is_shown_and_only_then(bench: Bench) -> None:
    scan, truth = phantom()
    bench.load(scan)
    segment = bench.new_segment()
    bench.app.window.activateWindow()  # without a window manager nobody does, once a dialog has been closed
    bench.app.turn(5)
    bench.app.key("P", bench.app.window)
    bench.app.turn(5)
    assert bench.ui.positiveButton.checked
    bench.app.key("M", bench.app.window)
    assert bench.ui.negativeButton.checked
    bench.app.key("C", bench.app.window)
    assert not bench.ui.negativeButton.checked
    bench.place("Red", middle_of(truth, LIVER))
    bench.wait_suggested()
    bench.app.key("X", bench.app.window)
    assert bench.work.suggestion is None
    bench.app.click(bench.ui.clearPromptsButton)
    bench.place("Red", middle_of(truth, LIVER))
    bench.wait_suggested()
    bench.app.key("A", bench.app.window)
    bench.wait_idle()
    assert bench.mask(segment).any()
    bench.app.open_module("")
    bench.app.key("P", bench.app.window)
    bench.app.turn(5)
    assert not bench.ui.positiveButton.checked


def test_every_key_and_what_it_does_is_in_the_help(bench: Bench) -> None:
    from SSLSegmentationUI.Shortcuts import KEYS

    module = slicer.modules.sslsegmentation
    for key, does in KEYS.items():
        assert f"<b>{key}</b>: {does}" in module.helpText
    assert "not a medical device" in module.helpText
    assert module.acknowledgementText
    assert module.contributors
    assert set(KEYS) == set(bench.panel.shortcuts._actions)


def test_every_disabled_button_says_why(bench: Bench) -> None:
    """With no scan, with a scan, with a segment, while something runs, with a suggestion, and with a lock."""
    buttons = [name for name in vars(bench.ui) if name.endswith("Button") and not name.startswith(("accept", "reject"))]

    def silent() -> list[str]:
        usual = {name: getattr(bench.ui, name).property("SSLSegmentationToolTip") for name in buttons}
        return [
            name
            for name in buttons
            if not getattr(bench.ui, name).enabled and getattr(bench.ui, name).toolTip in ("", usual[name])
        ]

    assert silent() == []
    bench.load(phantom()[0])
    assert silent() == []
    segment = bench.new_segment()
    assert silent() == []
    bench.place("Red", middle_of(phantom()[1], LIVER))
    bench.app.wait_until(lambda: bench.work.operation)
    bench.app.turn(2)
    assert silent() == []
    bench.wait_suggested()
    assert not bench.ui.splitButton.enabled
    assert "first" in bench.ui.splitButton.toolTip
    assert silent() == []
    bench.app.click(bench.ui.acceptButton)
    bench.wait_idle()
    bench.app.click(bench.ui.lockSegmentButton)
    bench.app.turn(5)
    assert not bench.ui.positiveButton.enabled
    assert silent() == []
    assert bench.mask(segment).any()


def test_the_frame_of_a_sequence_is_told_where_it_is_chosen(bench: Bench) -> None:
    scan = phantom()[0]
    node = bench.load(scan, "heart")
    assert not bench.ui.scanNoteLabel.visible
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "heart")
    for frame in range(3):
        sequence.SetDataNodeAtValue(node, str(frame))
    browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    browser.AddProxyNode(node, sequence, False)
    browser.SetSelectedItemNumber(1)
    node.Modified()
    bench.app.turn(5)
    assert bench.ui.scanNoteLabel.text == "heart is a sequence: the frame that is shown is used, 2 of 3."
    assert bench.ui.segmentButton.enabled


def test_without_any_model_the_panel_says_so_and_clicks_work(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    models = bench.panel.models
    bench.load(phantom()[0])
    bench.app.wait_until(lambda: bench.engine.isReady, PATIENCE)
    models.ask()
    bench.app.wait_until(lambda: models.known and bench.ui.modelSelector.count, 30)
    with monkeypatch.context() as patch:
        for kind in ("thatSegment", "thatTakeClicks"):  # whatever the engine still answers
            patch.setattr(type(models), kind, property(lambda _: []))
        models.version += 1
        bench.panel.updateSoon()
        bench.app.wait_until(lambda: bench.ui.modelSelector.count == 0, PATIENCE)
        assert not bench.ui.segmentButton.enabled
        assert "There is no model" in bench.ui.segmentButton.toolTip
        bench.place("Red", middle_of(phantom()[1], LIVER))
        assert bench.wait_suggested().proposals
        bench.app.click(bench.ui.rejectButton)
    models.version += 1
    bench.panel.updateSoon()
    bench.app.turn(5)


def test_the_scan_of_the_sample_data_module_can_be_segmented(bench: Bench) -> None:
    import SampleData
    from SSLSegmentationUI import SampleScan

    sources = getattr(SampleData.SampleDataLogic, "sources", None) or slicer.modules.sampleDataSources
    sources = sources["SSLSegmentation"]
    (source,) = [one for one in sources if one.sampleName == SampleScan.NAME]
    assert Path(source.thumbnailFileName).is_file()
    node = source.customDownloader(source)
    bench.app.turn(5)
    assert bench.parameters.scan is node
    assert bench.ui.segmentButton.enabled


def test_a_colour_picture_is_refused_where_it_is_chosen(bench: Bench) -> None:
    import vtk

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "photo")
    image = vtk.vtkImageData()
    image.SetDimensions(4, 4, 4)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
    node.SetAndObserveImageData(image)
    bench.parameters.scan = node
    bench.app.turn(5)
    assert "photo" in bench.ui.scanNoteLabel.text
    assert not bench.ui.segmentButton.enabled
    assert bench.ui.segmentButton.toolTip == bench.ui.scanNoteLabel.text


def test_the_self_test_passes_here_as_well(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from SSLSegmentationUI import SampleScan

    monkeypatch.setattr(SampleScan, "SHAPE", (48, 72, 72))
    monkeypatch.setattr(SampleScan, "SPACING", (5.0, 5.0, 5.6))
    slicer.modules.SSLSegmentationInstance.runTest()
    bench.app.turn(5)


def test_names_from_elsewhere_are_shown_as_text(bench: Bench) -> None:
    """A model may be called anything; what its name looks like is never read as markup."""
    from SSLSegmentationUI.ModelChoice import _about
    from SSLSegmentationUI.Models import Model

    evil = Model.of({"id": "x", "licence": "<img src=x>", "segments": "<b>bold</b>", "licence_link": 'javascript:"x"'})
    said = _about(evil)
    assert "<img" not in said
    assert "<b>" not in said
    assert "javascript" not in said


# How long the window is held


def large() -> tuple[Volume, np.ndarray]:
    """512 × 512 × 300 voxels, and a place in the liver."""
    small, labels = abdomen_phantom(7, shape=(100, 128, 128), spacing=(2.9, 2.9, 2.7))
    voxels = small.voxels.repeat(3, 0).repeat(4, 1).repeat(4, 2)
    matrix = small.ijk_to_ras.copy()
    matrix[:3, :3] = matrix[:3, :3] @ np.diag([1 / 4, 1 / 4, 1 / 3])
    return Volume(voxels, matrix, "large"), middle_of(labels, LIVER)


def test_how_long_the_window_is_held_is_written_down(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processor time of each turn of an errand, and of each update of the panel, on a scan of 512 × 512 × 300.

    Times depend on the machine and on what else it does, so that they are written down and not judged.
    """
    import time

    from SSLSegmentationUI.Errand import Errand

    volume, place = large()
    bench.load(volume)
    segment = bench.new_segment()
    turns: list[float] = []

    def timed(method: object) -> object:
        def run(self: object, *arguments: object) -> object:
            start = time.process_time()
            try:
                return method(self, *arguments)
            finally:
                turns.append(time.process_time() - start)

        return run

    monkeypatch.setattr(Errand, "_advance", timed(Errand._advance))
    monkeypatch.setattr(type(bench.panel), "update", timed(type(bench.panel).update))
    report = []
    for name, act in (
        ("click", lambda: bench.place("Red", place)),
        ("accept", lambda: bench.app.click(bench.ui.acceptButton)),
        ("click again", lambda: bench.place("Red", place + np.array([25.0, 0, 0]))),
    ):
        turns.clear()
        with bench.app.watchdog() as watch:
            act()
            bench.app.wait_until(lambda: not bench.work.operation and not bench.panel.correct._soon.active, PATIENCE)
            if name != "accept":
                bench.wait_suggested()
        report.append(
            f"{name}: longest turn {max(turns) * 1000:.0f} ms of processor time, "
            f"{watch.longest * 1000:.0f} ms between two events with drawing"
        )
    assert bench.mask(segment).any()
    output = Path(__file__).parents[2] / "output" / "responsiveness.txt"
    output.parent.mkdir(exist_ok=True)
    output.write_text("\n".join(report) + f"\nload of the machine: {os.getloadavg()}\n", "utf-8")


def test_reloading_takes_the_library_along(running_slicer: object, bench: Bench) -> None:
    """Last, since from here on there is another widget."""
    import sys

    before = sys.modules["SSLSegmentationLib.scene.volumes"]
    names = {name for name in sys.modules if name.startswith(("SSLSegmentationLib", "SSLSegmentationUI"))}
    kept = {name: sys.modules[name] for name in names}
    try:
        bench.widget.onReload()
        bench.app.turn(5)
        assert sys.modules["SSLSegmentationLib.scene.volumes"] is not before
        assert slicer.modules.SSLSegmentationWidget is not bench.widget
        assert slicer.modules.SSLSegmentationWidget.panel.ui.segmentButton is not None
        slicer.modules.SSLSegmentationWidget.cleanup()
    finally:
        sys.modules.update(kept)
        assert ENTRY.is_file()
