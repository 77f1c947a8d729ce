"""Label: what one value of a label map means. A word of its own, used by models and by files alike."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Label:
    value: int
    name: str
    color: tuple[float, float, float] = (0.5, 0.5, 0.5)
    """Red, green and blue from 0 to 1."""
    terminology: str = ""
    """A terminology entry as Slicer writes it into the tag of a segment; empty if none is known."""
