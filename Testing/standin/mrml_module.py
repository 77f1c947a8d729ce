"""Puts the widgets that stand in for those of MRML into the module `slicer`."""

from __future__ import annotations

import slicer

from . import mrml_nodes, mrml_widget, segment_editor, segments_table
from .ui_loader import WIDGETS


def install() -> None:
    for part in (mrml_widget, mrml_nodes, segments_table, segment_editor):
        for name, widget in vars(part).items():
            if WIDGETS.get(name) is widget:
                setattr(slicer, name, widget)
