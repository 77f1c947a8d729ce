"""Buttons of CTK."""

from __future__ import annotations

from typing import Any, ClassVar

from PySide6 import QtCore, QtGui, QtWidgets

from .ui_loader import stands_in

UNLIMITED = 16777215  # QWIDGETSIZE_MAX


@stands_in
class ctkCollapsibleButton(QtWidgets.QAbstractButton):
    """ctkCollapsibleButton (CTK/Libs/Widgets/ctkCollapsibleButton.h): a bar that folds what is below it away."""

    SIGNALS: ClassVar = ("contentsCollapsed(bool)",)
    contentsCollapsed = QtCore.Signal(bool)
    _collapsed = False
    _flat = False
    _collapsed_height = 10
    _frame_shape: Any = QtWidgets.QFrame.Shape.NoFrame
    _hidden_before: Any = ()

    def __init__(self, *arguments: Any) -> None:
        text = next((argument for argument in arguments if isinstance(argument, str)), "")
        super().__init__(next((argument for argument in arguments if isinstance(argument, QtWidgets.QWidget)), None))
        self.setText(text)
        self.setCheckable(True)
        self.setChecked(True)
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Preferred, QtWidgets.QSizePolicy.Policy.Preferred)
        self.setContentsMargins(0, self._bar_height(), 0, 0)
        self.connect("toggled(bool)", lambda checked: self._collapse(not checked))

    def _bar_height(self) -> int:
        return self.fontMetrics().height() + 10

    def _children(self) -> list[Any]:
        return [child for child in self.children() if isinstance(child, QtWidgets.QWidget)]

    def _collapse(self, collapsed: bool) -> None:
        if collapsed == self._collapsed:
            return
        self._collapsed = collapsed
        if collapsed:
            self._hidden_before = [child for child in self._children() if child.isHidden()]
            self.setMaximumHeight(self._bar_height())
        else:
            self.setMaximumHeight(UNLIMITED)
        for child in self._children():
            child.setVisible(not collapsed and child not in self._hidden_before)
        self.updateGeometry()
        self.contentsCollapsed.emit(collapsed)

    def event(self, event: Any) -> bool:
        if event.type() == QtCore.QEvent.Type.ChildPolished and self._collapsed and event.child().isWidgetType():
            event.child().hide()
        return super().event(event)

    def hitButton(self, place: Any) -> bool:
        return place.y() < self._bar_height()

    def sizeHint(self) -> QtCore.QSize:
        bar = QtCore.QSize(self.fontMetrics().horizontalAdvance(self.text) + 40, self._bar_height())
        if self._collapsed or self.layout() is None:
            return bar
        return self.layout().totalSizeHint().expandedTo(bar)

    def minimumSizeHint(self) -> QtCore.QSize:
        bar = QtCore.QSize(0, self._bar_height())
        return bar if self._collapsed or self.layout() is None else self.layout().totalMinimumSize().expandedTo(bar)

    def paintEvent(self, _event: Any) -> None:
        bar = QtCore.QRect(0, 0, self.width, self._bar_height())
        option = QtWidgets.QStyleOptionButton()
        option.initFrom(self)
        option.rect = bar.adjusted(0, 0, 0, -2)
        option.state |= QtWidgets.QStyle.StateFlag.State_Raised
        option.text = ""
        painter = QtWidgets.QStylePainter(self)
        painter.drawControl(QtWidgets.QStyle.ControlElement.CE_PushButton, option)
        arrow = QtWidgets.QStyleOption()
        arrow.initFrom(self)
        arrow.rect = QtCore.QRect(8, bar.height() // 2 - 6, 10, 10)
        kinds = QtWidgets.QStyle.PrimitiveElement
        painter.drawPrimitive(kinds.PE_IndicatorArrowRight if self._collapsed else kinds.PE_IndicatorArrowDown, arrow)
        painter.setPen(self.palette.color(QtGui.QPalette.ColorRole.ButtonText))
        painter.drawText(bar.adjusted(26, 0, -4, -2), QtCore.Qt.AlignmentFlag.AlignVCenter, self.text)
        painter.end()

    collapsed = QtCore.Property(bool, lambda self: self._collapsed, lambda self, value: self.setChecked(not value))
    flat = QtCore.Property(bool, lambda self: self._flat, lambda self, value: setattr(self, "_flat", value))
    collapsedHeight = QtCore.Property(
        int, lambda self: self._collapsed_height, lambda self, value: setattr(self, "_collapsed_height", value)
    )
    contentsFrameShape = QtCore.Property(
        QtWidgets.QFrame.Shape,
        lambda self: self._frame_shape,
        lambda self, value: setattr(self, "_frame_shape", value),
    )


@stands_in
class ctkMessageBox(QtWidgets.QMessageBox):
    """ctkMessageBox (CTK/Libs/Widgets/ctkMessageBox.h), without remembering what not to show again."""


@stands_in
class ctkMenuButton(QtWidgets.QPushButton):
    """ctkMenuButton (CTK/Libs/Widgets/ctkMenuButton.h): a push button with a small part that opens its menu."""
