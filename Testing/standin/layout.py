"""The four views of the application, each with a bar in its colour, and who manages them."""

from __future__ import annotations

from typing import Any, ClassVar

import slicer
import vtk
from PySide6 import QtCore, QtGui, QtWidgets

from .mrml_widget import qMRMLWidget
from .view_widgets import qMRMLSliceView, qMRMLThreeDView

Node = slicer.vtkMRMLLayoutNode
PLACES = {"Red": (0, 0), "1": (0, 1), "Green": (1, 0), "Yellow": (1, 1)}
SHOWN = {
    Node.SlicerLayoutConventionalView: ("Red", "1", "Green", "Yellow"),
    Node.SlicerLayoutFourUpView: ("Red", "1", "Green", "Yellow"),
    Node.SlicerLayoutOneUpRedSliceView: ("Red",),
    Node.SlicerLayoutOneUpYellowSliceView: ("Yellow",),
    Node.SlicerLayoutOneUpGreenSliceView: ("Green",),
    Node.SlicerLayoutOneUp3DView: ("1",),
}


class _Bar(QtWidgets.QFrame):
    """The coloured strip over a view."""

    def __init__(self, letter: str, colour: tuple[float, float, float], parent: Any = None) -> None:
        super().__init__(parent)
        background = QtGui.QColor.fromRgbF(*colour).name()
        self.setStyleSheet(f"QFrame {{ background: {background}; }} QLabel {{ color: black; }}")
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(6, 1, 6, 1)
        row.setSpacing(8)
        label = QtWidgets.QLabel(letter)
        label.setStyleSheet("font-weight: bold;")
        row.addWidget(label)
        self.setFixedHeight(22)


class qMRMLSliceControllerWidget(_Bar):
    """qMRMLSliceControllerWidget (Slicer/Libs/MRML/Widgets/qMRMLSliceControllerWidget.h)."""

    _logic: Any = None
    _slider: Any = None
    _text: Any = None
    _range: tuple[float, float, float] = (0.0, 0.0, 1.0)

    def __init__(self, letter: str, colour: tuple[float, float, float], logic: Any, parent: Any = None) -> None:
        super().__init__(letter, colour, parent)
        self._logic = logic
        self._slider = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal)
        self._text = QtWidgets.QLabel()
        self._text.setMinimumWidth(86)
        self._text.setAlignment(QtCore.Qt.AlignmentFlag.AlignRight | QtCore.Qt.AlignmentFlag.AlignVCenter)
        self.layout().addWidget(self._slider, 1)
        self.layout().addWidget(self._text)
        self._slider.connect("valueChanged(int)", self._on_slider)
        logic.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._follow())
        self._follow()

    def sliceLogic(self) -> Any:
        return self._logic

    def mrmlSliceNode(self) -> Any:
        return self._logic.GetSliceNode()

    def mrmlSliceCompositeNode(self) -> Any:
        return self._logic.GetSliceCompositeNode()

    def setSliceOffsetValue(self, offset: float) -> None:
        self._logic.StartSliceOffsetInteraction()
        self._logic.SetSliceOffset(offset)
        self._logic.EndSliceOffsetInteraction()

    def fitSliceToBackground(self) -> None:
        self._logic.StartSliceNodeInteraction(slicer.vtkMRMLSliceNode.ResetFieldOfViewFlag)
        self._logic.FitSliceToBackground()
        self.mrmlSliceNode().UpdateMatrices()
        self._logic.EndSliceNodeInteraction()

    def setSliceLink(self, linked: bool) -> None:
        self.mrmlSliceCompositeNode().SetLinkedControl(linked)

    def setSliceVisible(self, visible: bool) -> None:
        self.mrmlSliceNode().SetSliceVisible(visible)

    def _follow(self) -> None:
        low, high, step = self._range = self._offsets()
        offset = self._logic.GetSliceOffset()
        was = self._slider.blockSignals(True)
        self._slider.setRange(0, round((high - low) / step))
        self._slider.setValue(round((offset - low) / step))
        self._slider.blockSignals(was)
        self._text.setText(f"{self.mrmlSliceNode().GetOrientation()[:1]}: {offset:.4f}mm")

    def _offsets(self) -> tuple[float, float, float]:
        bounds, resolution = [0.0, 0.0], vtk.reference(1.0)
        if not self._logic.GetSliceOffsetRangeResolution(bounds, resolution) or resolution.get() <= 0:
            return -100.0, 100.0, 1.0
        return bounds[0], bounds[1], resolution.get()

    def _on_slider(self, step: int) -> None:
        self.setSliceOffsetValue(self._range[0] + step * self._range[2])


