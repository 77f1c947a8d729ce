"""The widget of the Segment Editor on Slicer's own editor logic, with two effects: Paint and Erase."""

from __future__ import annotations

from typing import Any, ClassVar

import slicer
import vtk
from PySide6 import QtCore, QtGui, QtWidgets

from .brush import qSlicerSegmentEditorAbstractEffect
from .mrml_nodes import qMRMLNodeComboBox
from .mrml_widget import qMRMLWidget
from .segments_table import qMRMLSegmentsTableView
from .ui_loader import stands_in

Editor, Segmentation = slicer.vtkMRMLSegmentEditorNode, slicer.vtkMRMLSegmentationNode
MASKS = {
    "Everywhere": Segmentation.EditAllowedEverywhere,
    "Inside all segments": Segmentation.EditAllowedInsideAllSegments,
    "Inside all visible segments": Segmentation.EditAllowedInsideVisibleSegments,
    "Outside all segments": Segmentation.EditAllowedOutsideAllSegments,
    "Outside all visible segments": Segmentation.EditAllowedOutsideVisibleSegments,
}
OVERWRITE = {
    "Overwrite all": Editor.OverwriteAllSegments,
    "Overwrite visible": Editor.OverwriteVisibleSegments,
    "Allow overlap": Editor.OverwriteNone,
}
UNDO_KEYS, REDO_KEYS = ("Z", "Ctrl+Z"), ("Y", "Ctrl+Y")
PREVIOUS_KEYS, NEXT_KEYS = ("Q", "/", ",", ">"), ("W", "*", ".", "<")


