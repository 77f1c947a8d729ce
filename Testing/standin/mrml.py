"""The scene and the logics as the application starts them, on the real C++ classes of slicer-core.

Follows qSlicerCoreApplication, qSlicerModuleFactoryManager, the `setup()` of the loadable modules and, for the subject
hierarchy, qSlicerSubjectHierarchyPluginLogic. Nothing here knows Qt.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slicer
import vtk

LOGICS = {
    "Colors": "vtkSlicerColorLogic",
    "CropVolume": "vtkSlicerCropVolumeLogic",
    "Data": "vtkSlicerDataModuleLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Models": "vtkSlicerModelsLogic",
    "Sequences": "vtkSlicerSequencesLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Tables": "vtkSlicerTablesLogic",
    "Terminologies": "vtkSlicerTerminologiesModuleLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "Texts": "vtkSlicerTextsLogic",
    "Transforms": "vtkSlicerTransformLogic",
    "Units": "vtkSlicerUnitsLogic",
    "ViewControllers": "vtkSlicerViewControllersLogic",
    "VolumeRendering": "vtkSlicerVolumeRenderingLogic",
    "Volumes": "vtkSlicerVolumesLogic",
}
TERMINOLOGIES = ("SlicerGeneralAnatomy", "DICOM-Master")
SCHEMA = "https://raw.githubusercontent.com/qiicr/dcmqi/master/doc/schemas/{}-context-schema.json#"
IN_HIERARCHY = ("vtkMRMLDisplayableNode", "vtkMRMLTextNode", "vtkMRMLTableNode", "vtkMRMLSequenceBrowserNode")


@dataclass
class Core:
    """What lives as long as the application does; VTK keeps only weak references to some of it."""

    scene: Any
    logic: Any
    module_logics: dict[str, Any]
    kept: list[Any]


def start_core(folder: Path) -> Core:
    """A scene with the nodes every scene of the application has, and the logics of its loadable modules.

    `folder` takes what the application keeps on disk: its cache and the shared files of the modules.
    """
    scene = slicer.vtkMRMLScene()
    crosshair = slicer.vtkMRMLCrosshairNode()
    crosshair.SetCrosshairName("default")
    scene.AddNode(crosshair)

    logic = slicer.vtkSlicerApplicationLogic()
    logic.SetTemporaryPath(str(folder))
    logic.SetHomeDirectory(str(folder))
    logic.SetShareDirectory("share")
    (folder / "share" / "ColorFiles").mkdir(parents=True, exist_ok=True)
    for factory in (_factory_of_slices(), _factory_of_three_d()):
        factory.SetMRMLApplicationLogic(logic)
    logic.SetMRMLScene(scene)
    logic.SetSliceLogics(vtk.vtkCollection())
    logic.SetViewLogics(vtk.vtkCollection())
    kept = _data_io(scene, logic, folder)

    slicer.mrmlScene = scene  # the Python of Slicer reads it; here because logics may call back into Python
    logics = {name: _start_logic(name, scene, logic, folder) for name in LOGICS}
    logic.GetColorLogic().SetMRMLScene(scene)
    logic.GetColorLogic().AddDefaultColorNodes()
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
    _register_displayable_managers()
    _fill_hierarchy(scene)
    return Core(scene, logic, logics, kept)


def _factory_of_slices() -> Any:
    return slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()


def _factory_of_three_d() -> Any:
    return slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance()


def _data_io(scene: Any, logic: Any, folder: Path) -> list[Any]:
    """Reading and writing of bundles and of remote files, as qSlicerCoreApplicationPrivate::initDataIO."""
    remote = slicer.vtkMRMLRemoteIOLogic()
    remote.SetMRMLScene(scene)
    remote.SetMRMLApplicationLogic(logic)
    cache = folder / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    remote.GetCacheManager().SetRemoteCacheDirectory(str(cache))
    manager = slicer.vtkDataIOManagerLogic()
    manager.SetMRMLScene(scene)
    manager.SetMRMLApplicationLogic(logic)
    manager.SetAndObserveDataIOManager(remote.GetDataIOManager())
    remote.AddDataIOToScene()
    return [remote, manager]


def _start_logic(name: str, scene: Any, application_logic: Any, folder: Path) -> Any:
    logic = getattr(slicer, LOGICS[name])()
    if name == "Terminologies":
        logic.SetModuleShareDirectory(str(_terminologies(folder / "terminologies")))
    logic.SetMRMLApplicationLogic(application_logic)
    logic.SetMRMLScene(scene)
    application_logic.SetModuleLogic(name, logic)
    return logic


def _terminologies(folder: Path) -> Path:
    """The two terminologies and the anatomic context that the logic insists on, each with a single type.

    The real ones are files of the application, which slicer-core does not bring along.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tissue = {"CodingSchemeDesignator": "SCT", "CodeValue": "85756007", "CodeMeaning": "Tissue"}
    types = [{**tissue, "recommendedDisplayRGBValue": [128, 174, 128]}]
    for name in TERMINOLOGIES:
        context = {
            "@schema": SCHEMA.format("segment"),
            "SegmentationCategoryTypeContextName": f"Segmentation category and type - {name}",
            "SegmentationCodes": {"Category": [{**tissue, "showAnatomy": False, "Type": types}]},
        }
        (folder / f"SegmentationCategoryTypeModifier-{name}.term.json").write_text(json.dumps(context), "utf-8")
        regions = {
            "@schema": SCHEMA.format("anatomic"),
            "AnatomicContextName": f"Anatomic codes - {name}",
            "AnatomicCodes": {"AnatomicRegion": [tissue]},
        }
        (folder / f"AnatomicRegionAndModifier-{name}.term.json").write_text(json.dumps(regions), "utf-8")
    return folder


