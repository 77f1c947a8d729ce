"""Slicer's own Segment Editor inside the panel: painting, masking, the list of segments, undo."""

from __future__ import annotations

from typing import Any

import slicer

UNDO_STEPS = 10


class EditorSection:
    """It is also the History of what is accepted, so that painting and accepting share one row of undo steps."""

    def __init__(self, ui: Any) -> None:
        self.widget = slicer.qMRMLSegmentEditorWidget()
        self.widget.segmentationNodeSelectorVisible = False
        self.widget.sourceVolumeNodeSelectorVisible = False
        self.widget.setMaximumNumberOfUndoStates(UNDO_STEPS)
        self.node: Any = None
        ui.editorSection.layout().addWidget(self.widget)

    def save(self) -> None:
        self.widget.saveStateForUndo()

    def undo(self) -> None:
        self.widget.undo()

    def redo(self) -> None:
        self.widget.redo()

    def begin(self) -> None:
        """Use the editor's node of this scene; it is the same as in the module Segment Editor."""
        tag = "SegmentEditor"
        node = slicer.mrmlScene.GetSingletonNode(tag, "vtkMRMLSegmentEditorNode")
        if node is None:
            node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLSegmentEditorNode")
            node.UnRegister(None)
            node.SetSingletonTag(tag)
            node = slicer.mrmlScene.AddNode(node)
        if node != self.node:
            self.node = node
            # The node first, so that what is chosen for the scene is kept in it.
            self.widget.setMRMLSegmentEditorNode(node)
            self.widget.setMRMLScene(slicer.mrmlScene)

    def open(self, scan: Any, segmentation: Any) -> None:
        self.widget.setSegmentationNode(segmentation)
        if segmentation is not None:  # without one the editor refuses a scan
            self.widget.setSourceVolumeNode(scan)

    def end(self) -> None:
        """Before the scene is closed."""
        self.widget.setActiveEffect(None)
        self.widget.setSegmentationNode(None)
        self.widget.removeViewObservations()
        self.node = None

    def enter(self) -> None:
        self.widget.setupViewObservations()
        self.widget.installKeyboardShortcuts()

    def exit(self) -> None:
        self.widget.setActiveEffect(None)
        self.widget.uninstallKeyboardShortcuts()
        self.widget.removeViewObservations()

    def stopPainting(self) -> None:
        """Painting and placing would both take the same clicks."""
        self.widget.setActiveEffect(None)

    @property
    def segmentId(self) -> str:
        """Of the current segment, if there is one: the editor may still name one that was deleted."""
        node = self.node.GetSegmentationNode() if self.node is not None else None
        chosen = (self.node.GetSelectedSegmentID() or "") if node is not None else ""
        return chosen if chosen and node.GetSegmentation().GetSegment(chosen) is not None else ""

    def select(self, segmentId: str) -> None:
        if self.node is not None and segmentId != self.segmentId:
            self.node.SetSelectedSegmentID(segmentId)
