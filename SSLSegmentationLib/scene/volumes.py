"""Scans: scalar volume nodes as Volumes in the patient's space, and Volumes as nodes on a scan's grid."""

from __future__ import annotations

import numpy as np
import slicer

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.plane import Box
from SSLSegmentationLib.scene.arrays import array_of, image_of, matrix_of, voxels_of
from SSLSegmentationLib.scene.nodes import nodes_of
from SSLSegmentationLib.volume import Volume, check_matrix

_HOUNSFIELD = "[hnsf'U]"  # UCUM's code, as Slicer's DICOM reader notes it on volumes


def volume_of(node: slicer.vtkMRMLScalarVolumeNode) -> Volume:
    """The scan of a node, where its parent transforms put it; the voxels are those of the node, not a copy."""
    name = node.GetName() or "the volume"
    image = node.GetImageData()
    if image is None or image.GetPointData().GetScalars() is None:
        raise InputError(f"{name} has no voxels: choose another volume, or load the scan again.")
    components = image.GetNumberOfScalarComponents()
    if components > 1:
        raise InputError(
            f"{name} has {components} values in every voxel, as a colour picture or a field of vectors: "
            "make one value of them first, with the module Vector to Scalar Volume."
        )
    return Volume(voxels_of(image), world_matrix(node), name=name, modality=modality_of(node))


def world_matrix(node: slicer.vtkMRMLVolumeNode) -> np.ndarray:
    """From (i, j, k) to RAS of the world, under all parent transforms."""
    matrix = transform_to_world(node) @ array_of(node.GetIJKToRASMatrix)
    check_matrix(matrix, node.GetName() or "the volume")
    return matrix


def transform_to_world(node: slicer.vtkMRMLTransformableNode) -> np.ndarray:
    """The 4×4 matrix of all parent transforms of a node."""
    transform = node.GetParentTransformNode()
    if transform is None:
        return np.eye(4)
    if not transform.IsTransformToWorldLinear():
        raise InputError(
            f"{node.GetName()} lies under a transform that bends space ({transform.GetName()}): "
            "harden the transform in the module Transforms, or take the volume out of it."
        )
    return array_of(transform.GetMatrixTransformToWorld)


def modality_of(node: slicer.vtkMRMLVolumeNode) -> str:
    """DICOM's code, as far as the scene knows it: from the series the scan was loaded from, or from its units."""
    scene = node.GetScene()
    hierarchy = scene.GetSubjectHierarchyNode() if scene is not None else None
    if hierarchy is not None:
        constants = slicer.vtkMRMLSubjectHierarchyConstants
        item = hierarchy.GetItemByDataNode(node)
        said = hierarchy.GetItemAttribute(item, constants.GetDICOMSeriesModalityAttributeName()) if item else ""
        if said:
            return said
    units = node.GetVoxelValueUnits()
    return "CT" if units is not None and units.GetCodeValue() == _HOUNSFIELD else ""


def frame_note(node: slicer.vtkMRMLVolumeNode) -> str:
    """A sentence that says which frame is used, if the volume shows one of a sequence; else nothing."""
    for browser in nodes_of(node.GetScene(), "vtkMRMLSequenceBrowserNode"):
        sequence = browser.GetSequenceNode(node)
        if sequence is None:
            continue
        number, count = browser.GetSelectedItemNumber() + 1, browser.GetNumberOfItems()
        return f"{node.GetName()} is a sequence: the frame that is shown is used, {number} of {count}."
    return ""


def stamp_of(node: slicer.vtkMRMLVolumeNode) -> tuple[int | float, ...]:
    """Changes when the voxels of a volume or its place do: by a new frame, an edit, or a transform."""
    image = node.GetImageData()
    place = (transform_to_world(node) @ array_of(node.GetIJKToRASMatrix)).ravel().tolist()
    return (image.GetMTime() if image is not None else 0, *place)


def add_volume(
    scene: slicer.vtkMRMLScene,
    volume: Volume,
    scan: slicer.vtkMRMLVolumeNode | None = None,
    *,
    shown: bool = True,
) -> slicer.vtkMRMLScalarVolumeNode:
    """A node for a Volume. With a scan, it lies on the scan's grid and goes along when the scan is moved."""
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", volume.name)
    if scan is not None:
        if volume.shape != scan.GetImageData().GetDimensions()[::-1]:
            scene.RemoveNode(node)
            raise ValueError(f"{volume.name} of {volume.shape} voxels does not lie on the grid of {scan.GetName()}")
        node.SetIJKToRASMatrix(matrix_of(array_of(scan.GetIJKToRASMatrix)))
        node.SetAndObserveTransformNodeID(scan.GetTransformNodeID())
    else:
        node.SetIJKToRASMatrix(matrix_of(volume.ijk_to_ras))
    node.SetAndObserveImageData(image_of(volume.voxels))
    if shown:
        node.CreateDefaultDisplayNodes()
    return node


def write_into(node: slicer.vtkMRMLVolumeNode, box: Box, voxels: np.ndarray) -> None:
    """Change the voxels inside a box where they lie, and tell the views."""
    image = node.GetImageData()
    voxels_of(image)[box] = voxels
    image.GetPointData().GetScalars().Modified()
    image.Modified()
    node.Modified()
