"""What the engine needs in Slicer's Python: what is missing, and installing it after asking.

torch comes through the PyTorch extension, which knows the graphics card; the rest through Slicer's own installer.
Nothing is installed before the user has pressed a button and has said yes to a list.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from pathlib import Path

import slicer
from slicer.i18n import tr as _
from SSLSegmentationLib.errors import InputError

NAME = "SSLSegmentation"
TORCH = ">=2.8"


def missing(file: Path) -> list[str]:
    """The requirements of a file that Slicer's Python does not meet, torch before all."""
    found = [] if _installed("torch") else [f"torch{TORCH}"]
    return found + [line for line in _lines(file) if not _meets(line)]


def install(file: Path) -> bool:
    """Ask, and install what is missing; whether it is all there now. This is the one place where windows may open."""
    if not _installed("torch"):
        _installTorch()
    if not _installed("torch"):
        return False
    wanted = [line for line in _lines(file) if not _meets(line)]
    if wanted and _hasPackaging():
        from slicer import packaging

        try:
            packaging.pip_ensure(packaging.load_requirements(str(file)), requester=NAME)
        except RuntimeError:  # the user has said no
            return False
    elif wanted:  # Slicer 5.10
        listed = "\n".join(f"- {line}" for line in wanted)
        question = _("These packages will be downloaded and installed into Slicer's Python. Continue?")
        if not slicer.util.confirmOkCancelDisplay(question, windowTitle=NAME, detailedText=listed):
            return False
        for line in wanted:
            slicer.util.pip_install([line])
    importlib.invalidate_caches()
    return not missing(file)


def _installTorch() -> None:
    try:
        import PyTorchUtils
    except ImportError as error:
        raise InputError(
            "The extension PyTorch is missing: install it in the Extensions Manager, and start Slicer again."
        ) from error
    PyTorchUtils.PyTorchUtilsLogic().installTorch(askConfirmation=True, torchVersionRequirement=TORCH)
    importlib.invalidate_caches()


def _lines(file: Path) -> list[str]:
    lines = (line.partition("#")[0].strip() for line in file.read_text("utf-8").splitlines())
    return [line for line in lines if line]


def _meets(requirement: str) -> bool:
    if _hasPackaging():
        from slicer import packaging

        return packaging.pip_check(requirement)
    return _installed(re.split(r"[\s<>=!~;\[]", requirement, maxsplit=1)[0])


def _installed(name: str) -> bool:
    """By its metadata: importing it into Slicer would load it here, where it is not used."""
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _hasPackaging() -> bool:
    """From Slicer 5.12 on."""
    return importlib.util.find_spec("slicer.packaging") is not None
