"""Numbers in widgets of CTK."""

from __future__ import annotations

from typing import Any, ClassVar

from PySide6 import QtCore, QtWidgets

from .ui_loader import stands_in


@stands_in
class ctkDoubleSpinBox(QtWidgets.QWidget):
    """ctkDoubleSpinBox (CTK/Libs/Widgets/ctkDoubleSpinBox.h), which is no QDoubleSpinBox but holds one."""

    SIGNALS: ClassVar = ("valueChanged(double)", "editingFinished()", "decimalsChanged(int)")
    valueChanged = QtCore.Signal(float)
    editingFinished = QtCore.Signal()
    decimalsChanged = QtCore.Signal(int)
    _box: Any = None

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._box = QtWidgets.QDoubleSpinBox()
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._box)
        self._box.connect("valueChanged(double)", self.valueChanged.emit)
        self._box.connect("editingFinished()", self.editingFinished.emit)
        self.setFocusProxy(self._box)

    def setValue(self, value: float) -> None:
        self._box.setValue(value)

    def setValueIfDifferent(self, value: float) -> None:
        self._box.setValue(value)

    def stepUp(self) -> None:
        self._box.stepUp()

    def stepDown(self) -> None:
        self._box.stepDown()

    def setDecimals(self, decimals: int) -> None:
        if decimals != self._box.decimals:
            self._box.setDecimals(decimals)
            self.decimalsChanged.emit(decimals)

    def setReadOnly(self, read_only: bool) -> None:
        self._box.setReadOnly(read_only)

    value = QtCore.Property(float, lambda self: self._box.value, setValue)
    decimals = QtCore.Property(int, lambda self: self._box.decimals, setDecimals)
    readOnly = QtCore.Property(bool, lambda self: self._box.readOnly, setReadOnly)
    minimum = QtCore.Property(float, lambda self: self._box.minimum, lambda self, value: self._box.setMinimum(value))
    maximum = QtCore.Property(float, lambda self: self._box.maximum, lambda self, value: self._box.setMaximum(value))
    singleStep = QtCore.Property(
        float, lambda self: self._box.singleStep, lambda self, value: self._box.setSingleStep(value)
    )
    prefix = QtCore.Property(str, lambda self: self._box.prefix, lambda self, value: self._box.setPrefix(value))
    suffix = QtCore.Property(str, lambda self: self._box.suffix, lambda self, value: self._box.setSuffix(value))
    cleanText = QtCore.Property(str, lambda self: self._box.cleanText)


@stands_in
class ctkSliderWidget(QtWidgets.QWidget):
    """ctkSliderWidget (CTK/Libs/Widgets/ctkSliderWidget.h). setRange is C++ only: scripts set minimum and maximum."""

    SIGNALS: ClassVar = ("valueChanged(double)", "valueIsChanging(double)", "decimalsChanged(int)")
    valueChanged = QtCore.Signal(float)
    valueIsChanging = QtCore.Signal(float)
    decimalsChanged = QtCore.Signal(int)
    _slider: Any = None
    _box: Any = None
    _value = 0.0
    _range = (0.0, 99.0)
    _step = 1.0
    _page = 10.0
    _tracking = True
    _quiet = False

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._slider = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal)
        self._box = QtWidgets.QDoubleSpinBox()
        self._box.setKeyboardTracking(False)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._slider, 1)
        row.addWidget(self._box)
        self._slider.connect("valueChanged(int)", self._on_slider)
        self._slider.connect("sliderReleased()", lambda: self._set(self._value_of_slider()))
        self._box.connect("valueChanged(double)", lambda value: None if self._quiet else self._set(value))
        self._show()

    def _value_of_slider(self) -> float:
        return self._range[0] + self._slider.value * self._step

    def _on_slider(self) -> None:
        if self._quiet:
            return
        if self._slider.sliderDown and not self._tracking:
            self.valueIsChanging.emit(self._value_of_slider())
        else:
            self._set(self._value_of_slider())

    def _set(self, value: float) -> None:
        value = round(min(max(value, self._range[0]), self._range[1]), self._box.decimals)
        if value == self._value:
            return
        self._value = value
        self._show()
        self.valueIsChanging.emit(value)
        self.valueChanged.emit(value)

    def _show(self) -> None:
        self._quiet = True
        low, high = self._range
        self._slider.setRange(0, max(round((high - low) / self._step), 0))
        self._slider.setPageStep(max(round(self._page / self._step), 1))
        self._slider.setValue(round((self._value - low) / self._step))
        self._box.setRange(low, high)
        self._box.setSingleStep(self._step)
        self._box.setValue(self._value)
        self._quiet = False

    def _set_range(self, low: float, high: float) -> None:
        self._range = (low, high)
        value = min(max(self._value, low), high)
        if value != self._value:
            self._set(value)
        else:
            self._show()

    def _set_step(self, step: float) -> None:
        self._step = step
        self._show()

    def setValue(self, value: float) -> None:
        self._set(value)

    def reset(self) -> None:
        self._set(self._range[0])

    def setDecimals(self, decimals: int) -> None:
        if decimals != self._box.decimals:
            self._quiet = True
            self._box.setDecimals(decimals)
            self._quiet = False
            self._show()
            self.decimalsChanged.emit(decimals)

    def setSpinBoxVisible(self, visible: bool) -> None:
        self._box.setVisible(visible)

    value = QtCore.Property(float, lambda self: self._value, setValue)
    minimum = QtCore.Property(
        float, lambda self: self._range[0], lambda self, value: self._set_range(value, max(value, self._range[1]))
    )
    maximum = QtCore.Property(
        float, lambda self: self._range[1], lambda self, value: self._set_range(min(value, self._range[0]), value)
    )
    singleStep = QtCore.Property(float, lambda self: self._step, _set_step)
    pageStep = QtCore.Property(float, lambda self: self._page, lambda self, value: setattr(self, "_page", value))
    decimals = QtCore.Property(int, lambda self: self._box.decimals, setDecimals)
    tracking = QtCore.Property(bool, lambda self: self._tracking, lambda self, value: setattr(self, "_tracking", value))
    prefix = QtCore.Property(str, lambda self: self._box.prefix, lambda self, value: self._box.setPrefix(value))
    suffix = QtCore.Property(str, lambda self: self._box.suffix, lambda self, value: self._box.setSuffix(value))
    spinBoxVisible = QtCore.Property(bool, lambda self: not self._box.isHidden(), setSpinBoxVisible)
