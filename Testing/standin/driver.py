"""What a test holds: the application as a user has it before him, with a mouse, a keyboard and patience."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import slicer
from PySide6 import QtCore, QtGui, QtTest, QtWidgets

from . import modules, packages
from .faults import Answer, Faults
from .loop import LoopWatch

Modifiers = QtCore.Qt.KeyboardModifier
Button = QtCore.Qt.MouseButton
POLL = 0.005  # seconds between two looks at whether a condition holds


class Driver:
    """The running stand-in. `faults` holds what went wrong in the background since the last test."""

    def __init__(self, application: Any, faults: Faults) -> None:
        self.application = application
        self.faults = faults
        self.window = application._window
        self._modules = slicer.modules

    def load_module(self, path: str | Path) -> Any:
        """Loads a scripted module, opens its panel and returns the module's own widget, as `slicer.modules.XWidget`."""
        module = modules.load_scripted(path, self.application.moduleManager())
        self.application.startupCompleted.emit()
        self.in_loop(module.widgetRepresentation)  # what goes wrong in setup() is told here
        self.open_module(module.name)
        return module.widgetRepresentation().self()

    def open_module(self, name: str) -> None:
        """Shows a module's panel, or none with an empty name; its enter() and the other's exit() run."""
        self.window.moduleSelector().selectModule(name)
        self.turn()

    @property
    def panel(self) -> Any:
        """The widget of the module that is shown, as `slicer.modules.XWidget`, or None."""
        return self.window._shown.self() if self.window._shown is not None else None

    def reload(self) -> Any:
        """The Reload button of a developer: the module's file is read again and its panel made anew."""
        self.panel.onReload()
        self.turn()
        return self.panel

    def turn(self, times: int = 3) -> None:
        """Lets what is due now happen: timers of no length, queued signals, painting."""
        for _ in range(times):
            self.wait(0)

    def wait(self, seconds: float) -> None:
        """Lets the event loop run for a while."""
        loop = QtCore.QEventLoop()
        QtCore.QTimer.singleShot(round(seconds * 1000), loop.quit)
        loop.exec()

    def wait_until(self, condition: Callable[[], Any], seconds: float = 10.0) -> Any:
        """Lets the event loop run until the condition holds and returns what it gave; AssertionError if it never does.

        It is a loop of its own and no processEvents(), so that deleteLater() means what it means in the application.
        """
        end = time.monotonic() + seconds
        while not (value := condition()):
            if time.monotonic() > end:
                raise AssertionError(f"waited {seconds:g} s in vain{self._reasons()}")
            self.wait(POLL)
        return value

    def _reasons(self) -> str:
        return "".join(f"\n{fault}" for fault in self.faults.found)

    def view(self, name: str) -> View:
        """Red, Yellow, Green, or 1 for the 3D view."""
        manager = self.application.layoutManager()
        if name == "1":
            return View(self, manager.threeDWidget(0).threeDView())
        return SliceView(self, manager.sliceWidget(name).sliceView())

    def click(self, widget: Any, place: tuple[int, int] | None = None) -> None:
        """A click with the left button on a widget that is seen and enabled, delivered by the event loop."""
        assert widget.isVisible(), f"{widget.objectName!r} is not visible: no user could click it"
        assert widget.isEnabled(), f"{widget.objectName!r} is disabled: {widget.toolTip}"
        where = QtCore.QPoint(*place) if place else _sensitive_place(widget)
        self.in_loop(lambda: QtTest.QTest.mouseClick(widget, Button.LeftButton, Modifiers.NoModifier, where))

    def type(self, widget: Any, text: str) -> None:
        """Keys typed into a widget that has the focus, one event each."""
        widget.setFocus()
        self.in_loop(lambda: QtTest.QTest.keyClicks(widget, text))

    def key(self, key: str, widget: Any = None) -> None:
        """A key or a combination such as 'Ctrl+Z', sent to the widget with the focus so that shortcuts see it."""
        combination = QtGui.QKeySequence(key)[0]
        target = widget or self.application.focusWidget() or self.window
        self.in_loop(lambda: QtTest.QTest.keyClick(target, combination.key(), combination.keyboardModifiers()))

    def choose(self, combo: Any, text: str) -> None:
        """Picks an entry of a combo box as a user does: its index changes and `activated` is emitted."""
        box = combo if isinstance(combo, QtWidgets.QComboBox) else combo.findChild(QtWidgets.QComboBox)
        index = box.findText(text)
        assert index >= 0, f"no entry {text!r} among {[box.itemText(i) for i in range(box.count)]}"

        def pick() -> None:
            box.setCurrentIndex(index)
            box.activated.emit(index)

        self.in_loop(pick)

    def in_loop(self, action: Callable[[], Any]) -> Any:
        """Runs something inside the event loop, where everything a user causes runs, and returns its result.

        A LoopWatch sees how long it takes, and a dialog that deletes itself later lives until it is answered.
        """
        done: list[tuple[Any, Exception | None]] = []
        loop = QtCore.QEventLoop()

        def run() -> None:
            try:
                done.append((action(), None))
            except Exception as error:  # noqa: BLE001 - handed over to the test
                done.append((None, error))
            loop.quit()

        QtCore.QTimer.singleShot(0, run)
        loop.exec()
        result, error = done[0]
        if error is not None:
            raise error
        self.turn()
        return result

    def answer(self, *answers: Answer) -> None:
        """What the next dialogs will be told: True, False, or a function that gets the dialog and closes it.

        A dialog that is not expected fails the test, and so does one that is expected and does not open.
        """
        self.faults.answers.extend(answers)

    @property
    def asked(self) -> list[str]:
        """Title and texts of the dialogs that opened during this test."""
        return self.faults.asked

    @contextmanager
    def watchdog(self) -> Iterator[LoopWatch]:
        """Measures the longest stretch inside for which the event loop did not turn."""
        watch = LoopWatch()
        watch.start()
        try:
            yield watch
        finally:
            watch.stop()

    @contextmanager
    def without_packaging(self) -> Iterator[None]:
        """Slicer 5.10, which has no slicer.packaging."""
        with pytest.MonkeyPatch.context() as patch:
            patch.delitem(sys.modules, "slicer.packaging")
            patch.delattr(slicer, "packaging")
            yield

    @property
    def installed(self) -> list[str]:
        """What would have been installed with pip during this test."""
        return packages.installed

    def screenshot(self, path: str | Path) -> Path:
        """The main window as a user sees it."""
        self.render()
        return self._save(self.window, path)

    def picture_of(self, widget: Any, path: str | Path) -> Path:
        return self._save(widget, path)

    def _save(self, widget: Any, path: str | Path) -> Path:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        assert widget.grab().save(str(path)), f"{path} cannot be written"
        return path

    def render(self) -> None:
        """Brings all views up to date."""
        for name in ("Red", "Yellow", "Green", "1"):
            if self.view(name).widget.isVisible():
                self.view(name).widget.forceRender()
        self.turn()

    def reset(self) -> None:
        """An empty scene, the four views, no module shown, the mouse free: as after the start."""
        # Tests that do without Qt put their own in these places.
        slicer.app, slicer.modules, slicer.mrmlScene = self.application, self._modules, self.application.mrmlScene()
        self.faults.watch()
        packages.installed.clear()
        self.application.userSettings().clear()
        self.open_module("")
        slicer.mrmlScene.Clear(False)
        logic = self.application.applicationLogic()
        logic.GetInteractionNode().SetCurrentInteractionMode(slicer.vtkMRMLInteractionNode.ViewTransform)
        self.application.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
        self.turn()


