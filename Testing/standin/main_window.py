"""The main window: the module's panel at the left, the views at the right, a line of status below."""

from __future__ import annotations

from typing import Any, ClassVar

import slicer
from PySide6 import QtCore, QtWidgets

PANEL_WIDTH = 500  # what a panel of Slicer has on a usual screen


class qSlicerModuleSelectorToolBar(QtWidgets.QToolBar):
    """qSlicerModuleSelectorToolBar (Slicer/Base/QTGUI/qSlicerModuleSelectorToolBar.h)."""

    SIGNALS: ClassVar = ("moduleSelected(QString)",)
    moduleSelected = QtCore.Signal(str)
    _selected = ""
    _label: Any = None

    def __init__(self, parent: Any = None) -> None:
        super().__init__("Module selection", parent)
        self.setMovable(False)
        self.addWidget(QtWidgets.QLabel(" Modules: "))
        self._label = QtWidgets.QLabel()
        self._label.setStyleSheet("font-weight: bold; padding: 3px;")
        self.addWidget(self._label)

    def selectModule(self, name: str) -> None:
        if name == self._selected:
            return
        module = slicer.app.moduleManager().module(name) if name else None
        if name and module is None:
            raise LookupError(f"there is no module {name!r}")
        self._selected = name
        self._label.setText(module.title if module else "")
        self.moduleSelected.emit(name)

    selectedModule = QtCore.Property(str, lambda self: self._selected, selectModule)


class qSlicerMainWindow(QtWidgets.QMainWindow):
    """qSlicerMainWindow (Slicer/Base/QTGUI/qSlicerMainWindow.h)."""

    _selector: Any = None
    _panel: Any = None
    _shown: Any = None

    def __init__(self, views: QtWidgets.QWidget) -> None:
        super().__init__()
        self.setObjectName("qSlicerMainWindow")
        self.setWindowTitle("3D Slicer stand-in")
        self._selector = qSlicerModuleSelectorToolBar(self)
        self._selector.connect("moduleSelected(QString)", self._show_module)
        self.addToolBar(self._selector)
        self._panel = QtWidgets.QScrollArea()
        self._panel.setWidgetResizable(True)
        self._panel.setHorizontalScrollBarPolicy(QtCore.Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._panel.setMinimumWidth(PANEL_WIDTH)
        self._panel.setFrameShape(QtWidgets.QFrame.Shape.NoFrame)
        split = QtWidgets.QSplitter()
        split.addWidget(self._panel)
        split.addWidget(views)
        split.setStretchFactor(1, 1)
        split.setSizes([PANEL_WIDTH, 1000])
        self.setCentralWidget(split)
        self.statusBar()

    def moduleSelector(self) -> Any:
        return self._selector

    def _show_module(self, name: str) -> None:
        if self._shown is not None:
            self._shown.exit()
            self._panel.takeWidget()
        self._shown = slicer.app.moduleManager().module(name).widgetRepresentation() if name else None
        if self._shown is not None:
            self._panel.setWidget(self._shown)
            self._shown.enter()
