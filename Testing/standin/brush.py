"""Painting with a round brush in the slice views, for the two effects of the editor that the module needs."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import slicer
import vtk
from PySide6 import QtCore
from vtk.util.numpy_support import vtk_to_numpy

EVENTS = ("LeftButtonPressEvent", "MouseMoveEvent", "LeftButtonReleaseEvent")


class qSlicerSegmentEditorAbstractEffect(QtCore.QObject):
    """qSlicerSegmentEditorAbstractEffect (Slicer/Modules/Loadable/Segmentations/EditorEffects/...AbstractEffect.h).

    A stroke is written when the button is released, as one step of undo, with the masking of the editor.
    """

    _name = ""
    _editor: Any = None
    _observed: ClassVar[list[tuple[Any, int]]] = []
    _stroke: ClassVar[list[tuple[float, ...]]] = []
    _painting = False

    def __init__(self, name: str, editor: Any) -> None:
        super().__init__(editor)
        self._name = name
        self._editor = editor
        self._observed, self._stroke = [], []
        self._observe_views()

    def parameterSetNode(self) -> Any:
        return self._editor.mrmlSegmentEditorNode()

    def parameter(self, name: str) -> str:
        return self.parameterSetNode().GetAttribute(f"{self._name}.{name}") or ""

    def setParameter(self, name: str, value: Any) -> None:
        self.parameterSetNode().SetAttribute(f"{self._name}.{name}", str(value))

    def setCommonParameter(self, name: str, value: Any) -> None:
        self.parameterSetNode().SetAttribute(name, str(value))

    def _common(self, name: str) -> str:
        return self.parameterSetNode().GetAttribute(name) or ""

    def saveStateForUndo(self) -> None:
        self._editor.saveStateForUndo()

    def _observe_views(self) -> None:
        self._forget_views()
        manager = slicer.app.layoutManager()
        for name in manager.sliceViewNames():
            view = manager.sliceWidget(name).sliceView()
            for event in EVENTS:
                tag = view.interactor().AddObserver(event, self._reaction(view), 100.0)  # before Slicer's own
                self._observed.append((view.interactor(), tag))

    def _forget_views(self) -> None:
        for interactor, tag in self._observed:
            interactor.RemoveObserver(tag)
        self._observed = []

    def _reaction(self, view: Any) -> Any:
        def react(interactor: Any, event: str) -> None:
            if self._editor.activeEffect() is not self:
                return
            if event == "LeftButtonPressEvent":
                self._painting, self._stroke = True, []
            if self._painting:
                x, y = interactor.GetEventPosition()
                self._stroke.append(tuple(view.convertXYZToRAS([x, y, 0])))
            if event == "LeftButtonReleaseEvent" and self._painting:
                self._painting = False
                self._write(view.mrmlSliceNode())

        return react

    def _write(self, slice_node: Any) -> None:
        logic = self._editor._logic
        if not logic.ResetModifierLabelmapToDefault():
            return
        labelmap = logic.GetModifierLabelmap()
        self.saveStateForUndo()
        self._stamp(labelmap, slice_node)
        node = self._editor.segmentationNode()
        mode = logic.ModificationModeRemove if self._name == "Erase" else logic.ModificationModeAdd
        logic.ModifySegmentByLabelmap(node, self._editor.currentSegmentID(), labelmap, mode, True, False)

    def _stamp(self, labelmap: Any, slice_node: Any) -> None:
        """Sets the voxels within the brush around each point of the stroke, on the slice's plane only."""
        to_ras = vtk.vtkMatrix4x4()
        slicer.vtkSlicerSegmentEditorLogic.ImageToWorldMatrix(labelmap, self._editor.segmentationNode(), to_ras)
        matrix = slicer.util.arrayFromVTKMatrix(to_ras)
        voxels = vtk_to_numpy(labelmap.GetPointData().GetScalars())
        dimensions = labelmap.GetDimensions()
        voxels = voxels.reshape(dimensions[::-1])
        start = np.array(labelmap.GetExtent()[::2])
        normal = np.array([slice_node.GetSliceToRAS().GetElement(i, 2) for i in range(3)])
        half = np.abs(matrix[:3, :3].T @ normal).max() / 2
        radius = float(self._common("BrushAbsoluteDiameter") or 10) / 2
        reach = np.ceil((radius + half) / np.linalg.norm(matrix[:3, :3], axis=0)).astype(int)
        for point in np.array(self._stroke):
            centre = np.rint(np.linalg.solve(matrix, np.append(point, 1))[:3]).astype(int) - start
            low = np.clip(centre - reach, 0, dimensions)
            high = np.clip(centre + reach + 1, 0, dimensions)
            part = voxels[tuple(slice(a, b) for a, b in zip(low[::-1], high[::-1], strict=True))]
            ijk = np.indices(part.shape)[::-1].reshape(3, -1) + (low + start)[:, None]
            away = (matrix[:3, :3] @ ijk).T + matrix[:3, 3] - point
            inside = (np.abs(away @ normal) <= half) & ((away**2).sum(axis=1) <= radius**2 + half**2)
            part[inside.reshape(part.shape)] = 1
        labelmap.Modified()

    name = QtCore.Property(str, lambda self: self._name)
    perSegment = QtCore.Property(bool, lambda self: True)
