"""Choosing a node of the scene."""

from __future__ import annotations

from typing import Any, ClassVar

import slicer
import vtk
from PySide6 import QtCore, QtWidgets

from .ui_loader import stands_in


def _value(name: str, kind: Any) -> Any:
    """A property that changes what can be chosen."""

    def write(self: Any, value: Any) -> None:
        self._values[name] = value
        self._refresh()

    return QtCore.Property(kind, lambda self: self._values[name], write)


def _has(node: Any, name: str, value: Any) -> bool:
    found = node.GetAttribute(name)
    return found is not None and (value is None or found == str(value))


@stands_in
class qMRMLNodeComboBox(QtWidgets.QWidget):
    """qMRMLNodeComboBox (Slicer/Libs/MRML/Widgets/qMRMLNodeComboBox.h)."""

    SIGNALS: ClassVar = (
        *("currentNodeChanged(vtkMRMLNode*)", "currentNodeChanged(bool)", "currentNodeIDChanged(QString)"),
        *("nodeActivated(vtkMRMLNode*)", "nodeAdded(vtkMRMLNode*)", "nodeAddedByUser(vtkMRMLNode*)"),
        *("nodeAboutToBeRemoved(vtkMRMLNode*)", "currentNodeRenamed(QString)"),
    )
    currentNodeChanged = QtCore.Signal((object,), (bool,))
    currentNodeIDChanged = QtCore.Signal(str)
    nodeActivated = QtCore.Signal(object)
    nodeAdded = QtCore.Signal(object)
    nodeAddedByUser = QtCore.Signal(object)
    nodeAboutToBeRemoved = QtCore.Signal(object)
    currentNodeRenamed = QtCore.Signal(str)
    _scene: Any = None
    _current: Any = None
    _wanted: Any = None
    _box: Any = None
    _values: ClassVar[dict[str, Any]] = {}
    _attributes: ClassVar[list[tuple[str, str, Any]]] = []
    _labels: ClassVar[dict[str, str]] = {}
    _observers: ClassVar[list[int]] = []
    _entries: ClassVar[list[Any]] = []
    _known: ClassVar[list[Any]] = []
    _watched: ClassVar[list[tuple[Any, int]]] = []

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._values = {
            **{"nodeTypes": [], "hideChildNodeTypes": [], "baseName": "", "noneDisplay": "None"},
            **{"noneEnabled": False, "addEnabled": True, "removeEnabled": True, "editEnabled": False},
            **{"renameEnabled": False, "showHidden": False, "showChildNodeTypes": True},
            **{"selectNodeUponCreation": True, "interactionNodeSingletonTag": ""},
        }
        self._attributes, self._labels, self._observers, self._known, self._watched = [], {}, [], [], []
        self._box = QtWidgets.QComboBox()
        self._box.setSizeAdjustPolicy(QtWidgets.QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._box)
        self._box.connect("activated(int)", self._on_activated)
        self._fill()
        self.setEnabled(False)

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        if scene is self._scene:
            return
        for tag in self._observers:
            self._scene.RemoveObserver(tag)
        self._scene = scene
        self._observers = self._observe(scene) if scene is not None else []
        self.setEnabled(scene is not None)
        wanted, self._wanted = self._wanted, None
        self._look()
        self._change(self._current if wanted is None else wanted)

    def _observe(self, scene: Any) -> list[int]:
        """As qMRMLSceneModel: nodes of an import are known when it is complete, those of a closed scene until then."""

        def on_added(_caller: Any, _event: str, node: Any) -> None:
            if not scene.IsImporting() and self._fits(node):
                self._refresh()
                self.nodeAdded.emit(node)

        def on_removed(_caller: Any, _event: str, node: Any) -> None:
            if not scene.IsClosing() and node in self._known:
                self.nodeAboutToBeRemoved.emit(node)
                self._refresh(leaving=node)

        on_added.CallDataType = on_removed.CallDataType = vtk.VTK_OBJECT  # type: ignore[attr-defined]
        return [
            scene.AddObserver(scene.NodeAddedEvent, on_added),
            scene.AddObserver(scene.NodeAboutToBeRemovedEvent, on_removed),
            scene.AddObserver(scene.EndImportEvent, lambda *_: self._refresh()),
            scene.AddObserver(scene.EndCloseEvent, lambda *_: self._refresh()),
        ]

    def _refresh(self, leaving: Any = None) -> None:
        """Looks into the scene again; what was chosen stays chosen where it is still there."""
        self._look(leaving)
        self._change(self._current)

    def _look(self, leaving: Any = None) -> None:
        for node, tag in self._watched:
            node.RemoveObserver(tag)
        nodes = (self._scene.GetNthNode(i) for i in range(self._scene.GetNumberOfNodes())) if self._scene else ()
        self._known = [node for node in nodes if node is not leaving and self._fits(node)]
        self._watched = [(node, node.AddObserver("ModifiedEvent", self._on_modified)) for node in self._known]

    def _on_modified(self, node: Any, _event: str) -> None:
        index = self._entries.index(node) if node in self._entries else -1
        if index >= 0 and self._box.itemText(index) != (node.GetName() or ""):
            self._box.setItemText(index, node.GetName() or "")
            if node is self._current:
                self.currentNodeRenamed.emit(node.GetName() or "")

    def _fits(self, node: Any) -> bool:
        """What qMRMLSortFilterProxyModel lets through."""
        if node is None or (node.GetHideFromEditors() and not self._values["showHidden"]):
            return False
        types = self._values["nodeTypes"]
        if not any(
            node.IsA(name) if self._values["showChildNodeTypes"] else node.GetClassName() == name for name in types
        ):
            return False
        if any(node.IsA(name) for name in self._values["hideChildNodeTypes"]):
            return False
        return all(_has(node, name, value) for kind, name, value in self._attributes if node.IsA(kind))

    def _fill(self) -> None:
        """Entries are nodes, None, or the name of a class of which a node can be made."""
        self._entries = [None, *self._known] if self._values["noneEnabled"] else list(self._known)
        texts = [node.GetName() or "" if node is not None else self._values["noneDisplay"] for node in self._entries]
        if self._values["addEnabled"]:
            self._entries = [*self._entries, *self._values["nodeTypes"]]
            texts += [f"Create new {self._label_of(kind)}" for kind in self._values["nodeTypes"]]
        self._box.blockSignals(True)
        self._box.clear()
        self._box.addItems(texts)
        self._box.setCurrentIndex(self._entries.index(self._current) if self._current in self._entries else -1)
        self._box.blockSignals(False)

    def _label_of(self, kind: str) -> str:
        if kind in self._labels:
            return self._labels[kind]
        node = slicer.mrmlScene.CreateNodeByClass(kind)
        if node is None:
            return kind
        node.UnRegister(None)
        return node.GetNodeTagName()

    def _change(self, node: Any) -> None:
        """Shows a node; without None among the entries the first one is taken where there is none."""
        if node not in self._known:
            node = self._known[0] if self._known and not self._values["noneEnabled"] else None
        changed = node is not self._current
        self._current = node
        self._fill()
        if changed:
            self.currentNodeChanged[object].emit(node)
            self.currentNodeChanged[bool].emit(node is not None)
            self.currentNodeIDChanged.emit(node.GetID() if node is not None else "")

    def _on_activated(self, index: int) -> None:
        entry = self._entries[index]
        if isinstance(entry, str):
            self.addNode(entry)
        else:
            self._change(entry)
            self.nodeActivated.emit(entry)

    def currentNode(self) -> Any:
        return self._current

    def setCurrentNode(self, node: Any) -> None:
        if isinstance(node, str):
            node = self._scene.GetNodeByID(node) if self._scene is not None and node else None
        if self._scene is None:
            self._wanted = node
        else:
            self._change(node)

    def setCurrentNodeID(self, node_id: str) -> None:
        self.setCurrentNode(node_id)

    def setCurrentNodeIndex(self, index: int) -> None:
        self._change(self._known[index])

    def nodeCount(self) -> int:
        return len(self._known)

    def nodeFromIndex(self, index: int) -> Any:
        return self._known[index]

    def addAttribute(self, node_type: str, name: str, value: Any = None) -> None:
        self._attributes.append((node_type, name, value))
        self._refresh()

    def removeAttribute(self, node_type: str, name: str) -> None:
        self._attributes = [entry for entry in self._attributes if entry[:2] != (node_type, name)]
        self._refresh()

    def setNodeTypeLabel(self, label: str, node_type: str) -> None:
        self._labels[node_type] = label
        self._fill()

    def nodeTypeLabel(self, node_type: str) -> str:
        return self._label_of(node_type)

    def addNode(self, node_type: str | None = None) -> Any:
        kind = node_type or self._values["nodeTypes"][0]
        node = self._scene.CreateNodeByClass(kind)
        node.UnRegister(None)
        node.SetName(self._scene.GenerateUniqueName(self._values["baseName"] or node.GetNodeTagName()))
        for wanted, name, value in self._attributes:
            if node.IsA(wanted):
                node.SetAttribute(name, "" if value is None else str(value))
        node = self._scene.AddNode(node)
        if self._values["selectNodeUponCreation"]:
            self._change(node)
        self.nodeAddedByUser.emit(node)
        return node

    def removeCurrentNode(self) -> None:
        self._scene.RemoveNode(self._current)

    currentNodeID = QtCore.Property(
        str, lambda self: self._current.GetID() if self._current is not None else "", setCurrentNodeID
    )
    nodeTypes = _value("nodeTypes", "QStringList")
    hideChildNodeTypes = _value("hideChildNodeTypes", "QStringList")
    baseName = _value("baseName", str)
    noneDisplay = _value("noneDisplay", str)
    interactionNodeSingletonTag = _value("interactionNodeSingletonTag", str)
    noneEnabled = _value("noneEnabled", bool)
    addEnabled = _value("addEnabled", bool)
    removeEnabled = _value("removeEnabled", bool)
    editEnabled = _value("editEnabled", bool)
    renameEnabled = _value("renameEnabled", bool)
    showHidden = _value("showHidden", bool)
    showChildNodeTypes = _value("showChildNodeTypes", bool)
    selectNodeUponCreation = _value("selectNodeUponCreation", bool)
