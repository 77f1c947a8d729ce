"""The stand-in for the application, once for all tests here; whatever goes wrong in its background fails the test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from Testing.standin.driver import Driver


@pytest.fixture(scope="session")
def running_slicer() -> Driver:
    from Testing import standin

    if lacking := standin.missing():
        pytest.skip(lacking)
    pytest.importorskip("slicer", reason="slicer-core cannot be imported", exc_type=ImportError)
    pytest.importorskip("PySide6.QtWidgets", reason="PySide6 cannot be imported", exc_type=ImportError)
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
