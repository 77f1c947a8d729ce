"""The module `ctk` with the widgets that stand in for those of CTK."""

from __future__ import annotations

import sys
import types

from . import ctk_buttons, ctk_numbers, ctk_texts
from .ui_loader import WIDGETS


def install() -> types.ModuleType:
    ctk = types.ModuleType("ctk")
    for part in (ctk_buttons, ctk_numbers, ctk_texts):
        for name, widget in vars(part).items():
            if WIDGETS.get(name) is widget:
                setattr(ctk, name, widget)
    sys.modules["ctk"] = ctk
    return ctk
