"""The module `qt` as scripts of Slicer know it: the classes of QtCore, QtGui, QtWidgets and QtNetwork in one place."""

from __future__ import annotations

import sys
import types
from typing import Any

from PySide6 import QtWidgets

from . import attributes, signals
from .ui_loader import QUiLoader


class QFileDialog(QtWidgets.QFileDialog):
    """QFileDialog: the static functions of PythonQt give the names alone, PySide6 the chosen filter as well."""

    @staticmethod
    def getOpenFileName(*arguments: Any) -> str:
        return QtWidgets.QFileDialog.getOpenFileName(*arguments)[0]

    @staticmethod
    def getOpenFileNames(*arguments: Any) -> tuple[str, ...]:
        return tuple(QtWidgets.QFileDialog.getOpenFileNames(*arguments)[0])

    @staticmethod
    def getSaveFileName(*arguments: Any) -> str:
        return QtWidgets.QFileDialog.getSaveFileName(*arguments)[0]


def install() -> types.ModuleType:
    attributes.apply()
    signals.apply()
    qt = types.ModuleType("qt")
    for module in attributes.QT_MODULES:
        for name in dir(module):
            if name.startswith("Q"):
                setattr(qt, name, getattr(module, name))
    qt.QFileDialog = QFileDialog  # type: ignore[attr-defined]
    qt.QUiLoader = QUiLoader  # type: ignore[attr-defined]
    sys.modules["qt"] = qt
    return qt