class qMRMLSliceWidget(qMRMLWidget):
    """qMRMLSliceWidget (Slicer/Libs/MRML/Widgets/qMRMLSliceWidget.h, qMRMLAbstractViewWidget.h)."""

    _controller: Any = None
    _view: Any = None

    def __init__(self, logic: Any, parent: Any = None) -> None:
        super().__init__(parent)
        node = logic.GetSliceNode()
        self._view = qMRMLSliceView(self)
        self._view._rendered.follow(logic)
        self._controller = qMRMLSliceControllerWidget(node.GetLayoutLabel(), node.GetLayoutColor(), logic, self)
        _stack(self, self._controller, self._view)

    def sliceController(self) -> Any:
        return self._controller

    def sliceView(self) -> Any:
        return self._view

    def viewWidget(self) -> Any:
        return self._view

    def sliceLogic(self) -> Any:
        return self._controller.sliceLogic()

    def logic(self) -> Any:
        return self.sliceLogic()

    def mrmlSliceNode(self) -> Any:
        return self._controller.mrmlSliceNode()

    def mrmlAbstractViewNode(self) -> Any:
        return self.mrmlSliceNode()

    def mrmlSliceCompositeNode(self) -> Any:
        return self._controller.mrmlSliceCompositeNode()

    def interactorStyle(self) -> Any:
        return self._view.interactorStyle()

    def fitSliceToBackground(self) -> None:
        self._controller.fitSliceToBackground()

    def setSliceOrientation(self, orientation: str) -> None:
        self.mrmlSliceNode().SetOrientation(orientation)

    def pauseRender(self) -> None:
        self._view.pauseRender()

    def resumeRender(self) -> None:
        self._view.resumeRender()

    def setRenderPaused(self, pause: bool) -> None:
        self._view.setRenderPaused(pause)


class qMRMLThreeDWidget(qMRMLWidget):
    """qMRMLThreeDWidget (Slicer/Libs/MRML/Widgets/qMRMLThreeDWidget.h, qMRMLAbstractViewWidget.h)."""

    _view: Any = None

    def __init__(self, logic: Any, parent: Any = None) -> None:
        super().__init__(parent)
        node = logic.GetViewNode()
        self._view = qMRMLThreeDView(self)
        self._view._rendered.follow(logic)
        bar = _Bar(node.GetLayoutLabel(), node.GetLayoutColor(), self)
        bar.layout().addStretch(1)
        _stack(self, bar, self._view)

    def threeDView(self) -> Any:
        return self._view

    def viewWidget(self) -> Any:
        return self._view

    def viewLogic(self) -> Any:
        return self._view._rendered.logic

    def logic(self) -> Any:
        return self.viewLogic()

    def mrmlViewNode(self) -> Any:
        return self._view.mrmlViewNode()

    def mrmlAbstractViewNode(self) -> Any:
        return self.mrmlViewNode()

    def pauseRender(self) -> None:
        self._view.pauseRender()

    def resumeRender(self) -> None:
        self._view.resumeRender()

    def setRenderPaused(self, pause: bool) -> None:
        self._view.setRenderPaused(pause)


