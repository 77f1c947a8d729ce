"""The stand-in for the application, once for all tests here; whatever goes wrong in its background fails the test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from Testing.standin.driver import Driver


@pytest.fixture(scope="session")
def running_slicer() -> Driver:
    pytest.importorskip("slicer", reason="slicer-core is not installed")
    pytest.importorskip("PySide6", reason="PySide6 is not installed")
    from Testing import standin

    lacking = standin.missing()
    if lacking:
        pytest.skip(lacking)
    return standin.boot()


@pytest.fixture
def slicer_app(running_slicer: Driver) -> Iterator[Driver]:
    """The application with an empty scene and no module shown; afterwards nothing may have gone wrong in it."""
    running_slicer.reset()
    before = running_slicer.faults.take()
    assert not before, "\n".join(before)
    yield running_slicer
    running_slicer.turn()
    faults = running_slicer.faults.take()
    running_slicer.reset()
    faults += running_slicer.faults.take()
    assert not faults, "\n".join(faults)
