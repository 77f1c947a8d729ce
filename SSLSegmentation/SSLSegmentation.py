"""SSLSegmentation: segment, see doubt, correct, spread, accept. The entry file that 3D Slicer loads.

What the module does is in SSLSegmentationUI, one subject a file; what could be used without Slicer is in
SSLSegmentationLib.
"""

import importlib.util
import sys
from pathlib import Path

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin


class SSLSegmentation(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        findLibrary()
        from SSLSegmentationUI.About import ACKNOWLEDGEMENT, CONTRIBUTORS, helpText

        self.parent.title = _("SSL Segmentation")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        self.parent.dependencies = ["Segmentations", "Markups", "Volumes"]
        self.parent.contributors = CONTRIBUTORS
        self.parent.helpText = helpText()
        self.parent.acknowledgementText = ACKNOWLEDGEMENT
        slicer.app.connect("startupCompleted()", registerSampleData)


class SSLSegmentationWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.panel = None
        self._parameterNode = None
        self._guiTag = None

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        from SSLSegmentationUI.Panel import Panel

        uiWidget = slicer.util.loadUI(self.resourcePath("UI/SSLSegmentation.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)

        self.logic = SSLSegmentationLogic()
        self.panel = Panel(self.ui, self.logic.work, self.logic.models, Path(self.resourcePath("requirements.txt")))
        self.logic.changed = self.panel.updateSoon

        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneEndImport)
        self.addObserver(scene, scene.NodeAddedEvent, self.onNodeAdded)
        self.initializeParameterNode()

    def cleanup(self):
        self.setParameterNode(None)
        self.removeObservers()
        self.panel.end()

    def enter(self):
        self.initializeParameterNode()
        self.panel.enter()

    def exit(self):
        self.panel.exit()

    def onReload(self):
        """Reload the library and the parts of the module as well, which Slicer would not do."""
        self.cleanup()
        for name in sorted(sys.modules, key=lambda name: name.count("."), reverse=True):
            if name.partition(".")[0] in ("SSLSegmentationLib", "SSLSegmentationUI"):
                del sys.modules[name]
        importlib.invalidate_caches()
        ScriptedLoadableModuleWidget.onReload(self)

    def onSceneStartClose(self, caller, event):
        self.setParameterNode(None)

    def onSceneEndClose(self, caller, event):
        if self.parent.isEntered:
            self.initializeParameterNode()

    def onSceneEndImport(self, caller, event):
        if self.parent.isEntered:
            self.setParameterNode(None)
            self.initializeParameterNode()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onNodeAdded(self, caller, event, node):
        """The first scan that is loaded while the module is open is the one to segment."""
        if self.parent.isEntered and self._parameterNode is not None and self.panel.scan.isScan(node):
            # Its voxels come after the node.
            self.panel.later(self._chooseScan)

    def initializeParameterNode(self):
        if self._parameterNode is None:
            self.setParameterNode(self.logic.getParameterNode())
        self._chooseScan()

    def setParameterNode(self, parameters):
        if self._parameterNode is not None:
            self._parameterNode.disconnectGui(self._guiTag)
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self._onParameters)
        self._parameterNode = parameters
        if parameters is not None:
            self._guiTag = parameters.connectGui(self.ui)
            self.addObserver(parameters, vtk.vtkCommand.ModifiedEvent, self._onParameters)
        if self.panel is not None:
            self.panel.use(parameters)

    def _chooseScan(self):
        if self._parameterNode is not None and self._parameterNode.scan is None:
            scan = self.panel.scan.defaultScan()
            if scan is not None:
                self._parameterNode.scan = scan

    def _onParameters(self, caller=None, event=None):
        self.panel.follow()


class SSLSegmentationLogic(ScriptedLoadableModuleLogic):
    """What the module does, without its window: `work` runs operations, `models` knows what the engine has.

    Scripts can use it as the panel does: `work.open(scan, segmentation, editorNode)`, then `work.segment("a-model",
    {})`, and `work.accept()` when `work.suggestion` is there. Nothing blocks; `changed` is called after each change.
    """

    def __init__(self):
        ScriptedLoadableModuleLogic.__init__(self)
        findLibrary()
        from SSLSegmentationUI import Place
        from SSLSegmentationUI.Engine import Engine
        from SSLSegmentationUI.Models import Models
        from SSLSegmentationUI.Work import Work

        self.changed = lambda: None
        self.engine = Engine(Place.load(), self._onChanged)
        self.work = Work(self.engine, self._onChanged)
        self.models = Models(self.engine, self._onChanged, self.work.run)
        self.work.modelOf = self.models.madeBy

    def getParameterNode(self):
        from SSLSegmentationUI.Parameters import Parameters

        return Parameters(super().getParameterNode())

    def _onChanged(self):
        self.changed()


class SSLSegmentationTest(ScriptedLoadableModuleTest):
    """Runs in the application as well: in the module Self Tests, or with --testing."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def runTest(self):
        from SSLSegmentationUI import SelfTest

        self.setUp()
        SelfTest.run(self)


def registerSampleData():
    """A synthetic abdomen in the module Sample Data; it is made on this machine, so that nothing is downloaded."""
    from SSLSegmentationUI.SampleScan import register

    register()


def findLibrary():
    """In a checkout the library lies beside the module's folder; in an installed extension it is found without this."""
    if importlib.util.find_spec("SSLSegmentationLib") is None:
        sys.path.append(str(Path(__file__).parents[1]))