@stands_in
class qMRMLSegmentEditorWidget(qMRMLWidget):
    """qMRMLSegmentEditorWidget (Slicer/Modules/Loadable/Segmentations/Widgets/qMRMLSegmentEditorWidget.h)."""

    SIGNALS: ClassVar = (
        *("currentSegmentIDChanged(QString)", "sourceVolumeNodeChanged(vtkMRMLVolumeNode*)"),
        "segmentationNodeChanged(vtkMRMLSegmentationNode*)",
    )
    currentSegmentIDChanged = QtCore.Signal(str)
    sourceVolumeNodeChanged = QtCore.Signal(object)
    segmentationNodeChanged = QtCore.Signal(object)
    _logic: Any = None
    _node: Any = None
    _of_node = 0
    _observers: ClassVar[list[tuple[Any, int]]] = []
    _of_segmentation: ClassVar[list[tuple[Any, int]]] = []
    _segmentation: Any = None
    _volume: Any = None
    _segment = ""
    _effects: ClassVar[dict[str, Any]] = {}
    _active: Any = None
    _updating = False
    _shortcuts: ClassVar[list[Any]] = []
    _auto_show = True
    _read_only = False
    _last_effect = ""
    _segmentations: Any = None
    _volumes: Any = None
    _add: Any = None
    _remove: Any = None
    _table: Any = None
    _buttons: Any = None
    _effects_box: Any = None
    _masking: Any = None
    _mask: Any = None
    _overwrite: Any = None
    _undo: Any = None
    _redo: Any = None

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._observers, self._of_segmentation, self._shortcuts = [], [], []
        self._logic = slicer.vtkSlicerSegmentEditorLogic()
        self._effects = {name: qSlicerSegmentEditorAbstractEffect(name, self) for name in ("Paint", "Erase")}
        self._build()
        self._logic.AddObserver(self._logic.SegmentationHistoryChangedEvent, lambda *_: self._update_undo())
        self._logic.AddObserver(self._logic.PauseRenderEvent, lambda *_: slicer.app.pauseRender())
        self._logic.AddObserver(self._logic.ResumeRenderEvent, lambda *_: slicer.app.resumeRender())

    def _build(self) -> None:
        self._segmentations = _selector("SegmentationNodeComboBox", "vtkMRMLSegmentationNode", add=True)
        self._volumes = _selector("SourceVolumeNodeComboBox", "vtkMRMLScalarVolumeNode", add=False)
        self._add = _button("AddSegmentButton", "Add")
        self._remove = _button("RemoveSegmentButton", "Remove")
        self._undo, self._redo = _button("UndoButton", "Undo"), _button("RedoButton", "Redo")
        self._table = qMRMLSegmentsTableView()
        self._table.setObjectName("SegmentsTableView")
        self._effects_box = QtWidgets.QFrame()
        self._effects_box.setObjectName("EffectsGroupBox")
        self._buttons = QtWidgets.QButtonGroup(self)
        self._mask, self._overwrite = QtWidgets.QComboBox(), QtWidgets.QComboBox()
        for text, value in MASKS.items():
            self._mask.addItem(text, value)
        for text, value in OVERWRITE.items():
            self._overwrite.addItem(text, value)
        self._lay_out()
        self._segmentations.connect("currentNodeChanged(vtkMRMLNode*)", self._on_segmentation)
        self._volumes.connect("currentNodeChanged(vtkMRMLNode*)", self._on_volume)
        self._table.connect("selectionChanged(QItemSelection,QItemSelection)", self._on_row)
        self._table.connect("segmentAboutToBeModified(QString)", self.saveStateForUndo)
        self._add.connect("clicked()", lambda: self._logic.AddEmptySegment("", 0))
        self._remove.connect("clicked()", self._logic.RemoveSelectedSegment)
        self._undo.connect("clicked()", self.undo)
        self._redo.connect("clicked()", self.redo)
        self._mask.connect("currentIndexChanged(int)", self._on_mask)
        self._overwrite.connect("currentIndexChanged(int)", self._on_overwrite)

    def _lay_out(self) -> None:
        column = QtWidgets.QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        form = QtWidgets.QFormLayout()
        form.addRow("Segmentation:", self._segmentations)
        form.addRow("Source volume:", self._volumes)
        column.addLayout(form)
        column.addLayout(_row(self._add, self._remove))
        column.addWidget(self._table)
        effects = QtWidgets.QHBoxLayout(self._effects_box)
        effects.setContentsMargins(0, 0, 0, 0)
        for name in ("None", *self._effects):
            button = QtWidgets.QToolButton()
            button.setText(name)
            button.setObjectName(name)
            button.setCheckable(True)
            button.connect("clicked()", lambda name=name: self.setActiveEffectByName("" if name == "None" else name))
            self._buttons.addButton(button)
            effects.addWidget(button)
        effects.addStretch(1)
        for button in (self._undo, self._redo):
            effects.addWidget(button)
        column.addWidget(self._effects_box)
        self._masking = QtWidgets.QGroupBox("Masking")
        self._masking.setObjectName("MaskingGroupBox")
        masking = QtWidgets.QFormLayout(self._masking)
        masking.addRow("Editable area:", self._mask)
        masking.addRow("Modify other segments:", self._overwrite)
        column.addWidget(self._masking)

    def setMRMLScene(self, scene: Any) -> None:
        if scene is self._scene:
            return
        for observed, tag in self._observers:
            observed.RemoveObserver(tag)
        self._observers = []
        self._updating = True
        super().setMRMLScene(scene)
        self._segmentations.setMRMLScene(scene)
        self._volumes.setMRMLScene(scene)
        self._updating = False
        self._logic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        self._logic.SetMRMLScene(scene)
        self._logic.SetVerbose(True)
        if scene is not None:
            for event in (scene.EndCloseEvent, scene.EndBatchProcessEvent):
                self._observers.append((scene, scene.AddObserver(event, lambda *_: self.updateWidgetFromMRML())))
        self.updateWidgetFromMRML()

    def mrmlSegmentEditorNode(self) -> Any:
        return self._node

    def setMRMLSegmentEditorNode(self, node: Any) -> None:
        if node is self._node:
            return
        if self._node is not None:
            self._node.RemoveObserver(self._of_node)
        self._node = node
        self._logic.SetSegmentEditorNode(node)
        if node is not None:
            self._of_node = node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self.updateWidgetFromMRML())
            self.updateWidgetFromMRML()

    def segmentationNode(self) -> Any:
        return self._logic.GetSegmentationNode()

    def segmentationNodeID(self) -> str:
        node = self.segmentationNode()
        return node.GetID() if node is not None else ""

    def sourceVolumeNode(self) -> Any:
        return self._logic.GetSourceVolumeNode()

    def sourceVolumeNodeID(self) -> str:
        node = self.sourceVolumeNode()
        return node.GetID() if node is not None else ""

    def setSegmentationNode(self, node: Any) -> None:
        if node is not self.segmentationNode():
            self._logic.SetSegmentationNode(node)
            self.setActiveEffect(None)

    def setSegmentationNodeID(self, node_id: str) -> None:
        self.setSegmentationNode(slicer.mrmlScene.GetNodeByID(node_id))

    def setSourceVolumeNode(self, node: Any) -> None:
        if node is not self.sourceVolumeNode():
            self._logic.SetSourceVolumeNode(node)

    def setSourceVolumeNodeID(self, node_id: str) -> None:
        self.setSourceVolumeNode(slicer.mrmlScene.GetNodeByID(node_id))

    def currentSegmentID(self) -> str:
        return (self._node.GetSelectedSegmentID() or "") if self._node is not None else ""

    def setCurrentSegmentID(self, segment_id: str) -> None:
        if self._node is not None:
            self._node.SetSelectedSegmentID(segment_id)

    def updateWidgetFromMRML(self) -> None:
        scene = self._scene
        if self._updating or scene is None or scene.IsClosing() or scene.IsBatchProcessing() or self._node is None:
            return
        self._updating = True
        try:
            self._follow_segmentation()
            self._follow_volume()
            self._show()
        finally:
            self._updating = False
        self._announce_segment()

    def _follow_segmentation(self) -> None:
        node = self.segmentationNode()
        self._segmentations.setCurrentNode(node)
        if node is self._segmentation:
            return
        for observed, tag in self._of_segmentation:
            observed.RemoveObserver(tag)
        self._segmentation = node
        self._of_segmentation = []
        self._table.setSegmentationNode(node)
        if node is not None:
            for event in (slicer.vtkSegmentation.SegmentAdded, slicer.vtkSegmentation.SegmentRemoved):
                tag = node.AddObserver(event, lambda *_: self.updateWidgetFromMRML())
                self._of_segmentation.append((node, tag))
            role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
            if node.GetNodeReference(role) is not None:
                self.setSourceVolumeNode(node.GetNodeReference(role))
            node.CreateDefaultDisplayNodes()
            if node.GetSegmentation().GetNumberOfSegments() and not self._is_segment(self.currentSegmentID()):
                self._logic.SelectFirstSegment(False)
        self.segmentationNodeChanged.emit(node)

    def _follow_volume(self) -> None:
        node = self.sourceVolumeNode()
        self._volumes.setCurrentNode(node)
        if self.segmentationNode() is None or node is self._volume:
            return
        self._volume = node
        if node is not None and self._auto_show:
            self.showSourceVolumeInSliceViewers()
        self.sourceVolumeNodeChanged.emit(node)

    def _is_segment(self, segment_id: str) -> bool:
        node = self.segmentationNode()
        return bool(segment_id) and node is not None and node.GetSegmentation().GetSegmentIndex(segment_id) >= 0

    def _show(self) -> None:
        node, segment_id = self.segmentationNode(), self.currentSegmentID()
        valid = self._is_segment(segment_id)
        self._table.setSelectedSegmentIDs([segment_id] if valid else [])
        self._volumes.setEnabled(node is not None)
        self._add.setEnabled(self._logic.CanAddSegments() and not self._read_only)
        self._remove.setEnabled(valid and not self._read_only)
        self._table.setReadOnly(self._read_only)
        self._effects_box.setEnabled(self.sourceVolumeNode() is not None and not self._read_only)
        self._masking.setEnabled(node is not None)
        self._active = self._effects.get(self._node.GetActiveEffectName() or "") if valid else None
        name = self._active.name if self._active else "None"
        for button in self._buttons.buttons():
            button.setChecked(button.text == name)
        self._mask.setCurrentIndex(self._mask.findData(self._node.GetMaskMode()))
        self._overwrite.setCurrentIndex(self._overwrite.findData(self._node.GetOverwriteMode()))
        self._update_undo()

    def _announce_segment(self) -> None:
        if self.currentSegmentID() != self._segment:
            self._segment = self.currentSegmentID()
            self.currentSegmentIDChanged.emit(self._segment)

    def _update_undo(self) -> None:
        self._undo.setEnabled(not self._read_only and self._logic.CanUndo())
        self._redo.setEnabled(not self._read_only and self._logic.CanRedo())

    def _on_segmentation(self, node: Any) -> None:
        if not self._updating and not slicer.mrmlScene.IsBatchProcessing():
            self.setSegmentationNode(node)

    def _on_volume(self, node: Any) -> None:
        if not self._updating and not slicer.mrmlScene.IsBatchProcessing():
            self.setSourceVolumeNode(node)

    def _on_row(self) -> None:
        if not self._updating and self._node is not None:
            chosen = self._table.selectedSegmentIDs()
            self._node.SetSelectedSegmentID(chosen[0] if chosen else None)

    def _on_mask(self) -> None:
        if not self._updating and self._node is not None:
            self._node.SetMaskMode(self._mask.currentData)

    def _on_overwrite(self) -> None:
        if not self._updating and self._node is not None:
            self._node.SetOverwriteMode(self._overwrite.currentData)

    def activeEffect(self) -> Any:
        return self._active

    def effectByName(self, name: str) -> Any:
        return self._effects.get(name)

    def availableEffectNames(self) -> tuple[str, ...]:
        return tuple(self._effects)

    def effectCount(self) -> int:
        return len(self._effects)

    def setEffectNameOrder(self, names: Any) -> None:
        """Order and choice of the buttons; of the effects only Paint and Erase are there."""

    def setActiveEffect(self, effect: Any) -> None:
        if self._node is not None:
            self._node.SetActiveEffectName(effect.name if effect is not None else "")

    def setActiveEffectByName(self, name: str) -> None:
        self.setActiveEffect(self._effects.get(name))

    def setupViewObservations(self) -> None:
        for effect in self._effects.values():
            effect._observe_views()

    def removeViewObservations(self) -> None:
        for effect in self._effects.values():
            effect._forget_views()

    def saveStateForUndo(self) -> None:
        self._logic.SaveStateForUndo()

    def undo(self) -> None:
        self._logic.Undo()

    def redo(self) -> None:
        self._logic.Redo()

    def selectPreviousSegment(self) -> None:
        self._logic.SelectPreviousSegment(True)

    def selectNextSegment(self) -> None:
        self._logic.SelectNextSegment(True)

    def showSourceVolumeInSliceViewers(self, force_background: bool = False, fit: bool = False) -> None:
        node = self.sourceVolumeNode()
        if node is not None:
            slicer.util.setSliceViewerLayers(background=node, fit=fit)

    def hideLabelLayer(self) -> None:
        slicer.util.setSliceViewerLayers(label=None)

    def installKeyboardShortcuts(self, parent: Any = None) -> None:
        self.uninstallKeyboardShortcuts()
        window = parent or slicer.util.mainWindow()
        actions = {
            **dict.fromkeys(UNDO_KEYS, self.undo),
            **dict.fromkeys(REDO_KEYS, self.redo),
            **dict.fromkeys(PREVIOUS_KEYS, self.selectPreviousSegment),
            **dict.fromkeys(NEXT_KEYS, self.selectNextSegment),
            **{"Esc": lambda: self.setActiveEffect(None), "Space": self._toggle_effect},
            **{str(i + 1): lambda name=name: self.setActiveEffectByName(name) for i, name in enumerate(self._effects)},
        }
        for key, action in actions.items():
            shortcut = QtGui.QShortcut(QtGui.QKeySequence(key), window)
            shortcut.connect("activated()", action)
            self._shortcuts.append(shortcut)

    def uninstallKeyboardShortcuts(self) -> None:
        for shortcut in self._shortcuts:
            shortcut.setParent(None)
            shortcut.deleteLater()
        self._shortcuts = []

    def _toggle_effect(self) -> None:
        if self._active is not None:
            self._last_effect = self._active.name
            self.setActiveEffect(None)
        else:
            self.setActiveEffectByName(self._last_effect)

    def setSegmentationNodeSelectorVisible(self, visible: bool) -> None:
        _set_row_visible(self._segmentations, visible)

    def setSourceVolumeNodeSelectorVisible(self, visible: bool) -> None:
        _set_row_visible(self._volumes, visible)

    def setMaskingSectionVisible(self, visible: bool) -> None:
        self._masking.setVisible(visible)

    def setAddRemoveSegmentButtonsVisible(self, visible: bool) -> None:
        self._add.setVisible(visible)
        self._remove.setVisible(visible)

    def setSwitchToSegmentationsButtonVisible(self, visible: bool) -> None:
        """There is no Segmentations module to switch to."""

    def setSpecifyGeometryButtonVisible(self, visible: bool) -> None:
        """There is no dialog of the geometry."""

    def setShow3DButtonVisible(self, visible: bool) -> None:
        """There is no button for surfaces."""

    def setAutoShowSourceVolumeNode(self, show: bool) -> None:
        self._auto_show = show

    def setMaximumNumberOfUndoStates(self, number: int) -> None:
        self._logic.SetMaximumNumberOfUndoStates(number)

    def setReadOnly(self, read_only: bool) -> None:
        self._read_only = read_only
        self.updateWidgetFromMRML()

    segmentationNodeSelectorVisible = QtCore.Property(
        bool, lambda self: not self._segmentations.isHidden(), setSegmentationNodeSelectorVisible
    )
    sourceVolumeNodeSelectorVisible = QtCore.Property(
        bool, lambda self: not self._volumes.isHidden(), setSourceVolumeNodeSelectorVisible
    )
    maskingSectionVisible = QtCore.Property(bool, lambda self: not self._masking.isHidden(), setMaskingSectionVisible)
    addRemoveSegmentButtonsVisible = QtCore.Property(
        bool, lambda self: not self._add.isHidden(), setAddRemoveSegmentButtonsVisible
    )
    switchToSegmentationsButtonVisible = QtCore.Property(
        bool, lambda self: False, setSwitchToSegmentationsButtonVisible
    )
    specifyGeometryButtonVisible = QtCore.Property(bool, lambda self: False, setSpecifyGeometryButtonVisible)
    show3DButtonVisible = QtCore.Property(bool, lambda self: False, setShow3DButtonVisible)
    autoShowSourceVolumeNode = QtCore.Property(bool, lambda self: self._auto_show, setAutoShowSourceVolumeNode)
    maximumNumberOfUndoStates = QtCore.Property(
        int, lambda self: self._logic.GetMaximumNumberOfUndoStates(), setMaximumNumberOfUndoStates
    )
    readOnly = QtCore.Property(bool, lambda self: self._read_only, setReadOnly)


def _selector(name: str, node_type: str, *, add: bool) -> qMRMLNodeComboBox:
    selector = qMRMLNodeComboBox()
    selector.setObjectName(name)
    selector.nodeTypes = [node_type]
    selector.noneEnabled = True
    selector.addEnabled = add
    return selector


def _button(name: str, text: str) -> QtWidgets.QPushButton:
    button = QtWidgets.QPushButton(text)
    button.setObjectName(name)
    return button


def _row(*widgets: Any) -> QtWidgets.QHBoxLayout:
    row = QtWidgets.QHBoxLayout()
    for widget in widgets:
        row.addWidget(widget)
    return row


def _set_row_visible(widget: Any, visible: bool) -> None:
    """A widget of the form at the top, together with its label."""
    widget.setVisible(visible)
    label = widget.parentWidget().layout().itemAt(0).layout().labelForField(widget)
    label.setVisible(visible)
