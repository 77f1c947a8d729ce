"""Paths and choices in widgets of CTK."""

from __future__ import annotations

import enum
import os
from typing import Any, ClassVar

from PySide6 import QtCore, QtWidgets

from .ui_loader import stands_in


@stands_in
class ctkComboBox(QtWidgets.QComboBox):
    """ctkComboBox (CTK/Libs/Widgets/ctkComboBox.h): a combo box with a text for when nothing is chosen."""

    _default_text = ""

    def _set_default_text(self, text: str) -> None:
        self._default_text = text
        self.setPlaceholderText(text)

    defaultText = QtCore.Property(str, lambda self: self._default_text, _set_default_text)


@stands_in
class ctkPathLineEdit(QtWidgets.QWidget):
    """ctkPathLineEdit (CTK/Libs/Widgets/ctkPathLineEdit.h)."""

    class Filter(enum.IntFlag):
        Dirs = 0x001
        Files = 0x002
        Drives = 0x004
        NoSymLinks = 0x008
        Readable = 0x010
        Writable = 0x020
        Executable = 0x040
        Hidden = 0x100
        NoDot = 0x2000
        NoDotDot = 0x4000

    Dirs, Files, Drives, NoSymLinks = Filter.Dirs, Filter.Files, Filter.Drives, Filter.NoSymLinks
    Readable, Writable, Executable, Hidden = Filter.Readable, Filter.Writable, Filter.Executable, Filter.Hidden
    NoDot, NoDotDot = Filter.NoDot, Filter.NoDotDot

    SIGNALS: ClassVar = ("currentPathChanged(QString)", "validInputChanged(bool)")
    currentPathChanged = QtCore.Signal(str)
    validInputChanged = QtCore.Signal(bool)
    _box: Any = None
    _browse: Any = None
    _filters = int(Filter.Dirs | Filter.Files | Filter.Drives)
    _name_filters: ClassVar[list[str]] = []
    _label = ""
    _key = ""
    _history = True
    _valid = False

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._box = QtWidgets.QComboBox()
        self._box.setEditable(True)
        self._box.setSizePolicy(QtWidgets.QSizePolicy.Policy.Expanding, QtWidgets.QSizePolicy.Policy.Fixed)
        self._browse = QtWidgets.QToolButton()
        self._browse.setText("…")
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(2)
        row.addWidget(self._box, 1)
        row.addWidget(self._browse)
        self._box.connect("editTextChanged(QString)", self._on_text)
        self._browse.connect("clicked()", self.browse)

    def _on_text(self, path: str) -> None:
        wanted = os.path.isdir(path) if not self._filters & self.Files else os.path.exists(path)
        if wanted != self._valid:
            self._valid = wanted
            self.validInputChanged.emit(wanted)
        self.currentPathChanged.emit(path)

    def comboBox(self) -> Any:
        return self._box

    def setCurrentPath(self, path: str) -> None:
        if path != self._box.currentText:
            self._box.setEditText(path)

    def browse(self) -> None:
        import qt

        if self._filters & self.Files:
            filters = ";;".join(self._name_filters)
            path = qt.QFileDialog.getOpenFileName(self, self._label, self._box.currentText, filters)
        else:
            path = qt.QFileDialog.getExistingDirectory(self, self._label, self._box.currentText)
        if path:
            self.setCurrentPath(path)

    def addCurrentPathToHistory(self) -> None:
        path = self._box.currentText
        if path and self._box.findText(path) < 0:
            self._box.insertItem(0, path)
            self._settings().setValue(self._key, [self._box.itemText(i) for i in range(self._box.count)])

    def retrieveHistory(self) -> None:
        path = self._box.currentText
        self._box.clear()
        self._box.addItems(self._settings().value(self._key, []) or [])
        self._box.setEditText(path)

    def _settings(self) -> Any:
        import slicer

        return slicer.app.settings()

    def _set_key(self, key: str) -> None:
        self._key = key
        self.retrieveHistory()

    currentPath = QtCore.Property(str, lambda self: self._box.currentText, setCurrentPath)
    filters = QtCore.Property(int, lambda self: self._filters, lambda self, value: setattr(self, "_filters", value))
    nameFilters = QtCore.Property(
        "QStringList", lambda self: self._name_filters, lambda self, value: setattr(self, "_name_filters", value)
    )
    label = QtCore.Property(str, lambda self: self._label, lambda self, value: setattr(self, "_label", value))
    settingKey = QtCore.Property(str, lambda self: self._key, _set_key)
    showBrowseButton = QtCore.Property(
        bool, lambda self: not self._browse.isHidden(), lambda self, value: self._browse.setVisible(value)
    )
    showHistoryButton = QtCore.Property(
        bool, lambda self: self._history, lambda self, value: setattr(self, "_history", value)
    )
