"""QUiLoader that makes the widgets of CTK and MRML, and fails where a .ui file names what does not exist."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

from PySide6 import QtCore, QtUiTools, QtWidgets

WIDGETS: dict[str, type[QtWidgets.QWidget]] = {}


def stands_in(kind: type[Any]) -> type[Any]:
    """Makes a widget known to .ui files; the class has the name of the class of C++ that it stands in for."""
    WIDGETS[kind.__name__] = kind
    return kind


class QUiLoader(QtUiTools.QUiLoader):
    """QUiLoader (QtUiTools) as PythonQt has it."""

    def createWidget(self, kind: str, parent: Any = None, name: str = "") -> Any:
        widget = WIDGETS[kind](parent) if kind in WIDGETS else super().createWidget(kind, parent, name)
        if widget is None:
            raise LookupError(f"the .ui file wants a {kind} for {name!r}: no such widget here")
        widget.setObjectName(name)
        return widget

    def load(self, device: Any, parent: Any = None) -> Any:
        """Reads the file without its connections, which PySide6 cannot make for classes of Python, and makes them."""
        source = Path(device).read_bytes() if isinstance(device, str | Path) else bytes(device.readAll().data())
        root = ET.fromstring(source)  # noqa: S314 - our own file
        connections = root.find("connections")
        wanted = [] if connections is None else connections.findall("connection")
        if connections is not None:
            root.remove(connections)
        _check_classes(root)
        _replace_enums(root)
        buffer = QtCore.QBuffer()
        buffer.setData(ET.tostring(root))
        buffer.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
        window = super().load(buffer, parent)
        if window is None:
            raise ValueError(f"QUiLoader: {self.errorString()}")
        _check_properties(root, window)
        for connection in wanted:
            sender, signal, receiver, slot = (connection.findtext(tag, "") for tag in _CONNECTION)
            _find(window, sender).connect(signal, _find(window, receiver), slot)
        return window


_CONNECTION = ("sender", "signal", "receiver", "slot")


def _check_classes(root: ET.Element) -> None:
    for element in root.iter("widget"):
        kind = element.get("class", "")
        if kind not in WIDGETS and not hasattr(QtWidgets, kind):
            raise LookupError(f"the .ui file wants a {kind} for {element.get('name')!r}: no such widget here")


def _replace_enums(root: ET.Element) -> None:
    """Qt knows no enumerations of classes of Python, so they become numbers: <set>ctkX::A|ctkX::B</set>."""
    for element in root.iter("widget"):
        kind = element.get("class", "")
        for entry in element.iterfind("property/*") if kind in WIDGETS else ():
            if entry.tag in ("set", "enum") and (entry.text or "").startswith(f"{kind}::"):
                names = (part.rpartition("::")[2] for part in (entry.text or "").split("|"))
                entry.tag, entry.text = "number", str(sum(int(getattr(WIDGETS[kind], name)) for name in names))


def _check_properties(root: ET.Element, window: Any) -> None:
    """Qt takes an unknown property of a .ui file for a dynamic one; only where the file says so is that meant."""
    for element in root.iter("widget"):
        widget = _find(window, element.get("name", ""))
        for entry in element.findall("property"):
            name = entry.get("name", "")
            if entry.get("stdset") != "0" and widget.metaObject().indexOfProperty(name) < 0:
                raise AttributeError(f"the .ui file sets {name!r} of {element.get('name')!r}: no such property")


def _find(window: Any, name: str) -> Any:
    found = window if window.objectName == name else window.findChild(None, name)
    if found is None:
        raise LookupError(f"the .ui file connects {name!r}: no such object in it")
    return found