class qSlicerLayoutManager(QtCore.QObject):
    """qSlicerLayoutManager (Slicer/Base/QTGUI/qSlicerLayoutManager.h, Libs/MRML/Widgets/qMRMLLayoutManager.h).

    Of the layouts, those of the usual four views and of one of them alone are there.
    """

    SIGNALS: ClassVar = ("layoutChanged(int)",)
    layoutChanged = QtCore.Signal(int)
    _viewport: Any = None
    _logic: Any = None
    _application_logic: Any = None
    _widgets: ClassVar[dict[str, Any]] = {}

    def __init__(self, scene: Any, application_logic: Any) -> None:
        super().__init__()
        self._application_logic = application_logic
        self._logic = slicer.vtkMRMLLayoutLogic()
        self._logic.SetMRMLApplicationLogic(application_logic)
        self._logic.SetMRMLScene(scene)
        self._logic.GetLayoutNode().SetViewArrangement(Node.SlicerLayoutFourUpView)
        self._viewport = QtWidgets.QWidget()
        self._widgets = {
            **{name: self._slice_widget(name, scene) for name in ("Red", "Yellow", "Green")},
            "1": self._three_d_widget("1", scene),
        }
        grid = QtWidgets.QGridLayout(self._viewport)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(2)
        for name, (row, column) in PLACES.items():
            grid.addWidget(self._widgets[name], row, column)
        self._logic.GetLayoutNode().AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._arrange())

    def _slice_widget(self, name: str, scene: Any) -> Any:
        logic = slicer.vtkMRMLSliceLogic()
        logic.SetMRMLApplicationLogic(self._application_logic)
        self.mrmlSliceLogics().AddItem(logic)
        logic.SetSliceNode(scene.GetNodeByID(f"vtkMRMLSliceNode{name}"))
        logic.SetMRMLScene(scene)
        widget = qMRMLSliceWidget(logic)
        widget.setObjectName(f"qMRMLSliceWidget{name}")
        widget.setMRMLScene(scene)
        return widget

    def _three_d_widget(self, name: str, scene: Any) -> Any:
        logic = slicer.vtkMRMLViewLogic()
        logic.SetMRMLApplicationLogic(self._application_logic)
        logic.SetName(name)
        logic.SetMRMLScene(scene)
        self.mrmlViewLogics().AddItem(logic)
        widget = qMRMLThreeDWidget(logic)
        widget.setObjectName(f"ThreeDWidget{name}")
        widget.setMRMLScene(scene)
        return widget

    def _arrange(self) -> None:
        layout = self.layout
        if layout not in SHOWN:  # while a scene is closed the node passes through others
            return
        for name, widget in self._widgets.items():
            widget.setVisible(name in SHOWN[layout])
        self.layoutChanged.emit(layout)

    def viewport(self) -> Any:
        return self._viewport

    def layoutLogic(self) -> Any:
        return self._logic

    def mrmlScene(self) -> Any:
        return self._logic.GetMRMLScene()

    def sliceViewNames(self) -> tuple[str, ...]:
        return tuple(name for name in self._widgets if name != "1")

    def sliceWidget(self, name: str) -> Any:
        return self._widgets.get(name) if name != "1" else None

    def threeDWidget(self, which: int | str) -> Any:
        return self._widgets["1"] if which in (0, "1") else None

    def mrmlSliceLogics(self) -> Any:
        return self._application_logic.GetSliceLogics()

    def mrmlViewLogics(self) -> Any:
        return self._application_logic.GetViewLogics()

    def activeMRMLThreeDViewNode(self) -> Any:
        return self._widgets["1"].mrmlViewNode()

    def _get_layout(self) -> int:
        return self._logic.GetLayoutNode().GetViewArrangement()

    def setLayout(self, layout: int) -> None:
        if layout not in SHOWN:
            raise NotImplementedError(f"the stand-in has no layout {layout}, only {sorted(SHOWN)}")
        self._logic.GetLayoutNode().SetViewArrangement(layout)

    def resetSliceViews(self) -> None:
        for name in self.sliceViewNames():
            self._widgets[name].fitSliceToBackground()

    def resetThreeDViews(self) -> None:
        self._widgets["1"].threeDView().resetFocalPoint()

    def pauseRender(self) -> None:
        for widget in self._widgets.values():
            widget.pauseRender()

    def resumeRender(self) -> None:
        for widget in self._widgets.values():
            widget.resumeRender()

    def setRenderPaused(self, pause: bool) -> None:
        self.pauseRender() if pause else self.resumeRender()

    layout = QtCore.Property(int, _get_layout, setLayout)
    threeDViewCount = QtCore.Property(int, lambda self: 1)
    tableViewCount = QtCore.Property(int, lambda self: 0)
    plotViewCount = QtCore.Property(int, lambda self: 0)


def _stack(widget: Any, bar: Any, view: Any) -> None:
    column = QtWidgets.QVBoxLayout(widget)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(0)
    column.addWidget(bar)
    column.addWidget(view, 1)
