"""PySide6 objects whose attributes behave as PythonQt's do.

Slicer's PythonQt (PythonQtInstanceWrapper.cpp, branch patched-9) has properties as attributes, converts what is
assigned to them, finds dynamic properties and named children as attributes, and refuses attributes that a class of C++
does not have. PySide6 has methods instead and takes any attribute. `apply` changes the classes of PySide6, once for the
process.
"""

from __future__ import annotations

import ctypes
import inspect
from typing import Any, ClassVar

import shiboken6
from PySide6 import QtCore, QtGui, QtNetwork, QtWidgets

QT_MODULES = (QtCore, QtGui, QtWidgets, QtNetwork)
STAND_IN = __package__

_read = QtCore.QObject.property
_write = QtCore.QObject.setProperty
_children = QtCore.QObject.children
_plain_setattr = ctypes.pythonapi.PyObject_GenericSetAttr  # PySide6 has none of its own that could be called
_plain_setattr.argtypes = [ctypes.py_object, ctypes.py_object, ctypes.py_object]
_plain_setattr.restype = ctypes.c_int


class QtProperty:
    """A Q_PROPERTY of C++ as an attribute; on the class, what PySide6 has there, as the static QTimer.singleShot.

    Where the function behind a property is virtual, as sizeHint, PySide6 looks whether Python overrides it, and finds
    this property while it is being read. It is then told of the method of C++, which is no override.
    """

    being_read: ClassVar[set[tuple[int, str]]] = set()

    def __init__(self, name: str, type_name: str, writable: bool, of_class: Any) -> None:
        self.name, self.type_name, self.writable, self.of_class = name, type_name, writable, of_class

    def __get__(self, instance: Any, owner: type) -> Any:
        key = (id(instance), self.name)
        if instance is None or key in self.being_read:
            return self.of_class
        self.being_read.add(key)
        try:
            return _read(instance, self.name)
        finally:
            self.being_read.discard(key)

    def __set__(self, instance: Any, value: Any) -> None:
        if not self.writable:
            raise AttributeError(f"Property '{self.name}' of {type(instance).__name__} object is not writable")
        if not _write(instance, self.name, converted(value, self.type_name, self.name)):
            raise _not_accepted(self.name, self.type_name, value)


def converted(value: Any, type_name: str, name: str) -> Any:
    """What PythonQt makes of a Python value for a property of that type; AttributeError where it would not take it."""
    try:
        if type_name == "QString" and value is not None:
            return str(value)
        if type_name in ("int", "uint", "qlonglong") and not isinstance(value, str):
            return int(value)
        if type_name in ("double", "float"):
            return float(value)
        if type_name == "bool" and not isinstance(value, str):
            return bool(float(value))
        if type_name == "QStringList":
            return [str(item) for item in value]
    except (TypeError, ValueError):
        raise _not_accepted(name, type_name, value) from None
    if type_name in ("QString", "int", "uint", "qlonglong", "bool"):
        raise _not_accepted(name, type_name, value)
    return value


def _not_accepted(name: str, type_name: str, value: Any) -> AttributeError:
    kind = type(value).__name__
    return AttributeError(
        f"Property '{name}' of type '{type_name}' does not accept an object of type {kind} ({value!r})"
    )


def is_from_cplusplus(kind: type) -> bool:
    """Whether a class is one of C++ for the code under test: Qt's own, or one that stands in for it."""
    return kind.__module__.split(".")[0] in ("PySide6", "Shiboken") or kind.__module__.startswith(STAND_IN)


def set_attribute(self: Any, name: str, value: Any) -> None:
    kind = type(self)
    owner = next((base for base in kind.__mro__ if name in vars(base)), None)
    declared = vars(owner)[name] if owner else None
    if isinstance(declared, QtProperty):
        declared.__set__(self, value)
    elif isinstance(declared, QtCore.Property):
        if declared.fset is None:
            raise AttributeError(f"Property '{name}' of {kind.__name__} object is not writable")
        meta = self.metaObject()
        declared.fset(self, converted(value, meta.property(meta.indexOfProperty(name)).typeName(), name))
    elif isinstance(declared, property):
        declared.__set__(self, value)
    elif isinstance(value, QtCore.SignalInstance) or name.startswith("__"):
        _plain_setattr(self, name, value)  # PySide6 itself, which keeps signals with their objects
    elif owner and is_from_cplusplus(owner) and (callable(declared) or isinstance(declared, QtCore.Signal)):
        raise AttributeError(f"Slot or signal '{name}' can not be overwritten on {kind.__name__} object")
    elif not is_from_cplusplus(kind) or (owner and owner.__module__.startswith(STAND_IN)):
        _plain_setattr(self, name, value)
    elif name in _dynamic(self):
        _write(self, name, value)
    else:
        raise AttributeError(
            f"'{name}' does not exist on {kind.__name__} and creating new attributes on C++ objects is not allowed"
        )


def missing_attribute(self: Any, name: str) -> Any:
    if not shiboken6.isValid(self):
        raise ValueError(f"Trying to read '{name}' of a destroyed {type(self).__name__} object")
    if name in _dynamic(self):
        return _read(self, name)
    for child in _children(self):
        if _read(child, "objectName") == name:
            return child
    raise AttributeError(f"{type(self).__name__} has no attribute named '{name}'")


def _dynamic(instance: Any) -> list[str]:
    return [bytes(name.data()).decode() for name in instance.dynamicPropertyNames()]


def apply() -> None:
    for module in QT_MODULES:
        for kind in (getattr(module, name) for name in dir(module)):
            if inspect.isclass(kind) and issubclass(kind, QtCore.QObject):
                kind.__setattr__ = set_attribute
                _install_properties(kind)
                if "exec" in vars(kind):
                    kind.exec_ = kind.exec
    base: Any = QtCore.QObject
    base.__getattr__ = missing_attribute
    base.className = lambda self: self.metaObject().className()
    base.delete = shiboken6.delete
    base.name = property(lambda self: self.objectName, lambda self, name: self.setObjectName(name))
    base.findChildren = find_children
    base.findChild = lambda self, kind=None, name=None: next(iter(find_children(self, kind, name)), None)


def _install_properties(kind: Any) -> None:
    meta = vars(kind).get("staticMetaObject")
    if meta is None:
        return
    for index in range(meta.propertyCount()):
        found = meta.property(index)
        name = found.name()
        if index >= meta.propertyOffset() or name in vars(kind):  # QBoxLayout has a method where QLayout has `spacing`
            setattr(kind, name, QtProperty(name, found.typeName(), found.isWritable(), getattr(kind, name, None)))


_find_children = QtCore.QObject.findChildren


def find_children(self: Any, kind: Any = None, name: str | None = None) -> list[Any]:
    """Children of a class, given as such or by its name, and with an object name, both optional as in PythonQt."""
    return [
        child
        for child in _find_children(self, QtCore.QObject)
        if (kind is None or _is_a(child, kind)) and (name is None or child.objectName == name)
    ]


def _is_a(instance: Any, kind: Any) -> bool:
    if isinstance(kind, str):
        return any(base.__name__ == kind for base in type(instance).__mro__) or instance.inherits(kind)
    return isinstance(instance, kind)
