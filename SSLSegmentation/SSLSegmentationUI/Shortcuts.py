"""Keys that work while the module is shown, and only then."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import qt
import slicer

# None of those of the embedded Segment Editor: digits, Esc, Space, Z, Y, Q, W, I.
KEYS = {
    "P": "mark what belongs to the segment",
    "M": "mark what does not",
    "B": "place a box",
    "A": "accept what is suggested",
    "X": "reject it",
    "C": "stop what is running, or stop placing",
    "N": "go to the next unsure region",
}


class Shortcuts:
    def __init__(self, actions: Mapping[str, Callable[[], None]]) -> None:
        """What each of KEYS does."""
        self._actions = dict(actions)
        self._shortcuts: list[Any] = []

    def enable(self) -> None:
        self.disable()
        window = slicer.util.mainWindow()
        if window is None:
            return
        for key, action in self._actions.items():
            shortcut = qt.QShortcut(window)
            shortcut.setKey(qt.QKeySequence(key))
            shortcut.connect("activated()", action)
            self._shortcuts.append(shortcut)

    def disable(self) -> None:
        for shortcut in self._shortcuts:
            shortcut.disconnect("activated()")
            shortcut.setParent(None)
            shortcut.deleteLater()
        self._shortcuts.clear()


def asHelp() -> str:
    """The keys as a list in HTML."""
    return "<ul>" + "".join(f"<li><b>{key}</b>: {does}</li>" for key, does in KEYS.items()) + "</ul>"
