"""The scan, the segmentation, and what has to be said about them."""

from __future__ import annotations

from typing import Any

import slicer
from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.scene.volumes import frame_note, volume_of


class ScanSection:
    def __init__(self, ui: Any) -> None:
        self._ui = ui
        self.obstacle = ""
        """Why the chosen scan cannot be segmented."""

    def check(self, scan: Any) -> None:
        """Look at a scan that was chosen, and say what is special about it."""
        self.obstacle, note = "", ""
        if scan is None:
            self.obstacle = "Choose a scan first."
        else:
            try:
                volume_of(scan)
                note = frame_note(scan)
            except InputError as error:
                self.obstacle = note = str(error)
        self._ui.scanNoteLabel.text = note
        self._ui.scanNoteLabel.visible = bool(note)

    @staticmethod
    def isScan(node: Any) -> bool:
        """Label maps are scalar volumes too, and so is what is laid over a scan; neither is to be segmented."""
        return node is not None and node.GetClassName() == "vtkMRMLScalarVolumeNode" and not node.GetHideFromEditors()

    @classmethod
    def defaultScan(cls) -> Any:
        """What the views show, or else the first there is."""
        layout = slicer.app.layoutManager()
        views = layout.sliceViewNames() if layout is not None else ()
        shown = [layout.sliceWidget(name).mrmlSliceCompositeNode().GetBackgroundVolumeID() for name in views]
        nodes = [slicer.mrmlScene.GetNodeByID(one) for one in shown if one]
        nodes += slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        return next((node for node in nodes if cls.isScan(node)), None)
