"""Widgets that show a rendered view and hand it the events of mouse and keyboard."""

from __future__ import annotations

from typing import Any

import slicer
from PySide6 import QtCore, QtGui, QtWidgets

from .rendering import RenderedSlice, RenderedThreeD, RenderedView

BUTTONS = {
    QtCore.Qt.MouseButton.LeftButton: "LeftButton",
    QtCore.Qt.MouseButton.MiddleButton: "MiddleButton",
    QtCore.Qt.MouseButton.RightButton: "RightButton",
}
KEYSYMS = {
    QtCore.Qt.Key.Key_Escape: "Escape",
    QtCore.Qt.Key.Key_Return: "Return",
    QtCore.Qt.Key.Key_Delete: "Delete",
    QtCore.Qt.Key.Key_Backspace: "BackSpace",
    QtCore.Qt.Key.Key_Space: "space",
    QtCore.Qt.Key.Key_Left: "Left",
    QtCore.Qt.Key.Key_Right: "Right",
    QtCore.Qt.Key.Key_Up: "Up",
    QtCore.Qt.Key.Key_Down: "Down",
    QtCore.Qt.Key.Key_Shift: "Shift_L",
    QtCore.Qt.Key.Key_Control: "Control_L",
}
SIXTIETH_OF_A_SECOND = 16  # milliseconds: ctkVTKAbstractView renders no more often


class ctkVTKAbstractView(QtWidgets.QWidget):
    """ctkVTKAbstractView (CTK/Libs/Visualization/VTK/Widgets/ctkVTKAbstractView.h)."""

    _rendered: Any = None
    _timer: Any = None
    _image: QtGui.QImage | None = None
    _paused = 0
    _wanted = False

    def __init__(self, rendered: RenderedView, parent: Any = None) -> None:
        super().__init__(parent)
        self._rendered = rendered
        self._timer = QtCore.QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.connect("timeout()", self._request_render)
        rendered.on_render_requested = self.scheduleRender
        self.setMouseTracking(True)
        self.setFocusPolicy(QtCore.Qt.FocusPolicy.StrongFocus)
        self.setMinimumSize(100, 100)
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Expanding, QtWidgets.QSizePolicy.Policy.Expanding)

    def scheduleRender(self) -> None:
        if not self._timer.active:
            self._timer.start(SIXTIETH_OF_A_SECOND)

    def _request_render(self) -> None:
        if self._paused:
            self._wanted = True
        elif self.isVisible():
            self.forceRender()

    def forceRender(self) -> None:
        picture = self._rendered.picture()
        height, width = picture.shape[:2]
        image = QtGui.QImage(picture.data, width, height, 3 * width, QtGui.QImage.Format.Format_RGB888)
        self._image = image.copy()  # the picture's memory is gone when this function is
        self.update()

    def pauseRender(self) -> int:
        self._paused += 1
        return self._paused

    def resumeRender(self) -> int:
        self._paused -= 1
        if self._paused == 0 and self._wanted:
            self._wanted = False
            self.scheduleRender()
        return self._paused

    def setRenderPaused(self, pause: bool) -> int:
        return self.pauseRender() if pause else self.resumeRender()

    def renderWindow(self) -> Any:
        return self._rendered.window

    def interactor(self) -> Any:
        return self._rendered.interactor

    def interactorStyle(self) -> Any:
        return self._rendered.interactor.GetInteractorStyle()

    def paintEvent(self, _event: Any) -> None:
        if self._image is not None:
            painter = QtGui.QPainter(self)
            painter.drawImage(0, 0, self._image)
            painter.end()

    def showEvent(self, _event: Any) -> None:
        self.scheduleRender()

    def resizeEvent(self, event: Any) -> None:
        self._rendered.resize(max(event.size().width(), 1), max(event.size().height(), 1))
        self.scheduleRender()

    def mousePressEvent(self, event: Any) -> None:
        self._send(BUTTONS[event.button()] + "PressEvent", event)

    def mouseDoubleClickEvent(self, event: Any) -> None:
        self._send(BUTTONS[event.button()] + "PressEvent", event, repeat=1)
        self._send(BUTTONS[event.button()] + "DoubleClickEvent", event, repeat=1)

    def mouseReleaseEvent(self, event: Any) -> None:
        self._send(BUTTONS[event.button()] + "ReleaseEvent", event)

    def mouseMoveEvent(self, event: Any) -> None:
        self._send("MouseMoveEvent", event)

    def enterEvent(self, event: Any) -> None:
        self._send("EnterEvent", event)

    def leaveEvent(self, _event: Any) -> None:
        self._rendered.interactor.InvokeEvent("LeaveEvent")

    def wheelEvent(self, event: Any) -> None:
        self._send("MouseWheelForwardEvent" if event.angleDelta().y() > 0 else "MouseWheelBackwardEvent", event)

    def keyPressEvent(self, event: Any) -> None:
        self._send_key("KeyPressEvent", event)
        self._send_key("CharEvent", event)

    def keyReleaseEvent(self, event: Any) -> None:
        self._send_key("KeyReleaseEvent", event)

    def _send(self, name: str, event: Any, repeat: int = 0) -> None:
        place = event.position()
        held = _held(event) if hasattr(event, "modifiers") else {}
        self._rendered.send(name, place.x(), place.y(), repeat=repeat, **held)

    def _send_key(self, name: str, event: Any) -> None:
        x, y = self._rendered.interactor.GetEventPosition()
        key = KEYSYMS.get(QtCore.Qt.Key(event.key()), event.text())
        self._rendered.send(name, x, self.height - 1 - y, key=key, **_held(event))


