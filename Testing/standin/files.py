"""Loading and saving by the kind of file, so that slicer.util.loadVolume, loadScene, saveNode and saveScene work."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer
import vtk
from PySide6 import QtCore

ENDINGS = {
    "VolumeFile": (".nrrd", ".nhdr", ".nii", ".nii.gz", ".mha", ".mhd", ".dcm"),
    "SegmentationFile": (".seg.nrrd", ".seg.nhdr"),
    "MarkupsFile": (".mrk.json", ".fcsv"),
    "ModelFile": (".stl", ".vtk", ".vtp", ".obj", ".ply"),
    "SceneFile": (".mrml", ".mrb"),
    "TransformFile": (".h5", ".tfm"),
    "TextFile": (".txt", ".json"),
    "TableFile": (".csv", ".tsv"),
}
WRITTEN_AS = {
    "vtkMRMLSegmentationNode": "SegmentationFile",
    "vtkMRMLMarkupsNode": "MarkupsFile",
    "vtkMRMLModelNode": "ModelFile",
    "vtkMRMLTransformNode": "TransformFile",
    "vtkMRMLTextNode": "TextFile",
    "vtkMRMLTableNode": "TableFile",
    "vtkMRMLVolumeNode": "VolumeFile",
}


class qSlicerCoreIOManager(QtCore.QObject):
    """qSlicerCoreIOManager (Slicer/Base/QTCore/qSlicerCoreIOManager.h) for the kinds of file above."""

    def fileType(self, name: str) -> str:
        """The kind with the longest ending that fits: x.seg.nrrd is a segmentation, x.nrrd a volume."""
        fits = [(len(end), kind) for kind, ends in ENDINGS.items() for end in ends if str(name).lower().endswith(end)]
        return max(fits)[1] if fits else "NoFile"

    def fileWriterFileType(self, node: Any, extension: str = "") -> str:
        return next((kind for name, kind in WRITTEN_AS.items() if node.IsA(name)), "NoFile")

    def registeredFileReaderCount(self, kind: str) -> int:
        return int(kind in ENDINGS)

    def extractKnownExtension(self, name: str, node: Any) -> str:
        return _storage_of(node).GetSupportedFileExtension(str(name)) or ""

    def loadScene(self, name: str, clear: bool = True, messages: Any = None) -> bool:
        return self.loadNodes("SceneFile", {"fileName": name, "clear": clear}, None, messages)

    def loadNodes(self, kind: str, properties: dict[str, Any], loaded: Any = None, messages: Any = None) -> bool:
        path = str(properties["fileName"])
        if not os.path.exists(path):
            if messages is not None:
                messages.AddMessage(vtk.vtkCommand.ErrorEvent, f"File does not exist: {path}")
            return False
        if kind == "SceneFile":
            return _load_scene(path, properties.get("clear", True))
        reader = READERS.get(kind)
        node = reader(path, properties.get("name") or _stem(path, kind), properties) if reader else None
        if node is None:
            return False
        if loaded is not None:
            loaded.AddItem(node)
        return True

    def saveNodes(self, kind: str, properties: dict[str, Any], messages: Any = None, scene: Any = None) -> bool:
        path = os.path.abspath(str(properties["fileName"]))  # a bundle with a relative path is written but never read
        if kind == "SceneFile":
            return _save_scene(path)
        node = slicer.mrmlScene.GetNodeByID(properties["nodeID"])
        if node.GetStorageNode() is None:
            node.AddDefaultStorageNode(path)
        storage = node.GetStorageNode()
        storage.SetFileName(path)
        storage.SetUseCompression(properties.get("useCompression", 1))
        return bool(storage.WriteData(node))


def _stem(path: str, kind: str) -> str:
    name = os.path.basename(path)
    ends = [end for end in ENDINGS[kind] if name.lower().endswith(end)]
    return name[: -len(max(ends, key=len))] if ends else Path(name).stem


def _storage_of(node: Any) -> Any:
    if node.GetStorageNode() is not None:
        return node.GetStorageNode()
    storage = node.CreateDefaultStorageNode()
    storage.UnRegister(None)
    return storage


def _load_scene(path: str, clear: bool) -> bool:
    scene = slicer.mrmlScene
    if clear:
        scene.Clear(False)
    if path.lower().endswith(".mrb"):
        return bool(scene.ReadFromMRB(os.path.abspath(path), clear))
    scene.SetURL(path)
    return bool(scene.Import())


def _save_scene(path: str) -> bool:
    scene = slicer.mrmlScene
    if path.lower().endswith(".mrb"):
        with tempfile.TemporaryDirectory(dir=slicer.app.temporaryPath):
            return bool(scene.WriteToMRB(path))
    if path.lower().endswith(".mrml"):
        scene.SetURL(path)
        return bool(scene.Commit(path))
    return bool(slicer.app.applicationLogic().SaveSceneToSlicerDataBundleDirectory(path))


def _load_volume(path: str, name: str, properties: dict[str, Any]) -> Any:
    options = (1 if properties.get("labelmap") else 0) | (2 if properties.get("center") else 0)
    options |= 4 if properties.get("singleFile") else 0
    node = slicer.modules.volumes.logic().AddArchetypeVolume(path, name, options)
    if node is not None and properties.get("show", True):
        logic = slicer.app.applicationLogic()
        selection = logic.GetSelectionNode()
        choose = selection.SetActiveLabelVolumeID if properties.get("labelmap") else selection.SetActiveVolumeID
        choose(node.GetID())
        logic.PropagateVolumeSelection()
    return node


def _load_segmentation(path: str, name: str, _properties: dict[str, Any]) -> Any:
    return slicer.modules.segmentations.logic().LoadSegmentationFromFile(path, True, name)


def _load_markups(path: str, name: str, _properties: dict[str, Any]) -> Any:
    return slicer.mrmlScene.GetNodeByID(slicer.modules.markups.logic().LoadMarkups(path, name, None) or "")


def _load_model(path: str, _name: str, _properties: dict[str, Any]) -> Any:
    return slicer.modules.models.logic().AddModel(path)


def _load_transform(path: str, _name: str, _properties: dict[str, Any]) -> Any:
    return slicer.modules.transforms.logic().AddTransform(path, slicer.mrmlScene)


READERS: dict[str, Callable[[str, str, dict[str, Any]], Any]] = {
    "VolumeFile": _load_volume,
    "SegmentationFile": _load_segmentation,
    "MarkupsFile": _load_markups,
    "ModelFile": _load_model,
    "TransformFile": _load_transform,
}
