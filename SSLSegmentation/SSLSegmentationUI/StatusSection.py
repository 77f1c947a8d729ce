"""The line at the top: what is going on, what comes next, and the buttons that belong to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from SSLSegmentationUI.Engine import LOST, NONE, READY, RESTARTED, STARTING
from SSLSegmentationUI.Work import Work

WORDS = {
    NONE: _("Engine: not started"),
    STARTING: _("Engine: starting"),
    READY: _("Engine: ready"),
    RESTARTED: _("Engine: restarted"),
    LOST: _("Engine: not reachable"),
}
_TITLES = {
    "Segment": _("Segmenting"),
    "Correct": _("Asking the model"),
    "Refine": _("Refining"),
    "Spread": _("Spreading"),
    "Accept": _("Writing"),
    "Split": _("Splitting"),
    "Show": _("Showing"),
    "Get": _("Downloading"),
    "Delete": _("Deleting"),
    "Export": _("Exporting"),
    "Open": _("Opening"),
    "Start": _("Starting the engine"),
}
_PARTS = 1000


class StatusSection:
    def __init__(self, ui: Any, work: Work, nextStep: Callable[[], str], cancel: Callable[[], None]) -> None:
        """`nextStep` says what the user might do when nothing else is to be said."""
        self._ui = ui
        self._work = work
        self._nextStep = nextStep
        ui.cancelButton.connect("clicked()", cancel)
        ui.acceptButton.connect("clicked()", work.accept)
        ui.rejectButton.connect("clicked()", work.reject)
        ui.detailsButton.connect("toggled(bool)", lambda on: self.update())

    def update(self) -> None:
        ui, work = self._ui, self._work
        running = bool(work.operation)
        waiting = work.suggestion is not None and not running
        ui.progressBar.visible = ui.cancelButton.visible = running
        ui.acceptButton.visible = ui.rejectButton.visible = waiting
        ui.messageLabel.text = self._sentence(running, waiting)
        ui.messageLabel.styleSheet = "color: #c03028;" if work.message.isError and not running else ""
        if running:
            self._showProgress()
        ui.engineLabel.text = _("Engine: working") if running and work.engine.isReady else WORDS[work.engine.state]
        details = work.message.details if not running else ""
        ui.detailsButton.visible = bool(details)
        ui.detailsText.visible = bool(details) and ui.detailsButton.checked
        if ui.detailsText.plainText != details:
            ui.detailsText.plainText = details

    def _sentence(self, running: bool, waiting: bool) -> str:
        work = self._work
        if running:
            title = _TITLES.get(work.operation, work.operation)
            isNews = work.stage and not work.part and work.stage != title  # with a number it stands in the bar
            return f"{title}: {work.stage.lower()}…" if isNews else f"{title}…"
        if waiting:
            colours = _("Green would be added, red removed.") if work.suggestion.changesSegments else ""
            question = _("Look through it, then accept or reject it.")
            return " ".join(part for part in (work.suggestion.sentence, colours, question) if part)
        said = work.message.sentence
        if work.message.isError:
            return said
        return " ".join(part for part in (said, self._nextStep()) if part)

    def _showProgress(self) -> None:
        bar, work = self._ui.progressBar, self._work
        # Without a number the bar only shows that something happens.
        bar.maximum = _PARTS if work.part > 0 else 0
        bar.value = int(work.part * _PARTS)
        bar.format = f"{work.stage} %p%"