class View:
    """One of the views, in pixels of the widget from its upper left corner."""

    def __init__(self, driver: Driver, widget: Any) -> None:
        self.driver = driver
        self.widget = widget

    @property
    def size(self) -> tuple[int, int]:
        return self.widget.width, self.widget.height

    def move(self, x: float, y: float, modifiers: Modifiers = Modifiers.NoModifier) -> None:
        self._mouse(QtCore.QEvent.Type.MouseMove, Button.NoButton, Button.NoButton, x, y, modifiers)

    def press(self, x: float, y: float, button: Button = Button.LeftButton, **held: Modifiers) -> None:
        self._mouse(QtCore.QEvent.Type.MouseButtonPress, button, button, x, y, **held)

    def release(self, x: float, y: float, button: Button = Button.LeftButton, **held: Modifiers) -> None:
        self._mouse(QtCore.QEvent.Type.MouseButtonRelease, button, Button.NoButton, x, y, **held)

    def click(self, x: float, y: float, button: Button = Button.LeftButton, **held: Modifiers) -> None:
        self.enter(x, y)
        self.move(x, y, **held)
        self.press(x, y, button, **held)
        self.release(x, y, button, **held)

    def drag(
        self,
        start: tuple[float, float],
        end: tuple[float, float],
        button: Button = Button.LeftButton,
        steps: int = 8,
        **held: Modifiers,
    ) -> None:
        """Presses at one place, moves in steps, and releases at another."""
        self.enter(*start)
        self.move(*start, **held)
        self.press(*start, button, **held)
        for step in range(1, steps + 1):
            x, y = (a + (b - a) * step / steps for a, b in zip(start, end, strict=True))
            self._mouse(QtCore.QEvent.Type.MouseMove, Button.NoButton, button, x, y, **held)
        self.release(*end, button, **held)

    def wheel(
        self, notches: int, x: float | None = None, y: float | None = None, modifiers: Modifiers = Modifiers.NoModifier
    ) -> None:
        """Turns the wheel away from the user by so many notches, or towards him when negative."""
        place = QtCore.QPointF(self.size[0] / 2 if x is None else x, self.size[1] / 2 if y is None else y)
        self.enter(place.x(), place.y())
        self.move(place.x(), place.y(), modifiers)
        angle = QtCore.QPoint(0, 120 if notches > 0 else -120)
        for _ in range(abs(notches)):
            self._send(
                QtGui.QWheelEvent(
                    *(place, self.widget.mapToGlobal(place), QtCore.QPoint(), angle, Button.NoButton, modifiers),
                    *(QtCore.Qt.ScrollPhase.NoScrollPhase, False),
                )
            )

    def enter(self, x: float, y: float) -> None:
        place = QtCore.QPointF(x, y)
        self._send(QtGui.QEnterEvent(place, place, self.widget.mapToGlobal(place)))

    def leave(self) -> None:
        self._send(QtCore.QEvent(QtCore.QEvent.Type.Leave))

    def key(self, key: str) -> None:
        self.driver.key(key, self.widget)

    def picture(self) -> Any:
        """What the view shows now, as rows of RGB from the top."""
        return self.widget._rendered.picture()

    def _mouse(
        self,
        kind: Any,
        button: Button,
        buttons: Button,
        x: float,
        y: float,
        modifiers: Modifiers = Modifiers.NoModifier,
    ) -> None:
        place = QtCore.QPointF(x, y)
        self._send(QtGui.QMouseEvent(kind, place, self.widget.mapToGlobal(place), button, buttons, modifiers))

    def _send(self, event: Any) -> None:
        self.driver.in_loop(lambda: QtWidgets.QApplication.sendEvent(self.widget, event))


