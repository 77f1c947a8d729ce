"""A scene as the application has it, on slicer-core: the logics that register nodes and keep the hierarchy, no Qt."""

from __future__ import annotations

import sys
import tempfile
from types import SimpleNamespace
from typing import Any

import slicer
import vtk

_LOGICS = {
    "volumes": "vtkSlicerVolumesLogic",
    "segmentations": "vtkSlicerSegmentationsModuleLogic",
    "subjecthierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "markups": "vtkSlicerMarkupsLogic",
    "sequences": "vtkSlicerSequencesLogic",
    "transforms": "vtkSlicerTransformLogic",
}


class VtkErrors:
    """Every error and warning that VTK reports, and every exception in an observer, which VTK would only print."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self._window = vtk.vtkOutputWindow()
        self._window.SetDisplayModeToNever()
        for event in ("ErrorEvent", "WarningEvent"):
            self._window.AddObserver(event, self._noted)
        vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_OFF)

    def __enter__(self) -> list[str]:
        self._before = vtk.vtkOutputWindow.GetInstance(), sys.excepthook
        vtk.vtkOutputWindow.SetInstance(self._window)
        sys.excepthook = lambda kind, error, trace: self.told.append(f"in an observer: {kind.__name__}: {error}")
        return self.told

    def __exit__(self, *error: object) -> None:
        window, sys.excepthook = self._before
        vtk.vtkOutputWindow.SetInstance(window)

    def _noted(self, caller: Any, event: str, text: str) -> None:
        self.told.append(f"{event}: {text.strip()}")

    _noted.CallDataType = vtk.VTK_STRING


def boot() -> SimpleNamespace:
    """`scene`, `application` (its logic) and the module logics by name."""
    scene = slicer.vtkMRMLScene()
    crosshair = slicer.vtkMRMLCrosshairNode()
    crosshair.SetCrosshairName("default")
    scene.AddNode(crosshair)
    application = slicer.vtkSlicerApplicationLogic()
    application.SetMRMLScene(scene)
    application.GetColorLogic().SetMRMLScene(scene)
    application.GetColorLogic().AddDefaultColorNodes()
    application.SetSliceLogics(vtk.vtkCollection())
    application.SetViewLogics(vtk.vtkCollection())
    remote = slicer.vtkMRMLRemoteIOLogic()
    remote.SetMRMLScene(scene)
    remote.SetMRMLApplicationLogic(application)
    remote.GetCacheManager().SetRemoteCacheDirectory(tempfile.mkdtemp(prefix="scene-test-"))
    manager = slicer.vtkDataIOManagerLogic()
    manager.SetMRMLScene(scene)
    manager.SetMRMLApplicationLogic(application)
    manager.SetAndObserveDataIOManager(remote.GetDataIOManager())
    remote.AddDataIOToScene()
    logics = {}
    for name, class_name in _LOGICS.items():
        logics[name] = getattr(slicer, class_name)()
        logics[name].SetMRMLApplicationLogic(application)
        logics[name].SetMRMLScene(scene)
        application.SetModuleLogic(name, logics[name])
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
    _keep_hierarchy(scene)
    return SimpleNamespace(scene=scene, application=application, remote=remote, manager=manager, **logics)


def _keep_hierarchy(scene: slicer.vtkMRMLScene) -> None:
    """Data nodes enter and leave the subject hierarchy, as the application's plugins see to."""

    def added(caller: Any, event: str, node: slicer.vtkMRMLNode | None = None) -> None:
        if (
            node is None
            or not node.IsA("vtkMRMLDisplayableNode")
            or node.GetHideFromEditors()
            or node.IsA("vtkMRMLCameraNode")
        ):
            return
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
        if not hierarchy.GetItemByDataNode(node):
            hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)

    def removed(caller: Any, event: str, node: slicer.vtkMRMLNode | None = None) -> None:
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
        item = hierarchy.GetItemByDataNode(node) if hierarchy is not None and node is not None else 0
        if item and not scene.IsClosing():
            hierarchy.RemoveItem(item, False, False)

    for event, callback in ((scene.NodeAddedEvent, added), (scene.NodeAboutToBeRemovedEvent, removed)):
        callback.CallDataType = vtk.VTK_OBJECT
        scene.AddObserver(event, callback)
