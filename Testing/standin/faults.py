"""What goes wrong without an exception in the test: errors of VTK, exceptions in slots, lines of Qt, dialogs.

An exception inside a slot or an observer never reaches the test, PySide6 and VTK print it and go on; a dialog that
nobody answers would hold a test for ever. Here they are collected, and the fixture makes the test fail.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any

import vtk
from PySide6 import QtCore, QtWidgets

HARMLESS = (
    "This plugin does not support",  # what the offscreen platform cannot do and no test needs
    "Populating font family aliases took",
)
Answer = bool | Callable[[Any], None]


class Faults:
    def __init__(self) -> None:
        self.found: list[str] = []
        self.answers: list[Answer] = []
        self.asked: list[str] = []
        self._window = vtk.vtkOutputWindow()
        self._window.SetDisplayModeToNever()
        for event in ("ErrorEvent", "WarningEvent"):
            self._window.AddObserver(event, self._on_vtk)
        self.watch()
        self._dialogs = QtCore.QTimer()
        self._dialogs.connect("timeout()", self._on_timer)
        self._dialogs.start(20)

    def take(self) -> list[str]:
        """What was found since the last call; what was asked is forgotten with it."""
        taken, self.found = self.found, []
        self.asked.clear()
        if self.answers:
            taken.append(f"{len(self.answers)} expected dialog(s) did not open")
            self.answers.clear()
        return taken

    def watch(self) -> None:
        """Takes the places where each is reported, which there is only one of in a process."""
        vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_OFF)
        vtk.vtkOutputWindow.SetInstance(self._window)
        sys.excepthook = self._on_exception
        QtCore.qInstallMessageHandler(self._on_qt_message)

    def _on_vtk(self, _caller: Any, event: str, text: str) -> None:
        self.found.append(f"VTK {event.removesuffix('Event').lower()}: {text.strip()}")

    _on_vtk.CallDataType = vtk.VTK_STRING  # type: ignore[attr-defined]

    def _on_exception(self, kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
        self.found.append("exception outside the test:\n" + "".join(traceback.format_exception(kind, error, where)))
        sys.__excepthook__(kind, error, where)

    def _on_qt_message(self, kind: QtCore.QtMsgType, _context: Any, text: str) -> None:
        important = kind not in (QtCore.QtMsgType.QtDebugMsg, QtCore.QtMsgType.QtInfoMsg)
        if important and not any(phrase in text for phrase in HARMLESS):
            self.found.append(f"Qt: {text}")

    def _on_timer(self) -> None:
        """Runs inside the event loop of the dialog too, so it can answer the dialog that blocks the test."""
        dialog = QtWidgets.QApplication.activeModalWidget()
        if dialog is None:
            return
        text = "\n".join((dialog.windowTitle, *_texts_of(dialog)))
        self.asked.append(text)
        answer = self.answers.pop(0) if self.answers else None
        if answer is None:
            self.found.append(f"unexpected dialog: {text}")
        if callable(answer):
            answer(dialog)
        else:
            _decide(dialog, bool(answer))


def _texts_of(dialog: Any) -> list[str]:
    if isinstance(dialog, QtWidgets.QMessageBox):
        return [dialog.text, *filter(None, (dialog.informativeText,))]
    return [label.text for label in dialog.findChildren(QtWidgets.QLabel)]


def _decide(dialog: Any, yes: bool) -> None:
    """Clicks the button of a message box that accepts or rejects; other dialogs are accepted or rejected."""
    roles = QtWidgets.QMessageBox.ButtonRole
    wanted = (roles.AcceptRole, roles.YesRole) if yes else (roles.RejectRole, roles.NoRole)
    if isinstance(dialog, QtWidgets.QMessageBox):
        for button in dialog.buttons():
            if dialog.buttonRole(button) in wanted:
                button.click()
                return
    if not isinstance(dialog, QtWidgets.QDialog):
        dialog.close()
    elif yes:
        dialog.accept()
    else:
        dialog.reject()
