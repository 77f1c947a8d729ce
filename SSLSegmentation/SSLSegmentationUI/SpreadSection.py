"""Spread: from one slice on which a segment is good, to the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from SSLSegmentationLib.scene.planes import slice_to_ras

from SSLSegmentationUI.Parameters import BOTH_WAYS, UP
from SSLSegmentationUI.Widgets import allow


class SpreadSection:
    def __init__(self, ui: Any, spread: Callable[[], None]) -> None:
        self._ui = ui
        ui.spreadButton.connect("clicked()", spread)

    def update(self, obstacle: str) -> None:
        allow(self._ui.spreadButton, obstacle)

    @staticmethod
    def towards(chosen: str, view: Any) -> np.ndarray | None:
        """Up is where the numbers of the view's slider grow: towards the head in an axial view."""
        if chosen == BOTH_WAYS:
            return None
        up = slice_to_ras(view)[:3, 2]
        return up if chosen == UP else -up
