"""The model for whole scans, and the button that segments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from SSLSegmentationUI.ModelChoice import ChoiceWidgets, ModelChoice
from SSLSegmentationUI.Models import Models
from SSLSegmentationUI.Widgets import allow, firstOf


class ModelSection:
    def __init__(self, ui: Any, models: Models, chosen: Callable[[str], None], segment: Callable[[str], None]) -> None:
        self._ui = ui
        self._models = models
        widgets = ChoiceWidgets(ui.modelSelector, ui.modelAboutLabel, ui.getModelButton, ui.deleteModelButton)
        self.choice = ModelChoice(widgets, models, chosen)
        ui.segmentButton.connect("clicked()", lambda: segment(self.choice.id))

    def fill(self, chosen: str) -> None:
        self.choice.fill(self._models.thatSegment, chosen)

    def update(self, obstacle: str, busy: str) -> None:
        """`obstacle` is what keeps the scan from being segmented, `busy` that something runs."""
        self.choice.update(busy)
        # Before the engine runs its models are not known; the click starts it.
        missing = _("There is no model: add one under Advanced.")
        none = missing if self._models.known and not self._models.thatSegment else ""
        allow(self._ui.segmentButton, firstOf(obstacle, none, self.choice.obstacle()))