class SliceView(View):
    """A slice view, which also knows where in the patient its pixels are."""

    @property
    def node(self) -> Any:
        return self.widget.mrmlSliceNode()

    @property
    def offset(self) -> float:
        return self.widget._rendered.logic.GetSliceOffset()

    @offset.setter
    def offset(self, value: float) -> None:
        self.widget._rendered.logic.SetSliceOffset(value)
        self.driver.turn()

    def ras_of(self, x: float, y: float) -> tuple[float, float, float]:
        """Patient coordinates of a pixel, by the matrix of the slice node alone."""
        place = (x, self.size[1] - 1 - y, 0.0, 1.0)
        return tuple(self.node.GetXYToRAS().MultiplyPoint(place)[:3])

    def place_of(self, ras: tuple[float, float, float]) -> tuple[float, float]:
        """The pixel nearest to a point in the patient, which need not lie on the slice."""
        import vtk

        inverse = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(self.node.GetXYToRAS(), inverse)
        x, y = inverse.MultiplyPoint((*ras, 1.0))[:2]
        return round(x), round(self.size[1] - 1 - y)

    def jump_to(self, ras: tuple[float, float, float]) -> None:
        """Shows the slice through a point, with the point in the middle."""
        self.node.JumpSliceByCentering(*ras)
        self.driver.turn()

    def click_ras(self, ras: tuple[float, float, float], button: Button = Button.LeftButton, **held: Modifiers) -> None:
        """Clicks the pixel that shows a point in the patient."""
        self.click(*self.place_of(ras), button, **held)


def _sensitive_place(widget: Any) -> QtCore.QPoint:
    """Where a click means the widget: check boxes and radio buttons take none in the empty part at their right."""
    if isinstance(widget, QtWidgets.QCheckBox | QtWidgets.QRadioButton):
        return QtCore.QPoint(8, widget.height // 2)
    return widget.rect.center()
