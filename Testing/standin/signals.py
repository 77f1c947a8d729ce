"""`connect` and `disconnect` with signatures as text, as PythonQt has them on every QObject.

Two differences from PythonQt are on purpose: it only prints a line when a signal or a slot does not exist and goes on,
here that is an error. Arguments that a function does not take are left out, as PythonQtSignalTarget::call does.

A class that stands in for one of C++ declares its signals in `SIGNALS`, with the arguments of the C++ header, beside
Signals of PySide6 in which everything that PySide6 has no word for is an `object`.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from typing import Any

import shiboken6
from PySide6 import QtCore

from .attributes import QT_MODULES

TYPES = {"bool": bool, "int": int, "double": float, "QString": str, "QStringList": list}

_qt_connect = QtCore.QObject.connect
_qt_disconnect = QtCore.QObject.disconnect
_connections: dict[int, list[tuple[str, Any, Callable[..., Any]]]] = {}


def apply() -> None:
    """PySide6 answers for `connect` of an instance before it looks into the class, so the look-ups are replaced."""
    for module in QT_MODULES:
        for kind in (getattr(module, name) for name in dir(module)):
            if inspect.isclass(kind) and issubclass(kind, QtCore.QObject) and "__getattribute__" in vars(kind):
                kind.__getattribute__ = _look_up(kind.__getattribute__)


def _look_up(original: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
    def look_up(self: Any, name: str) -> Any:
        if name == "connect":
            return types.MethodType(connect, self)
        if name == "disconnect":
            return types.MethodType(disconnect, self)
        return original(self, name)

    return look_up


def connect(self: Any, signal: str, receiver: Any, slot: str | None = None) -> bool:
    if not isinstance(signal, str):  # PySide6 itself, as for QTimer.singleShot
        return _qt_connect(signal, receiver, slot)
    signature = normalized(signal)
    target = receiver if slot is None else slot_of(receiver, slot)
    if not callable(target):
        raise TypeError(f"connect('{signal}', ...) needs something that can be called, not {target!r}")
    taken = arguments_taken(target)

    def call(*arguments: Any) -> None:
        target(*arguments[:taken])

    declared = declared_signal(self, signature)
    if declared is not None:
        declared.connect(call)
    else:
        if self.metaObject().indexOfSignal(signature) < 0:
            raise ValueError(f"QObject::connect() signal '{signal}' does not exist on {type(self).__name__}")
        _qt_connect(self, QtCore.SIGNAL(signature), call)
    _connections_of(self).append((signature, target, call))
    return True


def disconnect(self: Any, signal: str, receiver: Any = None, slot: str | None = None) -> bool:
    """True where something was connected; PythonQt disconnects one connection of a function, and all without one."""
    signature = normalized(signal)
    declared = declared_signal(self, signature)
    if declared is None and self.metaObject().indexOfSignal(signature) < 0:
        raise ValueError(f"QObject::disconnect() signal '{signal}' does not exist on {type(self).__name__}")
    target = receiver if slot is None else slot_of(receiver, slot)
    connections = _connections_of(self)
    found = [entry for entry in connections if entry[0] == signature and (target is None or entry[1] == target)]
    for entry in found if target is None else found[:1]:
        connections.remove(entry)
        if declared is not None:
            declared.disconnect(entry[2])
        else:
            _qt_disconnect(self, QtCore.SIGNAL(signature), entry[2])
    return bool(found)


def normalized(signal: str) -> str:
    text = signal[1:] if signal[:1].isdigit() else signal
    return bytes(QtCore.QMetaObject.normalizedSignature(text).data()).decode()


def declared_signal(instance: Any, signature: str) -> Any:
    """The signal of a class that stands in for one of C++, or None where it declares none of this signature."""
    for kind in type(instance).__mro__:
        if signature in vars(kind).get("SIGNALS", ()):
            name, _, arguments = signature.rstrip(")").partition("(")
            kinds = tuple(TYPES.get(argument, object) for argument in arguments.split(",")) if arguments else ()
            return getattr(instance, name)[kinds] if kinds else getattr(instance, name)
    return None


def slot_of(receiver: Any, slot: str) -> Any:
    name = normalized(slot).partition("(")[0]
    found = getattr(receiver, name, None)
    if not callable(found):
        raise ValueError(f"QObject::connect() slot '{slot}' does not exist on {type(receiver).__name__}")
    return found


def arguments_taken(target: Any) -> int | None:
    """How many arguments a Python function can take; None where that is not known, and all are passed."""
    function = target.__func__ if isinstance(target, types.MethodType) else target
    if not isinstance(function, types.FunctionType) or function.__code__.co_flags & 0x04:  # CO_VARARGS
        return None
    return function.__code__.co_argcount - isinstance(target, types.MethodType)


def _connections_of(instance: Any) -> list[tuple[str, Any, Callable[..., Any]]]:
    """Kept by address: PySide6 may drop and remake the Python side of an object that C++ owns."""
    address = shiboken6.getCppPointer(instance)[0]
    if address not in _connections:
        _connections[address] = []
        _qt_connect(instance, QtCore.SIGNAL("destroyed()"), lambda: _connections.pop(address, None))
    return _connections[address]
