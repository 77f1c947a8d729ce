"""The base of the widgets that follow a scene."""

from __future__ import annotations

from typing import Any, ClassVar

from PySide6 import QtCore, QtWidgets

from .ui_loader import stands_in


@stands_in
class qMRMLWidget(QtWidgets.QWidget):
    """qMRMLWidget (Slicer/Libs/MRML/Widgets/qMRMLWidget.h)."""

    SIGNALS: ClassVar = ("mrmlSceneChanged(vtkMRMLScene*)",)
    mrmlSceneChanged = QtCore.Signal(object)
    _scene: Any = None

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)


@stands_in
class qSlicerWidget(QtWidgets.QWidget):
    """qSlicerWidget (Slicer/Base/QTGUI/qSlicerWidget.h)."""

    SIGNALS: ClassVar = ("mrmlSceneChanged(vtkMRMLScene*)",)
    mrmlSceneChanged = QtCore.Signal(object)
    _scene: Any = None

    def setMRMLScene(self, scene: Any) -> None:
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)
