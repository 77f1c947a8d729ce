"""A list of models to choose from, what is said about the chosen one, and its buttons Get and Delete."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import slicer
from slicer.i18n import tr as _

from SSLSegmentationUI.Models import Model, Models
from SSLSegmentationUI.Widgets import allow, firstOf, plain, size


@dataclass(frozen=True)
class ChoiceWidgets:
    selector: Any
    about: Any
    get: Any
    delete: Any


_WITHOUT = "-"
"""Stands for the choice of no model, where an empty id stands for no choice yet."""

_FITS = 40
"""Characters of a title that the list shows; a longer one, whose end may be what matters, is repeated below."""


class ModelChoice:
    def __init__(
        self,
        widgets: ChoiceWidgets,
        models: Models,
        chosen: Callable[[str], None],
        without: str = "",
    ) -> None:
        """`chosen` is told the id when the user chooses; `without` is the entry for no model, if that is a choice."""
        self._widgets = widgets
        self._models = models
        self._chosen = chosen
        self._without = without
        self._filling = False
        widgets.selector.connect("currentIndexChanged(int)", self._onChosen)
        widgets.get.connect("clicked()", self._get)
        widgets.delete.connect("clicked()", self._delete)

    @property
    def id(self) -> str:
        return "" if self._entry == _WITHOUT else self._entry

    @property
    def _entry(self) -> str:
        return str(self._widgets.selector.currentData or "")

    @property
    def model(self) -> Model | None:
        return self._models.find(self.id)

    def fill(self, models: Sequence[Model], chosen: str) -> None:
        """Show these models, and choose one if it is among them; if none was chosen yet, the first that can be used."""
        entries = [(self._without, _WITHOUT)] if self._without else []
        entries += [(_titled(model), model.id) for model in models]
        self._filling = True
        selector = self._widgets.selector
        selector.clear()
        for text, data in entries:
            selector.addItem(text, data)
        usable = next((model.id for model in models if model.installed and not model.damage), "")
        index = next((n for n, (_text, data) in enumerate(entries) if data == (chosen or usable)), 0 if entries else -1)
        selector.setCurrentIndex(index)
        self._filling = False

    def update(self, obstacle: str) -> None:
        """`obstacle` is what keeps models from being fetched or deleted now."""
        widgets, model = self._widgets, self.model
        widgets.about.text = _about(model) if model else ""
        widgets.about.visible = model is not None
        widgets.get.visible = model is not None and (not model.installed or bool(model.damage))
        widgets.delete.visible = model is not None and model.installed and not model.bundled
        allow(widgets.get, firstOf(obstacle, _noDownload(model)))
        allow(widgets.delete, obstacle)

    def obstacle(self) -> str:
        """Why the chosen model cannot be used."""
        model = self.model
        if model is None:
            return ""
        if model.damage:
            return _("The model is damaged ({damage}): get it again.").format(damage=model.damage)
        return "" if model.installed else _("This model is not on this machine yet: press Get first.")

    def _onChosen(self, index: int) -> None:
        if not self._filling:
            self._chosen(self._entry)

    def _get(self) -> None:
        model = self.model
        if model is not None and consents(model, _("{title} will be downloaded ({size}).")):
            self._models.get(model)

    def _delete(self) -> None:
        model = self.model
        if model is not None and slicer.util.confirmOkCancelDisplay(
            _("Delete {title} ({size}) from the engine's machine?").format(title=model.title, size=size(model.bytes)),
            windowTitle=_("Delete a model"),
        ):
            self._models.delete(model)


def consents(model: Model, what: str) -> bool:
    """The licence is shown before anything is downloaded or copied."""
    about = [
        what.format(title=model.title, size=size(model.bytes) or "?"),
        _("Licence: {licence}.").format(licence=model.licence),
        model.licenceNote,
        model.licenceLink,
        _("By going on you accept this licence."),
    ]
    return slicer.util.confirmOkCancelDisplay("\n\n".join(filter(None, about)), windowTitle=_("Licence of a model"))


def _titled(model: Model) -> str:
    return model.title if model.installed else _("{title} (not installed)").format(title=model.title)


def _about(model: Model) -> str:
    """Modality, licence and size in a line; the licence leads to its text."""
    licence = plain(_("licence {licence}").format(licence=model.licence))
    if model.licenceLink.startswith(("https://", "http://")):
        licence = f'<a href="{plain(model.licenceLink)}">{licence}</a>'
    first = " · ".join(filter(None, (plain(model.modality), licence, size(model.bytes))))
    if len(model.title) > _FITS:
        first = f"{plain(model.title)}<br>{first}"
    rest = [model.segments, _("Not for commercial use.") if model.commercial is False else ""]
    return "<br>".join([first, *(plain(one) for one in rest if one)])


def _noDownload(model: Model | None) -> str:
    if model is None or model.downloadable:
        return ""
    page = model.page or _("its authors")
    return _("It cannot be downloaded from here: get it from {page}, then add it under Advanced.").format(page=page)
