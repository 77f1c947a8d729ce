"""`slicer.parameterNodeWrapper` for numbers, texts, yes or no, and nodes, with ranges and choices.

Follows Slicer/Base/Python/slicer/parameterNodeWrapper in what is stored in the node, what is refused, and which widget
may be connected to which type: the class of the widget has to be that very one.
"""

from __future__ import annotations

import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import slicer
import vtk
from PySide6 import QtWidgets

from .ctk_numbers import ctkDoubleSpinBox, ctkSliderWidget
from .ctk_texts import ctkComboBox
from .mrml_nodes import qMRMLNodeComboBox

PROPERTY = "SlicerParameterName"


class WithinRange:
    def __init__(self, minimum: float, maximum: float) -> None:
        self.minimum, self.maximum = minimum, maximum

    def validate(self, value: Any) -> None:
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"Value must be within range [{self.minimum}, {self.maximum}], is {value}")


class Choice:
    def __init__(self, choices: list[Any]) -> None:
        self.choices = choices

    def validate(self, value: Any) -> None:
        if value not in self.choices:
            raise ValueError(f"Value is {value}, but must be in one of the following: {self.choices}")


@dataclass
class Parameter:
    name: str
    kind: type
    rules: tuple[Any, ...]
    default: Any

    @property
    def is_node(self) -> bool:
        return issubclass(self.kind, slicer.vtkMRMLNode)

    def check(self, value: Any) -> None:
        allowed = (int, float) if self.kind is float else self.kind
        if value is None and not self.is_node:
            raise ValueError("Value must not be None")
        if value is not None and not isinstance(value, allowed):
            raise TypeError(f"Value must be of type '{allowed}', is type '{type(value)}' value '{value}'")
        for rule in self.rules:
            rule.validate(value)

    def write(self, node: Any, value: Any) -> None:
        self.check(value)
        with slicer.util.NodeModify(node):
            if self.is_node:
                node.SetParameter(self.name, "")
                node.SetNodeReferenceID(self.name, value.GetID() if value is not None else None)
            else:
                node.SetParameter(self.name, str(value))

    def read(self, node: Any) -> Any:
        if not node.HasParameter(self.name):  # closing a scene empties the node
            self.write(node, self.default)
        if self.is_node:
            return node.GetNodeReference(self.name)
        text = node.GetParameter(self.name)
        return text == "True" if self.kind is bool else self.kind(text)


@dataclass
class Connector:
    """How one widget shows and changes one parameter; `signal` is the one PySide6 has for what the user changes."""

    signal: Any
    read: Callable[[], Any]
    write: Callable[[Any], None]


def connector_of(widget: Any, parameter: Parameter) -> Connector:
    kind = type(widget)
    limits = next((rule for rule in parameter.rules if isinstance(rule, WithinRange)), None)
    choice = next((rule for rule in parameter.rules if isinstance(rule, Choice)), None)
    if parameter.is_node and kind is qMRMLNodeComboBox:
        return Connector(widget.currentNodeChanged, widget.currentNode, widget.setCurrentNode)
    if parameter.kind is bool and kind in (QtWidgets.QCheckBox, QtWidgets.QPushButton):
        return Connector(widget.toggled, lambda: widget.checked, widget.setChecked)
    if kind in (QtWidgets.QComboBox, ctkComboBox) and choice and not parameter.is_node:
        widget.clear()
        widget.addItems([str(entry) for entry in choice.choices])
        return Connector(
            widget.currentIndexChanged,
            lambda: choice.choices[widget.currentIndex],
            lambda value: widget.setCurrentIndex(choice.choices.index(value)),
        )
    if parameter.kind is int and kind in (QtWidgets.QSpinBox, QtWidgets.QSlider):
        low, high = (limits.minimum, limits.maximum) if limits else (-(2**31), 2**31 - 1)
        widget.setRange(low, high)
        return Connector(widget.valueChanged, lambda: widget.value, widget.setValue)
    if parameter.kind in (int, float) and kind in (QtWidgets.QDoubleSpinBox, ctkSliderWidget, ctkDoubleSpinBox):
        if kind is ctkSliderWidget and limits is None:
            raise RuntimeError("Cannot have a connection to ctkSliderWidget where the float types is unbounded.")
        if limits:
            widget.minimum, widget.maximum = limits.minimum, limits.maximum
        return Connector(widget.valueChanged, lambda: parameter.kind(widget.value), widget.setValue)
    if parameter.kind is str and kind is QtWidgets.QLineEdit:
        return Connector(widget.textChanged, lambda: widget.text, widget.setText)
    raise RuntimeError(f"Unable to create GUI connector from {kind.__name__} to {parameter.kind.__name__}")


