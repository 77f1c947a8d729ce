"""A scripted module of the usual shape runs in the stand-in as it would in the application."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from Testing.standin.driver import Driver

MODULE = """
from typing import Annotated

import slicer
import vtk
from slicer import vtkMRMLScalarVolumeNode
from slicer.i18n import tr as _, translate
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import *
from slicer.util import VTKObservationMixin


class StandInSample(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Sample of a module")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Examples")]
        slicer.app.connect("startupCompleted()", register)


def register():
    import SampleData

    SampleData.SampleDataLogic.registerCustomSampleDataCategory("StandInSample", title="Samples")
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="StandInSample", sampleName="Nothing", customDownloader=lambda source: "made"
    )


@parameterNodeWrapper
class Parameters:
    volume: vtkMRMLScalarVolumeNode
    threshold: Annotated[float, WithinRange(-100, 500)] = 100
    invert: bool = False
    way: Annotated[str, Choice(["up", "down"])] = "up"
    steps: Annotated[int, WithinRange(1, 9)] = 3


class StandInSampleWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.parameters = None
        self.calls = []

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        panel = slicer.util.loadUI(self.resourcePath("UI/StandInSample.ui"))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        self.logic = StandInSampleLogic()
        self.ui.apply.connect("clicked(bool)", self.onApply)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onEndImport)
        self.begin()

    def begin(self):
        if self.parameters is None:
            self.parameters = self.logic.getParameterNode()
            self.tag = self.parameters.connectGui(self.ui)

    def leave(self):
        if self.parameters is not None:
            self.parameters.disconnectGui(self.tag)
            self.parameters = None

    def cleanup(self):
        self.leave()
        self.removeObservers()

    def enter(self):
        self.calls.append("enter")
        self.begin()

    def exit(self):
        self.calls.append("exit")
        self.leave()

    def onStartClose(self, caller, event):
        self.leave()

    def onEndClose(self, caller, event):
        if self.parent.isEntered:
            self.begin()

    def onEndImport(self, caller, event):
        self.leave()
        self.begin()

    def onApply(self):
        self.calls.append("apply")


class StandInSampleLogic(ScriptedLoadableModuleLogic):
    def getParameterNode(self):
        return Parameters(super().getParameterNode())
