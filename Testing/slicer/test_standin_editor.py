"""The Segment Editor of the stand-in: Slicer's own logic under a list, a brush, masking and undo."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from Testing.standin.driver import Driver

MIDDLE = (30.0, 22.0, 50.0)


@pytest.fixture
def editor(slicer_app: Driver) -> Iterator[Any]:
    """An editor in a window of its own, with a scan of 60×45×40 voxels of 1×1×2.5 mm and one empty segment."""
    import slicer

    scan = slicer.util.addVolumeFromArray(np.zeros((40, 45, 60), np.int16), name="scan")
    scan.SetSpacing(1, 1, 2.5)
    slicer.util.setSliceViewerLayers(background=scan, fit=True)
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "segments")
    segmentation.CreateDefaultDisplayNodes()
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(scan)
    widget = slicer.qMRMLSegmentEditorWidget()
    widget.setMRMLSegmentEditorNode(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentEditorNode"))
    widget.setMRMLScene(slicer.mrmlScene)
    widget.setSegmentationNode(segmentation)
    widget.setSourceVolumeNode(scan)
    widget.show()
    slicer_app.click(widget.AddSegmentButton)
    for name in ("Red", "Yellow", "Green"):
        slicer_app.view(name).jump_to(MIDDLE)
    yield widget
    widget.uninstallKeyboardShortcuts()
    widget.removeViewObservations()
    widget.setMRMLSegmentEditorNode(None)
    widget.setMRMLScene(None)
    widget.close()
    widget.deleteLater()


def voxels(editor: Any, segment_id: str = "") -> np.ndarray:
    import slicer

    return slicer.util.arrayFromSegmentBinaryLabelmap(
        editor.segmentationNode(), segment_id or editor.currentSegmentID(), editor.sourceVolumeNode()
    )


def paint(slicer_app: Driver, editor: Any, effect: str = "Paint", ras: tuple[float, float, float] = MIDDLE) -> None:
    editor.setActiveEffectByName(effect)
    slicer_app.view("Red").click_ras(ras)
    editor.setActiveEffect(None)


def test_a_new_segment_is_selected_and_announced(slicer_app: Driver, editor: Any) -> None:
    announced: list[str] = []
    editor.connect("currentSegmentIDChanged(QString)", announced.append)
    slicer_app.click(editor.AddSegmentButton)
    assert editor.SegmentsTableView.segmentCount == 2
    assert announced == [editor.currentSegmentID()]
    assert editor.SegmentsTableView.selectedSegmentIDs() == (editor.currentSegmentID(),)


def test_a_stroke_paints_a_disc_on_the_slice_alone(slicer_app: Driver, editor: Any) -> None:
    paint(slicer_app, editor)
    painted = np.argwhere(voxels(editor))
    assert set(painted[:, 0]) == {20}
    assert np.abs(painted[:, 1:] - (22, 30)).max() <= 5
    assert len(painted) == pytest.approx(np.pi * 5**2, rel=0.15)


def test_painting_is_undone_and_redone_by_buttons_and_keys(slicer_app: Driver, editor: Any) -> None:
    paint(slicer_app, editor)
    before = voxels(editor).sum()
    paint(slicer_app, editor, ras=(45, 30, 50))
    after = voxels(editor).sum()
    assert after > before
    undo, redo = (editor.findChild("QPushButton", name) for name in ("UndoButton", "RedoButton"))
    slicer_app.click(undo)
    assert voxels(editor).sum() == before
    slicer_app.click(redo)
    assert voxels(editor).sum() == after
    editor.installKeyboardShortcuts(editor)
    slicer_app.key("Z", redo)
    assert voxels(editor).sum() == before


def test_the_eraser_takes_away(slicer_app: Driver, editor: Any) -> None:
    paint(slicer_app, editor)
    paint(slicer_app, editor, "Erase")
    assert not voxels(editor).any()


def test_masking_holds_for_the_brush(slicer_app: Driver, editor: Any) -> None:
    paint(slicer_app, editor)
    first = editor.currentSegmentID()
    kept = voxels(editor, first).sum()
    slicer_app.click(editor.AddSegmentButton)
    mask = next(box for box in editor.findChildren("QComboBox") if box.findText("Outside all segments") >= 0)
    slicer_app.choose(mask, "Outside all segments")
    paint(slicer_app, editor, ras=(33, 22, 50))
    assert voxels(editor, first).sum() == kept
    assert not (voxels(editor, first) & voxels(editor)).any()


def test_no_effect_means_that_a_click_paints_nothing(slicer_app: Driver, editor: Any) -> None:
    slicer_app.view("Red").click_ras(MIDDLE)
    assert not voxels(editor).any()


def test_closing_the_scene_leaves_an_editor_without_segments(slicer_app: Driver, editor: Any) -> None:
    import slicer

    paint(slicer_app, editor)
    slicer.mrmlScene.Clear(False)
    slicer_app.turn()
    assert editor.segmentationNode() is None
    assert editor.SegmentsTableView.segmentCount == 0
    assert not editor.AddSegmentButton.enabled
