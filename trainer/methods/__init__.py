"""The methods by the name the command line and the presets use. A class is imported only when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from SSLSegmentationLib.errors import InputError

if TYPE_CHECKING:
    from trainer.methods.base import Method

METHODS: dict[str, str] = {
    "supervised": "trainer.methods.supervised:Supervised",
}
"""`name: "module:Class"`, one line a method."""


def method_class(name: str) -> type[Method]:
    if name not in METHODS:
        raise InputError(f'There is no method "{name}": choose one of {", ".join(METHODS)}.')
    module, _, kind = METHODS[name].partition(":")
    return getattr(import_module(module), kind)