"""


def widget(kind: str, name: str, **properties: str) -> str:
    body = "".join(f'<property name="{key}">{value}</property>' for key, value in properties.items())
    if name != "apply":
        body += f'<property name="SlicerParameterName" stdset="0"><string>{name}</string></property>'
    return f'<item><widget class="{kind}" name="{name}">{body}</widget></item>'


PANEL = f"""<?xml version="1.0"?><ui version="4.0"><class>Panel</class>
<widget class="qMRMLWidget" name="Panel"><layout class="QVBoxLayout"><item>
<widget class="ctkCollapsibleButton" name="section"><property name="text"><string>Inputs</string></property>
<layout class="QVBoxLayout">
{
    widget(
        "qMRMLNodeComboBox",
        "volume",
        nodeTypes="<stringlist><string>vtkMRMLScalarVolumeNode</string></stringlist>",
        noneEnabled="<bool>true</bool>",
        addEnabled="<bool>false</bool>",
    )
}
{widget("ctkSliderWidget", "threshold", decimals="<number>1</number>", singleStep="<double>0.5</double>")}
{widget("QCheckBox", "invert", text="<string>Invert</string>")}
{widget("QComboBox", "way")}{widget("QSpinBox", "steps")}
{widget("QPushButton", "apply", text="<string>Apply</string>")}
</layout></widget></item></layout></widget>
<connections><connection><sender>Panel</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>
<receiver>volume</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot></connection></connections></ui>
"""


@pytest.fixture
def module(slicer_app: Driver, tmp_path: Path) -> Any:
    (tmp_path / "Resources" / "UI").mkdir(parents=True)
    (tmp_path / "StandInSample.py").write_text(MODULE, "utf-8")
    (tmp_path / "Resources" / "UI" / "StandInSample.ui").write_text(PANEL, "utf-8")
    return slicer_app.load_module(tmp_path / "StandInSample.py")


def add_volume(name: str) -> Any:
    import slicer

    return slicer.util.addVolumeFromArray(np.zeros((4, 5, 6), np.int16), name=name)


def test_a_module_is_loaded_and_known(slicer_app: Driver, module: Any) -> None:
    import slicer

    assert slicer.modules.standinsample.title == "Sample of a module"
    assert slicer.util.getModuleWidget("StandInSample") is module
    assert slicer.util.selectedModule() == "StandInSample"
    assert module.calls == ["enter"]
    slicer.util.selectModule("Markups")
    assert module.calls == ["enter", "exit"]


def test_an_error_in_setup_is_raised_where_the_module_is_loaded(slicer_app: Driver, tmp_path: Path) -> None:
    (tmp_path / "StandInBroken.py").write_text(MODULE.replace("StandInSample", "StandInBroken"), "utf-8")
    with pytest.raises(RuntimeError, match="file not found"):
        slicer_app.load_module(tmp_path / "StandInBroken.py")


def test_samples_are_registered_when_the_application_has_started(slicer_app: Driver, module: Any) -> None:
    import SampleData

    assert SampleData.SampleDataLogic().downloadSample("Nothing") == "made"


def test_widgets_and_parameters_follow_each_other(slicer_app: Driver, module: Any) -> None:
    ui, parameters = module.ui, module.parameters
    assert (ui.threshold.minimum, ui.threshold.maximum, ui.threshold.value) == (-100, 500, 100)
    ui.threshold.value = 42.5
    slicer_app.click(ui.invert)
    slicer_app.choose(ui.way, "down")
    assert (parameters.threshold, parameters.invert, parameters.way) == (42.5, True, "down")
    parameters.steps = 7
    parameters.invert = False
    assert ui.steps.value == 7
    assert not ui.invert.checked
    volume = add_volume("scan")
    slicer_app.choose(ui.volume, "scan")
    assert parameters.volume is volume
    parameters.volume = None
    assert ui.volume.currentNode() is None


@pytest.mark.parametrize(
    ("name", "value"), [("threshold", 501), ("threshold", "12"), ("way", "aside"), ("steps", 2.5), ("invert", None)]
)
def test_parameters_refuse_what_does_not_fit(slicer_app: Driver, module: Any, name: str, value: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        setattr(module.parameters, name, value)


def test_a_folded_section_hides_its_widgets(slicer_app: Driver, module: Any) -> None:
    slicer_app.click(module.ui.apply)
    assert module.calls[-1] == "apply"
    folded: list[bool] = []
    module.ui.section.connect("contentsCollapsed(bool)", folded.append)
    slicer_app.click(module.ui.section, (20, 5))
    assert folded == [True]
    assert not module.ui.apply.isVisible()
    with pytest.raises(AssertionError, match="not visible"):
        slicer_app.click(module.ui.apply)
    module.ui.section.collapsed = False
    assert module.ui.apply.isVisible()


def test_closing_the_scene_brings_the_defaults_back(slicer_app: Driver, module: Any) -> None:
    import slicer

    add_volume("scan")
    module.ui.volume.setCurrentNodeIndex(0)
    module.parameters.threshold = 7
    slicer.mrmlScene.Clear(False)
    slicer_app.turn()
    assert module.ui.volume.currentNode() is None
    assert module.parameters.threshold == 100
    assert module.ui.threshold.value == 100


def test_a_saved_scene_brings_the_choices_back(slicer_app: Driver, module: Any, tmp_path: Path) -> None:
    import slicer

    module.parameters.volume = add_volume("scan")
    module.parameters.threshold = 7
    module.parameters.way = "down"
    assert slicer.util.saveScene(str(tmp_path / "all.mrb"))
    slicer.mrmlScene.Clear(False)
    slicer.util.loadScene(str(tmp_path / "all.mrb"))
    slicer_app.turn()
    assert module.parameters.volume.GetName() == "scan"
    assert module.ui.volume.currentNode() is module.parameters.volume
    assert (module.ui.threshold.value, module.ui.way.currentText) == (7, "down")


def test_a_module_is_reloaded(slicer_app: Driver, module: Any) -> None:
    again = slicer_app.reload()
    assert again is not module
    assert again.ui.apply.isVisible()
    again.ui.threshold.value = 9
    assert again.parameters.threshold == 9


def test_a_node_that_is_removed_is_no_longer_chosen(slicer_app: Driver, module: Any) -> None:
    import slicer

    first, second = add_volume("first"), add_volume("second")
    module.parameters.volume = second
    slicer.mrmlScene.RemoveNode(second)
    slicer_app.turn()
    assert module.ui.volume.currentNode() is None
    assert module.ui.volume.nodeCount() == 1
    assert module.ui.volume.nodeFromIndex(0) is first


class TestPackages:
    def test_what_is_missing_is_installed_after_a_yes(self, slicer_app: Driver) -> None:
        import slicer.packaging

        slicer_app.answer(True)
        slicer_app.in_loop(lambda: slicer.packaging.pip_ensure(["numpy", "no-such-package>=2"], requester="Sample"))
        assert slicer_app.installed == ["no-such-package>=2"]
        assert "Sample" in slicer_app.asked[0]
        assert slicer.packaging.pip_check("no-such-package>=2")

    def test_a_no_is_an_error_that_the_module_has_to_catch(self, slicer_app: Driver) -> None:
        import slicer.packaging

        slicer_app.answer(False)
        with pytest.raises(RuntimeError, match="declined"):
            slicer_app.in_loop(lambda: slicer.packaging.pip_ensure("no-such-package"))
        assert not slicer_app.installed

    def test_slicer_5_10_has_no_packaging(self, slicer_app: Driver) -> None:
        import importlib.util

        assert importlib.util.find_spec("slicer.packaging") is not None
        with slicer_app.without_packaging():
            assert importlib.util.find_spec("slicer.packaging") is None
