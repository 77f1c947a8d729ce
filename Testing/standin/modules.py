"""Modules of the application: the loadable ones, of which only the logic is there, and the scripted one under test."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any, ClassVar

import slicer
from PySide6 import QtCore, QtGui, QtWidgets

from .mrml_widget import qSlicerWidget


class qSlicerAbstractModuleWidget(qSlicerWidget):
    """qSlicerAbstractModuleWidget (Slicer/Base/QTGUI/qSlicerAbstractModuleWidget.h)."""

    _entered = False

    def enter(self) -> None:
        self._entered = True

    def exit(self) -> None:
        self._entered = False

    isEntered = QtCore.Property(bool, lambda self: self._entered)


class qSlicerAbstractCoreModule(QtCore.QObject):
    """A loadable module (Slicer/Base/QTCore/qSlicerAbstractCoreModule.h), without a widget."""

    _name = ""
    _logic: Any = None
    _widget: Any = None

    def __init__(self, name: str, logic: Any) -> None:
        super().__init__()
        self._name = name
        self._logic = logic

    def logic(self) -> Any:
        return self._logic

    def mrmlScene(self) -> Any:
        return slicer.mrmlScene

    def widgetRepresentation(self) -> Any:
        """Its panel, which is empty here."""
        self._widget = self._widget or qSlicerAbstractModuleWidget()
        return self._widget

    name = QtCore.Property(str, lambda self: self._name)
    title = QtCore.Property(str, lambda self: self._name)


def _written(name: str, kind: Any) -> Any:
    """A property that the module's Python sets and the application reads."""

    def write(self: Any, value: Any) -> None:
        self._values[name] = value

    return QtCore.Property(kind, lambda self: self._values.get(name), write)


class qSlicerScriptedLoadableModule(QtCore.QObject):
    """qSlicerScriptedLoadableModule (Slicer/Base/QTGUI/qSlicerScriptedLoadableModule.h and its base classes)."""

    _path = ""
    _values: ClassVar[dict[str, Any]] = {}
    _widget: Any = None
    _widget_class: Any = None

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path
        self._values = {
            "hidden": False,
            "index": -1,
            "icon": QtGui.QIcon(),
            "associatedNodeTypes": [],
            "extensions": {},
        }
        self._values["widgetRepresentationCreationEnabled"] = True

    def logic(self) -> None:
        """A scripted module has no logic of C++ of its own that a test would need."""

    def mrmlScene(self) -> Any:
        return slicer.mrmlScene

    def widgetRepresentation(self) -> Any:
        """The panel of the module, made and set up when it is first asked for."""
        if self._widget is None:
            widget = qSlicerScriptedLoadableModuleWidget(self.name, self._path)
            widget._set_up()
            self._widget = widget
        return self._widget

    name = QtCore.Property(str, lambda self: Path(self._path).stem)
    path = QtCore.Property(str, lambda self: self._path)
    title = _written("title", str)
    helpText = _written("helpText", str)
    acknowledgementText = _written("acknowledgementText", str)
    categories = _written("categories", "QStringList")
    contributors = _written("contributors", "QStringList")
    dependencies = _written("dependencies", "QStringList")
    associatedNodeTypes = _written("associatedNodeTypes", "QStringList")
    hidden = _written("hidden", bool)
    widgetRepresentationCreationEnabled = _written("widgetRepresentationCreationEnabled", bool)
    index = _written("index", int)
    icon = _written("icon", QtGui.QIcon)
    extensions = _written("extensions", "QVariantMap")


class qSlicerScriptedLoadableModuleWidget(qSlicerAbstractModuleWidget):
    """qSlicerScriptedLoadableModuleWidget (Slicer/Base/QTGUI/qSlicerScriptedLoadableModuleWidget.h)."""

    _module_name = ""
    _path = ""
    _python: Any = None

    def __init__(self, module_name: str, path: str) -> None:
        super().__init__()
        self._module_name = module_name
        self._path = path
        self.setLayout(QtWidgets.QVBoxLayout())
        self.setMRMLScene(slicer.mrmlScene)

    def _set_up(self) -> None:
        self._python = getattr(sys.modules[self._module_name], self._module_name + "Widget")(self)
        setattr(slicer.modules, self._module_name + "Widget", self._python)
        self._python.setup()

    def self(self) -> Any:
        return self._python

    def reload(self) -> None:
        self._set_up()

    def enter(self) -> None:
        super().enter()
        if hasattr(self._python, "enter"):
            self._python.enter()

    def exit(self) -> None:
        super().exit()
        if hasattr(self._python, "exit"):
            self._python.exit()

    moduleName = QtCore.Property(str, lambda self: self._module_name)


class qSlicerModuleFactoryManager(QtCore.QObject):
    """qSlicerModuleFactoryManager (Slicer/Base/QTCore/qSlicerModuleFactoryManager.h), for what is already loaded."""

    _modules: ClassVar[dict[str, Any]] = {}

    def __init__(self, modules: dict[str, Any]) -> None:
        super().__init__()
        self._modules = modules

    def loadedModuleNames(self) -> tuple[str, ...]:
        return tuple(self._modules)

    def isLoaded(self, name: str) -> bool:
        return name in self._modules

    def loadedModule(self, name: str) -> Any:
        return self._modules.get(name)


class qSlicerModuleManager(QtCore.QObject):
    """qSlicerModuleManager (Slicer/Base/QTCore/qSlicerModuleManager.h)."""

    SIGNALS: ClassVar = ("moduleLoaded(QString)", "moduleAboutToBeUnloaded(QString)")
    moduleLoaded = QtCore.Signal(str)
    moduleAboutToBeUnloaded = QtCore.Signal(str)
    _modules: ClassVar[dict[str, Any]] = {}
    _factory: Any = None

    def __init__(self) -> None:
        super().__init__()
        self._modules = {}
        self._factory = qSlicerModuleFactoryManager(self._modules)

    def factoryManager(self) -> Any:
        return self._factory

    def modulesNames(self) -> tuple[str, ...]:
        return tuple(self._modules)

    def module(self, name: str) -> Any:
        return self._modules.get(name)

    def _add(self, module: Any) -> None:
        self._modules[module.name] = module
        setattr(slicer.modules, module.name.lower(), module)
        self.moduleLoaded.emit(module.name)


def load_scripted(path: str | os.PathLike[str], manager: qSlicerModuleManager) -> qSlicerScriptedLoadableModule:
    """What the factory does with a .py file: import it under the module's name and make the module's class."""
    path = os.path.abspath(path)
    name = Path(path).stem
    if os.path.dirname(path) not in sys.path:
        sys.path.insert(0, os.path.dirname(path))
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    sys.modules[name] = python = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(python)
    module = qSlicerScriptedLoadableModule(path)
    instance = getattr(python, name)(module)
    setattr(slicer.modules, name + "Instance", instance)
    if hasattr(instance, "setup"):
        instance.setup()
    manager._add(module)
    return module
