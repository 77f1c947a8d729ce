"""What most users never open: where the engine runs, and models of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from SSLSegmentationUI import Place
from SSLSegmentationUI.Engine import NONE
from SSLSegmentationUI.ModelChoice import consents
from SSLSegmentationUI.Models import Model, Models
from SSLSegmentationUI.Widgets import allow, firstOf
from SSLSegmentationUI.Work import Message, Work

_KINDS = (Place.SLICER, Place.ENVIRONMENT, Place.SERVER)


class AdvancedSection:
    def __init__(
        self,
        ui: Any,
        work: Work,
        models: Models,
        moved: Callable[[Place.Place], None],
        setUp: Callable[[], None],
    ) -> None:
        engine = work.engine
        self._ui = ui
        self._work = work
        self._engine = engine
        self._models = models
        ui.addModelButton.connect("clicked()", self._add)
        ui.addModelPathEdit.connect("currentPathChanged(QString)", lambda path: self._allowAdding(""))
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
        self._allowAdding(busy)

    def _allowAdding(self, busy: str) -> None:
        there = "Models of a server are added there, with sslseg models add." if self._engine.place.isRemote else ""
        chosen = "" if self._ui.addModelPathEdit.currentPath.strip() else "Choose the file of a model first."
        allow(self._ui.addModelButton, firstOf(busy, there, chosen))

    def _add(self) -> None:
        def added(titles: list[str]) -> None:
            said = _("{models} can be chosen now.") if titles else _("All models of this file were there already.")
            self._work.tell(Message(said.format(models=", ".join(titles))))

        def agreed(model: Model) -> bool:
            return consents(model, _("{title} will be copied ({size})."))

        self._models.add(self._ui.addModelPathEdit.currentPath.strip(), agreed, added)
