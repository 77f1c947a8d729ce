"""Small habits of the panel: a button that cannot work says why, and text from elsewhere is text."""

from __future__ import annotations

import html
from typing import Any

TOOLTIP = "SSLSegmentationToolTip"
"""The property that remembers what a button says when it works."""


def allow(button: Any, obstacle: str = "") -> None:
    """Enable a button, or disable it with the obstacle, and what to do about it, as its tooltip."""
    usual = button.property(TOOLTIP)
    if usual is None:
        usual = button.toolTip
        button.setProperty(TOOLTIP, usual)
    button.enabled = not obstacle
    button.toolTip = obstacle or usual


def firstOf(*obstacles: str) -> str:
    """The first thing that stands in the way."""
    return next((obstacle for obstacle in obstacles if obstacle), "")


def plain(text: str) -> str:
    """Names and sentences from elsewhere, for a label that understands HTML."""
    return html.escape(text)


def size(count: int | None) -> str:
    if not count:
        return ""
    return f"{count / 1e6:.0f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"
