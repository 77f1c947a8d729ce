"""Spread: from one slice on which a segment is good, to the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from SSLSegmentationUI.Parameters import BOTH_WAYS, UP
from SSLSegmentationUI.Widgets import allow


class SpreadSection:
    def __init__(self, ui: Any, spread: Callable[[], None]) -> None:
        self._ui = ui
        ui.spreadButton.connect("clicked()", spread)

    def update(self, obstacle: str) -> None:
        allow(self._ui.spreadButton, obstacle)

    @staticmethod
    def direction(chosen: str) -> int | None:
        """Along the normal of the view: up is out of the screen, towards the head in an axial view seen from below."""
        if chosen == BOTH_WAYS:
            return None
        return 1 if chosen == UP else -1
