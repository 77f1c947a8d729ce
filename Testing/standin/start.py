"""Puts the parts together, in the order in which they need each other."""

from __future__ import annotations

import sys
import types
from pathlib import Path

from . import qt_module

qt_module.install()  # before anything below makes an object of Qt

import slicer  # noqa: E402
import slicer.util  # noqa: E402

from . import ctk_module, modules, mrml_module, scripted  # noqa: E402
from .application import fusion_palette, qSlicerApplication  # noqa: E402
from .driver import Driver  # noqa: E402
from .faults import Faults  # noqa: E402
from .files import qSlicerCoreIOManager  # noqa: E402
from .modules import qSlicerAbstractCoreModule  # noqa: E402
from .mrml import start_core  # noqa: E402

WINDOW = (1500, 950)


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
    i18n = types.ModuleType("slicer.i18n")
    i18n.tr, i18n.translate = scripted.tr, scripted.translate  # type: ignore[attr-defined]
    loadable = types.ModuleType("slicer.ScriptedLoadableModule")
    loadable.__all__ = [name for name in vars(scripted) if name.startswith("ScriptedLoadableModule")]  # type: ignore
    for name in loadable.__all__:
        setattr(loadable, name, getattr(scripted, name))
    for module in (i18n, loadable):
        sys.modules[module.__name__] = module
        setattr(slicer, module.__name__.partition(".")[2], module)
    slicer.qSlicerScriptedLoadableModule = modules.qSlicerScriptedLoadableModule
    slicer.qSlicerScriptedLoadableModuleWidget = modules.qSlicerScriptedLoadableModuleWidget
