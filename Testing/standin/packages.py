"""`slicer.packaging` and pip in Slicer: what is missing is found out for real and asked for, but nothing is installed.

Follows Slicer/Base/Python/slicer/packaging.py. `installed` lists what would have been installed; from then on the
checks take it for present.
"""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any

import slicer
from packaging.requirements import InvalidRequirement, Requirement

installed: list[str] = []


def load_requirements(path: str | Path) -> list[Requirement]:
    lines = (line.partition("#")[0].strip() for line in Path(path).read_text("utf-8").splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("-")]


def pip_check(req: Any, _seen: Any = None) -> bool:
    return all(_meets(requirement) for requirement in _requirements(req))


def pip_ensure(
    requirements: Any,
    constraints: Any = None,
    skip_packages: Any = None,
    prompt_install: bool = True,
    prompt_restart: bool = True,
    requester: str | None = None,
    skip_in_testing: bool = True,
    show_progress: bool = True,
) -> None:
    """Asks before it installs what is missing; RuntimeError when the user says no."""
    missing = [requirement for requirement in _requirements(requirements) if not _meets(requirement)]
    if not missing or (skip_in_testing and slicer.app.testingEnabled()):
        return
    if prompt_install:
        names = "\n".join(f"- {requirement}" for requirement in missing)
        title = f"{requester} - Install Python Packages" if requester else "Install Python Packages"
        question = f"{len(missing)} Python package(s) will be installed into Slicer's Python environment. Continue?"
        if not slicer.util.confirmOkCancelDisplay(question, title, detailedText=names):
            raise RuntimeError("User declined package installation")
    pip_install(missing)


def pip_install(requirements: Any, **_options: Any) -> None:
    installed.extend(str(requirement) for requirement in _requirements(requirements))


def isPipInstallInProgress() -> bool:
    return False


def _requirements(given: Any) -> list[Requirement]:
    if isinstance(given, Requirement):
        return [given]
    if isinstance(given, str):
        try:
            return [Requirement(given)]
        except InvalidRequirement:
            return [Requirement(entry) for entry in given.split()]
    if not isinstance(given, list):
        raise TypeError(f"Expected str, Requirement, or list, got {type(given).__name__}")
    return [entry if isinstance(entry, Requirement) else Requirement(entry) for entry in given]


def _meets(requirement: Requirement) -> bool:
    if requirement.marker is not None and not requirement.marker.evaluate():
        return True
    if any(Requirement(entry).name == requirement.name for entry in installed):
        return True
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return version in requirement.specifier
