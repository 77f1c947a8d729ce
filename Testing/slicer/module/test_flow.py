"""From a loaded scan to a corrected segmentation, with the bundled network in a real engine, through the window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import slicer

from Testing.slicer.module.bench import LIVER, PATIENCE, Bench, middle_of, phantom, tilted


def test_from_a_scan_to_a_corrected_segmentation(bench: Bench) -> None:
    ui, app = bench.ui, bench.app
    scan, truth = (tilted(volume) for volume in phantom())
    bench.picture("1-empty")
    assert not ui.segmentButton.enabled
    assert "Choose a scan" in ui.segmentButton.toolTip
    node = bench.load(scan)
    assert bench.parameters.scan is node, "the first scan that is loaded is chosen"
    assert "Press Segment" in ui.messageLabel.text
    app.wait_until(lambda: bench.panel.models.known and ui.modelSelector.count, 60)
    assert "abdomen ct" in ui.modelSelector.currentText.lower(), "the models are listed before anything is pressed"
    app.turn(5)
    bench.picture("2-loaded")

    # Segment, watch, and cancel: nothing is left of it.
    app.click(ui.segmentButton)
    app.wait_until(lambda: bench.work.operation == "Segment" and bench.work.stage == "Segmenting", PATIENCE)
    assert ui.progressBar.visible
    assert ui.cancelButton.visible
    assert not ui.segmentButton.enabled
    app.turn(5)
    bench.picture("3-segmenting")
    app.click(ui.cancelButton)
    app.wait_until(lambda: not bench.work.operation, 1.0)
    assert "Cancelled; nothing was changed" in ui.messageLabel.text
    assert bench.segments.GetNumberOfSegments() == 0

    # Again, to the end.
    app.click(ui.segmentButton)
    suggestion = bench.wait_suggested()
    assert bench.segments.GetNumberOfSegments() == 0, "nothing is written before it is accepted"
    assert len(suggestion.fresh) >= 8
    assert all(label.terminology for label, _mask in suggestion.fresh)
    bench.picture("4-suggested")
    app.click(ui.acceptButton)
    bench.wait_idle()
    liver = bench.segments.GetSegmentIdBySegmentName("liver")
    overlap = (bench.mask(liver) & (truth.voxels == LIVER)).sum()
    assert 2 * overlap / (bench.mask(liver).sum() + (truth.voxels == LIVER).sum()) > 0.8

    # Doubt over the scan, and the worst of it in the middle of all views.
    red = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    app.click(ui.showDoubtCheckBox)
    ui.doubtThresholdSlider.value = 0.15
    ui.doubtOpacitySlider.value = 0.9
    app.turn(5)
    assert red.GetForegroundVolumeID()
    assert red.GetForegroundOpacity() == 0.9
    display = bench.parameters.segmentation.GetDisplayNode()
    assert not display.GetVisibility2DFill(), "filled segments would hide the doubt"
    places = []
    for number in (1, 2):
        app.click(ui.nextUnsureButton)
        app.wait_until(lambda number=number: ui.doubtLabel.text.startswith(f"{number} of"))
        if number == 1:
            bench.picture("5-doubt")
        places.append(app.view("Red").ras_of(*(side / 2 for side in app.view("Red").size)))
    assert not np.allclose(*places)
    app.click(ui.showDoubtCheckBox)
    app.turn(5)
    assert not red.GetForegroundVolumeID()
    assert display.GetVisibility2DFill()

    # A correction: a click in the Red view, seen as a difference, and accepted.
    app.choose(ui.segmentSelector, "liver")
    before = bench.mask(liver)
    place = middle_of(truth, LIVER)
    bench.place("Red", place)
    app.wait_until(lambda: bench.work.suggestion is not None or "nothing" in bench.work.message.sentence, 60)
    bench.wait_idle()
    bench.picture("6-correct")
    assert (bench.mask(liver) == before).all()
    if bench.work.suggestion is not None:
        app.click(ui.acceptButton)
        bench.wait_idle()
        bench.panel.editor.undo()
        assert (bench.mask(liver) == before).all()
    app.click(ui.positiveButton)  # no more placing

    # Undo takes back all that Segment wrote, in one step; redo brings it again.
    bench.panel.editor.undo()
    assert bench.segments.GetNumberOfSegments() == 0
    bench.panel.editor.redo()
    assert bench.segments.GetNumberOfSegments() >= 8


def test_spreading_a_slice_both_ways_and_one_way(bench: Bench) -> None:
    from SSLSegmentationLib.proposal import propose

    scan, truth = (tilted(volume) for volume in phantom())
    bench.load(scan)
    segment = bench.new_segment()
    place = middle_of(truth, LIVER)
    k = int(np.rint(scan.to_ijk(place))[2])
    drawn = truth.voxels[k : k + 1] == LIVER
    box = (slice(k, k + 1), slice(0, drawn.shape[1]), slice(0, drawn.shape[2]))
    bench.work._writer.accept(propose(box, np.zeros_like(drawn), drawn, score=1.0, segment=segment), segment)
    bench.app.view("Red").jump_to(tuple(place))
    bench.app.turn(5)

    found = {}
    for direction in ("both ways", "up", "down"):
        bench.app.choose(bench.ui.spreadDirectionSelector, direction)
        bench.app.click(bench.ui.spreadButton)
        found[direction] = bench.wait_suggested().proposals[segment]
        if direction == "both ways":
            bench.picture("7-spread")
        bench.app.click(bench.ui.rejectButton)
        assert bench.mask(segment).sum() == drawn.sum()
    up, down, both = found["up"], found["down"], found["both ways"]
    assert both.added.sum() > drawn.sum()
    assert up.added.sum() + down.added.sum() == both.added.sum()
    assert min(up.box[0].start, down.box[0].start) < k < max(up.box[0].stop, down.box[0].stop) - 1
    assert up.box[0].stop <= k or up.box[0].start > k

    bench.ui.spreadSlicesSpinBox.value = 2
    bench.app.choose(bench.ui.spreadDirectionSelector, "both ways")
    bench.app.click(bench.ui.spreadButton)
    near = bench.wait_suggested().proposals[segment]
    assert near.box[0].stop - near.box[0].start <= 5


def test_a_saved_scene_brings_back_prompts_and_settings(bench: Bench, tmp_path: Path) -> None:
    scan, truth = phantom()
    bench.load(scan)
    segment = bench.new_segment()
    place = middle_of(truth, LIVER)
    bench.place("Red", place)
    bench.wait_suggested()
    bench.app.click(bench.ui.acceptButton)
    bench.wait_idle()
    size = bench.mask(segment).sum()
    bench.place("Red", place + np.array([0, 0, 12.0]))
    bench.wait_suggested()
    bench.app.click(bench.ui.rejectButton)
    bench.app.click(bench.ui.acceptAtOnceCheckBox)
    bench.ui.doubtThresholdSlider.value = 0.45
    bench.ui.spreadSlicesSpinBox.value = 7
    bench.app.turn(5)
    assert bench.ui.promptList.count == 1
    path = tmp_path / "scene.mrb"
    assert slicer.util.saveScene(str(path))

    slicer.mrmlScene.Clear(False)
    bench.app.turn(5)
    assert bench.ui.promptList.count == 0
    assert not bench.ui.acceptAtOnceCheckBox.checked
    slicer.util.loadScene(str(path))
    bench.app.turn(10)
    assert bench.parameters.scan.GetName() == "CT of the abdomen"
    assert bench.ui.acceptAtOnceCheckBox.checked
    assert bench.ui.doubtThresholdSlider.value == 0.45
    assert bench.ui.spreadSlicesSpinBox.value == 7
    assert bench.segments.GetNumberOfSegments() == 1
    (restored,) = bench.segments.GetSegmentIDs()
    assert bench.mask(restored).sum() == size
    bench.app.choose(bench.ui.segmentSelector, "Segment 1")
    bench.app.turn(5)
    assert bench.ui.promptList.count == 1
    assert bench.work.suggestion is None
    assert not bench.work.operation, "loading a scene asks nothing"


def test_doubt_that_is_shown_leaves_no_trace_in_a_saved_scene(bench: Bench, tmp_path: Path) -> None:
    scan, _truth = phantom()
    node = bench.load(scan)
    bench.new_segment()
    doubt = np.zeros(scan.shape, np.float32)
    doubt[10:20, 20:40, 20:40] = 0.8
    bench.panel.doubt.use(node, scan.with_voxels(doubt))
    bench.app.turn(5)
    bench.panel.updateSoon()
    bench.app.turn(5)
    bench.app.click(bench.ui.showDoubtCheckBox)
    red = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    bench.app.wait_until(red.GetForegroundVolumeID)
    path = tmp_path / "scene.mrb"
    assert slicer.util.saveScene(str(path))
    slicer.mrmlScene.Clear(False)
    slicer.util.loadScene(str(path))
    bench.app.turn(10)
    red = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    assert not red.GetForegroundVolumeID()
    assert bench.parameters.segmentation.GetDisplayNode().GetVisibility2DFill()
    assert not bench.ui.showDoubtCheckBox.enabled