def _register_displayable_managers() -> None:
    """What qMRMLSliceView, qMRMLThreeDView and the `setup()` of the loadable modules register.

    Only the frames of the slices in 3D are missing: slicer-core cannot make their manager by its name.
    """
    for factory, names in (
        (
            _factory_of_slices(),
            (
                *("vtkMRMLVolumeGlyphSliceDisplayableManager", "vtkMRMLModelSliceDisplayableManager"),
                *("vtkMRMLCrosshairDisplayableManager", "vtkMRMLOrientationMarkerDisplayableManager"),
                *("vtkMRMLRulerDisplayableManager", "vtkMRMLScalarBarDisplayableManager"),
                *("vtkMRMLMarkupsDisplayableManager", "vtkMRMLSegmentationsDisplayableManager2D"),
                *("vtkMRMLTransformsDisplayableManager2D", "vtkMRMLColorLegendDisplayableManager"),
            ),
        ),
        (
            _factory_of_three_d(),
            (
                *("vtkMRMLCameraDisplayableManager", "vtkMRMLViewDisplayableManager"),
                *("vtkMRMLModelDisplayableManager", "vtkMRMLThreeDReformatDisplayableManager"),
                *("vtkMRMLCrosshairDisplayableManager3D", "vtkMRMLOrientationMarkerDisplayableManager"),
                *("vtkMRMLRulerDisplayableManager", "vtkMRMLMarkupsDisplayableManager"),
                *("vtkMRMLSegmentationsDisplayableManager3D", "vtkMRMLTransformsDisplayableManager3D"),
                *("vtkMRMLColorLegendDisplayableManager", "vtkMRMLVolumeRenderingDisplayableManager"),
            ),
        ),
    ):
        for name in names:
            if not factory.IsDisplayableManagerRegistered(name):
                factory.RegisterDisplayableManager(name)


def _fill_hierarchy(scene: Any) -> None:
    """Every data node has an item in the subject hierarchy, as qSlicerSubjectHierarchyPluginLogic sees to."""
    find = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode

    def add(node: Any) -> None:
        if not any(node.IsA(name) for name in IN_HIERARCHY) or node.GetHideFromEditors():
            return
        hierarchy = find(scene)
        if not hierarchy.GetItemByDataNode(node):
            hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)

    def on_added(_caller: Any, _event: str, node: Any) -> None:
        if node.IsA("vtkMRMLSubjectHierarchyNode"):
            slicer.vtkMRMLSubjectHierarchyNode.ResolveSubjectHierarchy(scene)
        elif not scene.IsImporting():
            add(node)

    def on_about_to_be_removed(_caller: Any, _event: str, node: Any) -> None:
        if scene.IsClosing() or node.IsA("vtkMRMLSubjectHierarchyNode"):
            return
        hierarchy = find(scene)
        item = hierarchy.GetItemByDataNode(node)
        if item:
            hierarchy.RemoveItem(item, False)

    def on_scene_ended(*_: Any) -> None:
        slicer.vtkMRMLSubjectHierarchyNode.ResolveSubjectHierarchy(scene)
        for index in range(scene.GetNumberOfNodes()):
            add(scene.GetNthNode(index))

    on_added.CallDataType = on_about_to_be_removed.CallDataType = vtk.VTK_OBJECT  # type: ignore[attr-defined]
    scene.AddObserver(scene.NodeAddedEvent, on_added)
    scene.AddObserver(scene.NodeAboutToBeRemovedEvent, on_about_to_be_removed)
    for event in (scene.EndImportEvent, scene.EndCloseEvent):
        scene.AddObserver(event, on_scene_ended, 10.0)