def _held(event: Any) -> dict[str, bool]:
    held = event.modifiers()
    modifiers = QtCore.Qt.KeyboardModifier
    return {
        "control": bool(held & modifiers.ControlModifier),
        "shift": bool(held & modifiers.ShiftModifier),
        "alt": bool(held & modifiers.AltModifier),
    }


class qMRMLSliceView(ctkVTKAbstractView):
    """qMRMLSliceView (Slicer/Libs/MRML/Widgets/qMRMLSliceView.h)."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(RenderedSlice(), parent)

    def mrmlSliceNode(self) -> Any:
        return self._rendered.logic.GetSliceNode()

    def interactorObserver(self) -> Any:
        return self._rendered.style

    def displayableManagerByClassName(self, name: str) -> Any:
        return self._rendered.managers.GetDisplayableManagerByClassName(name)

    def convertDeviceToXYZ(self, xy: list[int]) -> list[float]:
        return [float(xy[0]), float(xy[1]), 0.0]

    def convertXYZToRAS(self, xyz: list[float]) -> list[float]:
        return list(self.mrmlSliceNode().GetXYToRAS().MultiplyPoint((*xyz, 1.0))[:3])

    def convertRASToXYZ(self, ras: list[float]) -> list[float]:
        inverse = slicer.vtkMRMLSliceNode.GetXYToRAS(self.mrmlSliceNode()).NewInstance()
        inverse.DeepCopy(self.mrmlSliceNode().GetXYToRAS())
        inverse.Invert()
        return list(inverse.MultiplyPoint((*ras, 1.0))[:3])


class qMRMLThreeDView(ctkVTKAbstractView):
    """qMRMLThreeDView (Slicer/Libs/MRML/Widgets/qMRMLThreeDView.h)."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(RenderedThreeD(), parent)

    def mrmlViewNode(self) -> Any:
        return self._rendered.logic.GetViewNode()

    def interactorObserver(self) -> Any:
        return self._rendered.style

    def displayableManagerByClassName(self, name: str) -> Any:
        return self._rendered.managers.GetDisplayableManagerByClassName(name)

    def cameraNode(self) -> Any:
        return self.displayableManagerByClassName("vtkMRMLCameraDisplayableManager").GetCameraNode()

    def resetCamera(self, rotation: bool = True, translation: bool = True, distance: bool = True) -> None:
        camera = self.cameraNode()
        camera.Reset(rotation, translation, distance, self._rendered.renderer)

    def resetFocalPoint(self) -> None:
        bounds = self._rendered.renderer.ComputeVisiblePropBounds()
        if bounds[0] <= bounds[1]:
            centre = [(bounds[i] + bounds[i + 1]) / 2 for i in (0, 2, 4)]
            self.cameraNode().SetFocalPoint(centre)
            self._rendered.renderer.ResetCameraClippingRange()
        self.scheduleRender()
