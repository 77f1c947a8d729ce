"""`slicer.app`: the application object of Slicer on QApplication."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

from PySide6 import QtCore, QtGui, QtWidgets

from .layout import qSlicerLayoutManager
from .main_window import qSlicerMainWindow
from .modules import qSlicerModuleManager
from .mrml import Core


class qSlicerApplication(QtWidgets.QApplication):
    """qSlicerApplication (Slicer/Base/QTGUI/qSlicerApplication.h, Base/QTCore/qSlicerCoreApplication.h)."""

    SIGNALS: ClassVar = ("startupCompleted()", "renderPaused(bool)", "mrmlSceneChanged(vtkMRMLScene*)")
    startupCompleted = QtCore.Signal()
    renderPaused = QtCore.Signal(bool)
    mrmlSceneChanged = QtCore.Signal(object)
    _core: Any = None
    _folder: Any = None
    _modules: Any = None
    _layout: Any = None
    _settings: Any = None
    _window: Any = None
    _files: Any = None
    _testing = False

    def _start(self, core: Core, folder: Path, files: Any) -> None:
        """What the constructor does in C++; apart, because settings and scene need a running QApplication."""
        self._core = core
        self._folder = folder
        self._files = files
        self._settings = _settings_in(folder)
        self._modules = qSlicerModuleManager()
        self._layout = qSlicerLayoutManager(core.scene, core.logic)
        self._window = qSlicerMainWindow(self._layout.viewport())

    def applicationLogic(self) -> Any:
        return self._core.logic

    def mrmlScene(self) -> Any:
        return self._core.scene

    def moduleManager(self) -> Any:
        return self._modules

    def moduleLogic(self, name: str) -> Any:
        return self._core.module_logics.get(name)

    def layoutManager(self) -> Any:
        return self._layout

    def coreIOManager(self) -> Any:
        return self._files

    def ioManager(self) -> Any:
        return self._files

    def settings(self) -> Any:
        return self._settings

    def userSettings(self) -> Any:
        return self._settings

    def revisionUserSettings(self) -> Any:
        return self._settings

    def startupEnvironment(self) -> Any:
        return QtCore.QProcessEnvironment.systemEnvironment()

    def environment(self) -> Any:
        return QtCore.QProcessEnvironment.systemEnvironment()

    def commandOptions(self) -> Any:
        return SimpleNamespace(noMainWindow=False, testingEnabled=self._testing)

    def testingEnabled(self) -> bool:
        return self._testing

    def moduleDocumentationUrl(self, name: str) -> str:
        return f"{self.documentationBaseUrl}user_guide/modules/{name.lower()}.html"

    def pauseRender(self) -> None:
        self._layout.pauseRender()

    def resumeRender(self) -> None:
        self._layout.resumeRender()

    def setRenderPaused(self, pause: bool) -> None:
        self.pauseRender() if pause else self.resumeRender()

    slicerHome = QtCore.Property(str, lambda self: str(self._folder))
    temporaryPath = QtCore.Property(str, lambda self: str(self._folder))
    cachePath = QtCore.Property(str, lambda self: str(self._folder / "cache"))
    slicerUserSettingsFilePath = QtCore.Property(str, lambda self: self._settings.fileName())
    extensionsInstallPath = QtCore.Property(str, lambda self: str(self._folder / "extensions"))
    documentationBaseUrl = QtCore.Property(str, lambda self: "https://slicer.readthedocs.io/en/latest/")
    mainApplicationName = QtCore.Property(str, lambda self: "Slicer")
    mainApplicationDisplayName = QtCore.Property(str, lambda self: "3D Slicer")
    revision = QtCore.Property(str, lambda self: "stand-in")
    majorVersion = QtCore.Property(int, lambda self: 5)
    minorVersion = QtCore.Property(int, lambda self: 12)
    isInstalled = QtCore.Property(bool, lambda self: False)


def fusion_palette() -> QtGui.QPalette:
    """The light colours of Slicer, the same on every machine."""
    palette = QtGui.QPalette()
    role, group = QtGui.QPalette.ColorRole, QtGui.QPalette.ColorGroup
    for which, colour in (
        (role.Window, "#efefef"),
        (role.Base, "#ffffff"),
        (role.AlternateBase, "#f5f5f5"),
        (role.Button, "#e9e9e9"),
        (role.WindowText, "#1c1c1c"),
        (role.Text, "#1c1c1c"),
        (role.ButtonText, "#1c1c1c"),
        (role.Highlight, "#2f6fb5"),
        (role.HighlightedText, "#ffffff"),
        (role.ToolTipBase, "#ffffdc"),
        (role.ToolTipText, "#1c1c1c"),
    ):
        palette.setColor(which, QtGui.QColor(colour))
    for which in (role.WindowText, role.Text, role.ButtonText):
        palette.setColor(group.Disabled, which, QtGui.QColor("#9a9a9a"))
    return palette


def _settings_in(folder: Path) -> QtCore.QSettings:
    """The settings of this application, which `QSettings()` gives everybody, as in Slicer; the user's own are safe."""
    kind = QtCore.QSettings.Format.IniFormat
    QtCore.QSettings.setDefaultFormat(kind)
    QtCore.QSettings.setPath(kind, QtCore.QSettings.Scope.UserScope, str(folder))
    QtCore.QCoreApplication.setOrganizationName("slicer.org")
    QtCore.QCoreApplication.setApplicationName("Slicer")
    settings = QtCore.QSettings()
    settings.setFallbacksEnabled(False)
    return settings
