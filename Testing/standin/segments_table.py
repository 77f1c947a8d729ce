"""The list of segments."""

from __future__ import annotations

from typing import Any, ClassVar

import slicer
from PySide6 import QtCore, QtGui, QtWidgets

from .mrml_widget import qMRMLWidget
from .ui_loader import stands_in

VISIBLE, COLOUR, NAME = range(3)


@stands_in
class qMRMLSegmentsTableView(qMRMLWidget):
    """qMRMLSegmentsTableView (Slicer/Modules/Loadable/Segmentations/Widgets/qMRMLSegmentsTableView.h)."""

    SIGNALS: ClassVar = ("selectionChanged(QItemSelection,QItemSelection)", "segmentAboutToBeModified(QString)")
    selectionChanged = QtCore.Signal(object, object)
    segmentAboutToBeModified = QtCore.Signal(str)
    _node: Any = None
    _table: Any = None
    _ids: ClassVar[list[str]] = []
    _observers: ClassVar[list[tuple[Any, int]]] = []
    _filling = False
    _read_only = False

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._ids, self._observers = [], []
        self._table = QtWidgets.QTableWidget(0, 3)
        self._table.setHorizontalHeaderLabels(["", "", "Name"])
        self._table.horizontalHeader().setStretchLastSection(True)
        self._table.setColumnWidth(VISIBLE, 28)
        self._table.setColumnWidth(COLOUR, 28)
        self._table.verticalHeader().hide()
        self._table.verticalHeader().setDefaultSectionSize(22)
        self._table.setSelectionBehavior(QtWidgets.QAbstractItemView.SelectionBehavior.SelectRows)
        self._table.setSelectionMode(QtWidgets.QAbstractItemView.SelectionMode.SingleSelection)
        self._table.setMinimumHeight(100)
        column = QtWidgets.QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._table)
        self._table.selectionModel().selectionChanged.connect(self._on_selection)
        self._table.connect("cellChanged(int,int)", self._on_changed)
        self._table.connect("cellClicked(int,int)", self._on_clicked)

    def segmentationNode(self) -> Any:
        return self._node

    def setSegmentationNode(self, node: Any) -> None:
        if node is self._node:
            return
        for observed, tag in self._observers:
            observed.RemoveObserver(tag)
        self._node = node
        self._observers = []
        if node is not None:
            kinds = slicer.vtkSegmentation
            for event in (kinds.SegmentAdded, kinds.SegmentRemoved, kinds.SegmentModified, kinds.SegmentsOrderModified):
                self._observe(node, event)
            self._observe(node, slicer.vtkMRMLDisplayableNode.DisplayModifiedEvent)
            self._observe(node, "ModifiedEvent")
        self._fill()

    def _observe(self, observed: Any, event: Any) -> None:
        self._observers.append((observed, observed.AddObserver(event, lambda *_: self._fill())))

    def _segment(self, row: int) -> Any:
        return self._node.GetSegmentation().GetSegment(self._ids[row])

    def _fill(self) -> None:
        chosen = self.selectedSegmentIDs()
        self._filling = True
        self._ids = list(self._node.GetSegmentation().GetSegmentIDs()) if self._node is not None else []
        display = self._node.GetDisplayNode() if self._node is not None else None
        self._table.setRowCount(len(self._ids))
        for row, segment_id in enumerate(self._ids):
            visible = display is None or display.GetSegmentVisibility(segment_id)
            colour = QtWidgets.QTableWidgetItem()
            colour.setBackground(QtGui.QColor.fromRgbF(*self._segment(row).GetColor()))
            self._table.setItem(row, VISIBLE, QtWidgets.QTableWidgetItem("◉" if visible else "○"))
            self._table.setItem(row, COLOUR, colour)
            self._table.setItem(row, NAME, QtWidgets.QTableWidgetItem(self._segment(row).GetName()))
            for column in (VISIBLE, COLOUR):
                self._table.item(row, column).setFlags(QtCore.Qt.ItemFlag.ItemIsEnabled)
        self._filling = False
        self.setSelectedSegmentIDs(chosen)

    def _on_selection(self, selected: Any, deselected: Any) -> None:
        if not self._filling:
            self.selectionChanged.emit(selected, deselected)

    def _on_changed(self, row: int, column: int) -> None:
        if not self._filling and column == NAME:
            self.segmentAboutToBeModified.emit(self._ids[row])
            self._segment(row).SetName(self._table.item(row, column).text())

    def _on_clicked(self, row: int, column: int) -> None:
        if column == VISIBLE:
            display = self._node.GetDisplayNode()
            display.SetSegmentVisibility(self._ids[row], not display.GetSegmentVisibility(self._ids[row]))

    def tableWidget(self) -> Any:
        return self._table

    def selectedSegmentIDs(self) -> tuple[str, ...]:
        rows = sorted({index.row() for index in self._table.selectedIndexes()})
        return tuple(self._ids[row] for row in rows if row < len(self._ids))

    def setSelectedSegmentIDs(self, segment_ids: Any) -> None:
        wanted = [segment_id for segment_id in segment_ids if segment_id in self._ids]
        if tuple(wanted) == self.selectedSegmentIDs():
            return
        self._table.clearSelection()
        for segment_id in wanted:
            self._table.selectRow(self._ids.index(segment_id))

    def clearSelection(self) -> None:
        self._table.clearSelection()

    def rowForSegmentID(self, segment_id: str) -> int:
        return self._ids.index(segment_id) if segment_id in self._ids else -1

    def segmentIDForRow(self, row: int) -> str:
        return self._ids[row]

    def setReadOnly(self, read_only: bool) -> None:
        self._read_only = read_only
        triggers = QtWidgets.QAbstractItemView.EditTrigger
        self._table.setEditTriggers(triggers.NoEditTriggers if read_only else triggers.DoubleClicked)

    segmentCount = QtCore.Property(int, lambda self: len(self._ids))
    readOnly = QtCore.Property(bool, lambda self: self._read_only, setReadOnly)
