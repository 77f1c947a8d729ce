"""Names, colours and codes of the organs in the phantom, as Resources/Organs.json lists them."""

from __future__ import annotations

import json

from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.resources import resource


def organ_labels() -> tuple[Label, ...]:
    """The thirteen organs by value; colours are given as red, green and blue from 0 to 1."""
    listed = json.loads(resource("Organs.json").read_text("utf-8"))["labels"]
    return tuple(
        Label(entry["value"], entry["name"], tuple(c / 255 for c in entry["color"]), entry["terminology"])
        for entry in listed
    )
