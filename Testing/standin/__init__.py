"""A small stand-in for the application around a scripted module of 3D Slicer, for tests.

The scene, its logics, the interaction and the pictures are Slicer's own C++ from the package slicer-core. What that
package leaves out - Qt with the manners of PythonQt, the widgets of CTK and MRML, the application, the Python of the
application - is stood in for here on PySide6, as little of it as the module needs. Every class that stands in for one
of C++ has its name, names its header, and offers only what that header lets scripts use; so what runs here may still
fail in the application, but what the application lacks fails here.

    app = Testing.standin.boot()
    widget = app.load_module("SSLSegmentation/SSLSegmentation.py")
    app.view("Red").click(120, 80)
"""

from __future__ import annotations

import ctypes.util
import os
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .driver import Driver


def missing() -> str:
    """What of the system is missing for pictures without a screen, in a sentence; empty where all is there."""
    if sys.platform.startswith("linux") and not ctypes.util.find_library("EGL"):
        return "libEGL is not installed, so nothing can be rendered without a screen: apt-get install libegl1 libgl1"
    return ""


@cache
def boot() -> Driver:
    """The one application of this process, started when it is first asked for."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    if sys.platform.startswith("linux"):
        os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
    from .start import start

    return start(Path(tempfile.mkdtemp(prefix="slicer-stand-in-")))