def parameterNodeWrapper(cls: type) -> type:
    """The decorator: members with types become properties that live in a vtkMRMLScriptedModuleNode."""
    parameters = {name: _parameter(cls, name, hint) for name, hint in _hints(cls).items()}
    members: dict[str, Any] = {name: _property(parameter) for name, parameter in parameters.items()}
    members["allParameters"] = parameters
    return type(cls.__name__, (_Wrapper, cls), {"__module__": cls.__module__, "__doc__": cls.__doc__, **members})


def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls, include_extras=True)


def _parameter(cls: type, name: str, hint: Any) -> Parameter:
    kind, rules = (hint.__origin__, hint.__metadata__) if hasattr(hint, "__metadata__") else (hint, ())
    if kind not in (bool, int, float, str) and not (isinstance(kind, type) and issubclass(kind, slicer.vtkMRMLNode)):
        raise TypeError(f"the stand-in has no parameters of type {hint}: {name}")
    empty = None if issubclass(kind, slicer.vtkMRMLNode) else kind()
    return Parameter(name, kind, rules, getattr(cls, name, empty))


def _property(parameter: Parameter) -> property:
    return property(
        lambda self: parameter.read(self.parameterNode),
        lambda self, value: parameter.write(self.parameterNode, value),
    )


class _Wrapper:
    allParameters: dict[str, Parameter]

    def __init__(self, node: Any) -> None:
        self.parameterNode = node
        self._guis: dict[int, tuple[list[tuple[Any, Any]], int]] = {}
        self._updating = False
        for parameter in self.allParameters.values():
            if not node.HasParameter(parameter.name):
                parameter.write(node, parameter.default)

    def getValue(self, name: str) -> Any:
        return getattr(self, self._known(name))

    def setValue(self, name: str, value: Any) -> None:
        setattr(self, self._known(name), value)

    def _known(self, name: str) -> str:
        if name not in self.allParameters:
            raise ValueError(f"Cannot find a param with the given name: {name}")
        return name

    def connectGui(self, gui: Any) -> int:
        """Connects the widgets whose property SlicerParameterName names a parameter; the tag is for disconnectGui."""
        widgets = gui.findChildren(QtWidgets.QWidget) if isinstance(gui, QtWidgets.QWidget) else vars(gui).values()
        return self.connectParametersToGui({w.property(PROPERTY): w for w in widgets if w.property(PROPERTY)})

    def connectParametersToGui(self, mapping: dict[str, Any]) -> int:
        connections, connectors = [], {}
        for name, widget in mapping.items():
            connectors[name] = connector = connector_of(widget, self.allParameters[self._known(name)])
            connector.write(self.getValue(name))
            changed = self._changed(name, connector)
            connector.signal.connect(changed)
            connections.append((connector.signal, changed))

        def show(*_: Any) -> None:
            if self._updating:
                return
            self._updating = True
            try:
                for name, connector in connectors.items():
                    connector.write(self.getValue(name))
            finally:
                self._updating = False

        tag = max(self._guis, default=-1) + 1
        self._guis[tag] = (connections, self.parameterNode.AddObserver(vtk.vtkCommand.ModifiedEvent, show))
        return tag

    def _changed(self, name: str, connector: Connector) -> Callable[..., None]:
        def changed(*_: Any) -> None:
            if not self._updating:
                self.setValue(name, connector.read())

        return changed

    def disconnectGui(self, tag: int) -> None:
        connections, observer = self._guis.pop(tag, ([], None))
        for signal, changed in connections:
            signal.disconnect(changed)
        if observer is not None:
            self.parameterNode.RemoveObserver(observer)

    def StartModify(self) -> int:
        return self.parameterNode.StartModify()

    def EndModify(self, was_modified: int) -> int:
        return self.parameterNode.EndModify(was_modified)

    def AddObserver(self, event: Any, callback: Any, priority: float = 0.0) -> int:
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag: int) -> None:
        self.parameterNode.RemoveObserver(tag)

    def Modified(self) -> None:
        self.parameterNode.Modified()
