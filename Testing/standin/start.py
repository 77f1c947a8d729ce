"""Puts the parts together, in the order in which they need each other."""

from __future__ import annotations

import importlib.machinery
import os
import sys
import types
from collections.abc import Iterable
from pathlib import Path

from . import qt_module

qt_module.install()  # before anything below makes an object of Qt

import slicer  # noqa: E402
import slicer.util  # noqa: E402

from . import ctk_module, modules, mrml_module, packages, parameters, sample_data, scripted  # noqa: E402
from .application import fusion_palette, qSlicerApplication  # noqa: E402
from .driver import Driver  # noqa: E402
from .faults import Faults  # noqa: E402
from .files import qSlicerCoreIOManager  # noqa: E402
from .modules import qSlicerAbstractCoreModule  # noqa: E402
from .mrml import start_core  # noqa: E402

WINDOW = (1500, 950)
PACKAGING = ("load_requirements", "pip_check", "pip_ensure", "pip_install", "isPipInstallInProgress")


def start(folder: Path) -> Driver:
    application = qSlicerApplication(["Slicer"])
    application.setStyle("Fusion")
    application.setPalette(fusion_palette())
    font = application.font()
    font.setPointSize(9)
    application.setFont(font)
    faults = Faults()
    ctk_module.install()
    mrml_module.install()
    _install_python()
    _add_python_slicer(folder)
    slicer.app = application
    slicer.modules = types.SimpleNamespace()
    core = start_core(folder)
    application._start(core, folder, qSlicerCoreIOManager())
    for name, logic in core.module_logics.items():
        application.moduleManager()._add(qSlicerAbstractCoreModule(name, logic))
    application._window.resize(*WINDOW)
    application._window.show()
    driver = Driver(application, faults)
    driver.turn()
    return driver


def _install_python() -> None:
    """The Python files of the application that slicer-core does not bring along."""
    _add_module("slicer.i18n", scripted, ("tr", "translate"))
    classes = [name for name in vars(scripted) if name.startswith("ScriptedLoadableModule")]
    _add_module("slicer.ScriptedLoadableModule", scripted, classes).__all__ = classes  # type: ignore[attr-defined]
    _add_module("slicer.parameterNodeWrapper", parameters, ("parameterNodeWrapper", "WithinRange", "Choice"))
    _add_module("slicer.packaging", packages, PACKAGING)
    _add_module("SampleData", sample_data, ("SampleDataSource", "SampleDataLogic", "downloadSample"))
    slicer.util.pip_install = packages.pip_install
    slicer.qSlicerScriptedLoadableModule = modules.qSlicerScriptedLoadableModule
    slicer.qSlicerScriptedLoadableModuleWidget = modules.qSlicerScriptedLoadableModuleWidget


def _add_module(name: str, source: types.ModuleType, names: Iterable[str]) -> types.ModuleType:
    module = types.ModuleType(name, source.__doc__)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    for each in names:
        setattr(module, each, getattr(source, each))
    sys.modules[name] = module
    if name.startswith("slicer."):
        setattr(slicer, name.removeprefix("slicer."), module)
    return module


def _add_python_slicer(folder: Path) -> None:
    """The application's Python as a program on the PATH; here it is the Python that runs the tests."""
    program = folder / "bin" / "PythonSlicer"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', "utf-8")
    program.chmod(0o755)
    os.environ["PATH"] = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
