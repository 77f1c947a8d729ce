"""What most users never open: where the engine runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from SSLSegmentationUI import Place
from SSLSegmentationUI.Engine import NONE, Engine
from SSLSegmentationUI.Widgets import allow

_KINDS = (Place.SLICER, Place.ENVIRONMENT, Place.SERVER)


class AdvancedSection:
    def __init__(
        self, ui: Any, engine: Engine, moved: Callable[[Place.Place], None], setUp: Callable[[], None]
    ) -> None:
        self._ui = ui
        self._engine = engine
        ui.placeSelector.connect("currentIndexChanged(int)", ui.placeStack.setCurrentIndex)
        ui.applyPlaceButton.connect("clicked()", lambda: moved(self.chosen()))
        ui.stopEngineButton.connect("clicked()", engine.stop)
        ui.installButton.connect("clicked()", setUp)
        self.show(engine.place)

    def show(self, place: Place.Place) -> None:
        ui = self._ui
        ui.placeSelector.setCurrentIndex(_KINDS.index(place.kind))
        ui.placeStack.setCurrentIndex(_KINDS.index(place.kind))
        ui.pythonPathEdit.currentPath = place.python
        ui.addressEdit.text = place.address
        ui.tokenEdit.text = place.token
        ui.certificatePathEdit.currentPath = place.certificate

    def chosen(self) -> Place.Place:
        ui = self._ui
        kind = _KINDS[ui.placeSelector.currentIndex]
        address, token = ui.addressEdit.text.strip(), ui.tokenEdit.text.strip()
        return Place.Place(kind, ui.pythonPathEdit.currentPath, address, token, ui.certificatePathEdit.currentPath)

    def update(self, busy: str, lacking: list[str]) -> None:
        ui = self._ui
        ui.installLabel.text = "Missing: " + ", ".join(lacking) if lacking else "All that the engine needs is here."
        allow(ui.installButton, busy or ("" if lacking else "Nothing is missing."))
        allow(ui.applyPlaceButton, busy)
        allow(ui.stopEngineButton, busy or ("" if self._engine.state != NONE else "No engine is running."))
