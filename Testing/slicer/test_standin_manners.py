"""The stand-in is as strict as PythonQt: what a script of Slicer may not do fails here, and what it may do works."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from Testing.standin.driver import Driver

UI = """<?xml version="1.0"?><ui version="4.0"><class>Panel</class>
<widget class="qMRMLWidget" name="Panel"><layout class="QVBoxLayout">
<item><widget class="{widget}" name="chosen"><property name="{property}"><bool>true</bool></property></widget></item>
</layout></widget>
<connections><connection><sender>Panel</sender><signal>{signal}</signal>
<receiver>chosen</receiver><slot>{slot}</slot></connection></connections></ui>
"""
GOOD = {
    "widget": "qMRMLNodeComboBox",
    "property": "noneEnabled",
    "signal": "mrmlSceneChanged(vtkMRMLScene*)",
    "slot": "setMRMLScene(vtkMRMLScene*)",
}


def test_properties_are_attributes(slicer_app: Driver) -> None:
    import qt

    button = qt.QPushButton("go")
    assert button.text == "go"
    button.text = 5
    assert button.text == "5"
    box = qt.QSpinBox()
    box.value = np.float32(3.7)
    assert box.value == 3
    layout = qt.QVBoxLayout()
    layout.spacing = 7
    assert layout.spacing == 7


def test_calling_a_property_raises(slicer_app: Driver) -> None:
    import qt

    with pytest.raises(TypeError, match="not callable"):
        qt.QPushButton("go").text()


@pytest.mark.parametrize(
    ("name", "value"),
    [("txt", "x"), ("setText", "x"), ("checked", "yes"), ("width", 3)],
    ids=["misspelt", "a slot", "of another type", "read only"],
)
def test_setting_what_cannot_be_set_raises(slicer_app: Driver, name: str, value: Any) -> None:
    import qt

    with pytest.raises(AttributeError):
        setattr(qt.QPushButton("go"), name, value)


def test_own_classes_take_attributes_of_their_own(slicer_app: Driver) -> None:
    import qt

    class Mine(qt.QWidget):
        pass

    widget = Mine()
    widget.answer = 42
    assert widget.answer == 42
    with pytest.raises(AttributeError):
        widget.show = 1


def test_dynamic_properties_and_named_children_are_attributes(slicer_app: Driver) -> None:
    import qt

    widget = qt.QWidget()
    child = qt.QPushButton(widget)
    child.setObjectName("inner")
    widget.setProperty("Kind", "round")
    assert widget.Kind == "round"
    assert widget.inner is child
    with pytest.raises(AttributeError):
        _ = widget.outer


@pytest.mark.parametrize("signal", ["clickd()", "clicked", "clicked(int)"])
def test_connecting_an_unknown_signal_raises(slicer_app: Driver, signal: str) -> None:
    import qt

    with pytest.raises(ValueError, match="does not exist on QPushButton"):
        qt.QPushButton().connect(signal, print)


def test_a_slot_gets_no_more_arguments_than_it_takes(slicer_app: Driver) -> None:
    import qt

    got: list[Any] = []
    button = qt.QPushButton()
    button.checkable = True
    button.connect("clicked(bool)", lambda: got.append("none"))
    button.connect("clicked(bool)", lambda checked: got.append(not checked))
    button.connect("clicked()", lambda *every: got.append(every))
    button.click()
    assert got == ["none", False, ()]


def test_disconnecting_ends_it(slicer_app: Driver) -> None:
    import qt

    got: list[str] = []

    def slot() -> None:
        got.append("called")

    button = qt.QPushButton()
    button.connect("clicked()", slot)
    assert button.disconnect("clicked()", slot)
    assert not button.disconnect("clicked()", slot)
    button.click()
    assert not got


def test_signals_of_processes_connect_too(slicer_app: Driver) -> None:
    import qt

    ended: list[int] = []
    process = qt.QProcess()
    process.connect("finished(int,QProcess::ExitStatus)", lambda code, status: ended.append(code))
    process.start("PythonSlicer", ["-c", "raise SystemExit(3)"])
    slicer_app.wait_until(lambda: ended)
    assert ended == [3]


@pytest.mark.parametrize(
    ("part", "wrong"),
    [
        ("widget", "qMRMLNoSuchWidget"),
        ("property", "nonEnabled"),
        ("signal", "sceneChanged(vtkMRMLScene*)"),
        ("slot", "setScene(vtkMRMLScene*)"),
    ],
)
def test_a_ui_file_that_names_what_is_not_there_raises(
    slicer_app: Driver, tmp_path: Path, part: str, wrong: str
) -> None:
    import slicer

    good, bad = tmp_path / "good.ui", tmp_path / "bad.ui"
    good.write_text(UI.format(**GOOD), "utf-8")
    bad.write_text(UI.format(**{**GOOD, part: wrong}), "utf-8")
    panel = slicer.util.loadUI(str(good))
    panel.setMRMLScene(slicer.mrmlScene)
    assert panel.chosen.mrmlScene() is slicer.mrmlScene
    assert panel.chosen.noneEnabled
    with pytest.raises((LookupError, AttributeError, ValueError)):
        slicer.util.loadUI(str(bad))
    panel.setMRMLScene(None)


def test_members_that_scripts_cannot_reach_are_not_there(slicer_app: Driver) -> None:
    import ctk
    import slicer

    assert not hasattr(ctk.ctkSliderWidget(), "setRange")
    assert not hasattr(slicer.qMRMLNodeComboBox(), "setNodeTypes")
    with pytest.raises(TypeError):
        slicer.app.processEvents(1)


class TestFaults:
    """What goes wrong in the background is found, and would fail the test: here each is provoked and taken away."""

    def test_an_error_of_vtk(self, slicer_app: Driver) -> None:
        import slicer

        slicer.vtkMRMLScene().AddNode(None)
        slicer.vtkMRMLVolumeArchetypeStorageNode().ReadData(slicer.vtkMRMLScalarVolumeNode())
        found = slicer_app.faults.take()
        assert found
        assert found[0].startswith("VTK")

    def test_an_exception_in_a_slot(self, slicer_app: Driver, capsys: pytest.CaptureFixture[str]) -> None:
        import qt

        button = qt.QPushButton()
        button.connect("clicked()", lambda: 1 // 0)
        button.click()
        assert "ZeroDivisionError" in slicer_app.faults.take()[0]

    def test_an_exception_in_an_observer(self, slicer_app: Driver, capsys: pytest.CaptureFixture[str]) -> None:
        import slicer

        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
        node.AddObserver("ModifiedEvent", lambda *_: 1 // 0)
        node.Modified()
        assert "ZeroDivisionError" in slicer_app.faults.take()[0]

    def test_a_warning_of_python_in_a_slot(self, slicer_app: Driver, capsys: pytest.CaptureFixture[str]) -> None:
        import qt

        button = qt.QPushButton()
        button.connect("clicked()", lambda: warnings.warn("old", DeprecationWarning, stacklevel=1))
        button.click()
        assert "DeprecationWarning" in slicer_app.faults.take()[0]

    def test_a_warning_of_qt(self, slicer_app: Driver) -> None:
        import qt

        qt.QTimer().start(-5)
        assert slicer_app.faults.take()[0].startswith("Qt:")

    def test_a_dialog_that_nobody_expects(self, slicer_app: Driver) -> None:
        import slicer

        assert not slicer_app.in_loop(lambda: slicer.util.confirmOkCancelDisplay("Really?", "Question"))
        assert "Really?" in slicer_app.faults.take()[0]

    def test_a_dialog_that_does_not_open(self, slicer_app: Driver) -> None:
        slicer_app.answer(True)
        assert "did not open" in slicer_app.faults.take()[0]


def test_expected_dialogs_are_answered_in_turn(slicer_app: Driver) -> None:
    import slicer

    slicer_app.answer(True, False, lambda dialog: dialog.reject())
    assert slicer_app.in_loop(lambda: slicer.util.confirmOkCancelDisplay("One?"))
    assert not slicer_app.in_loop(lambda: slicer.util.confirmYesNoDisplay("Two?"))
    slicer_app.in_loop(lambda: slicer.util.infoDisplay("Three."))
    assert [text.splitlines()[-1] for text in slicer_app.asked] == ["One?", "Two?", "Three."]


def test_the_watchdog_tells_how_long_the_loop_stood_still_and_where(slicer_app: Driver) -> None:
    import time

    import qt

    def slow_handler() -> None:
        time.sleep(0.12)

    with slicer_app.watchdog() as idle:
        slicer_app.wait(0.1)
    with slicer_app.watchdog() as busy:
        qt.QTimer.singleShot(20, slow_handler)
        slicer_app.wait(0.3)
    assert idle.longest < busy.longest
    assert busy.longest > 0.11
    assert "slow_handler" in busy.where


def test_settings_are_those_of_the_stand_in_and_not_of_whoever_runs_the_tests(slicer_app: Driver) -> None:
    import qt
    import slicer

    file = Path(qt.QSettings().fileName())
    assert file == Path(slicer.app.userSettings().fileName())
    assert slicer_app.application._folder in file.parents
    qt.QSettings().setValue("Test/Name", "value")
    assert slicer.app.userSettings().value("Test/Name") == "value"
    slicer_app.reset()
    assert qt.QSettings().value("Test/Name") is None
