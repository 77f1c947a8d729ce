"""The module, loaded once; each test begins with an empty scene and the module shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from Testing.slicer.module.bench import ENTRY, Bench

if TYPE_CHECKING:
    from Testing.standin.driver import Driver


@pytest.fixture(scope="session")
def loaded_module(running_slicer: Driver) -> Iterator[Any]:
    widget = running_slicer.load_module(ENTRY)
    yield widget
    widget.cleanup()


@pytest.fixture
def bench(loaded_module: Any, slicer_app: Driver) -> Iterator[Bench]:
    """The module shown, on an empty scene. The engine of the tests before goes on, as it does for users."""
    slicer_app.open_module("SSLSegmentation")
    bench = Bench(slicer_app, loaded_module)
    loaded_module.ui.scrollArea.verticalScrollBar().value = 0  # for the pictures; the test before may have scrolled
    bench.app.turn(5)
    yield bench
    slicer_app.open_module("")
