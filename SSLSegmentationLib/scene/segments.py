"""Segments: what a segmentation holds, seen on the grid of a scan; which are locked; new ones, named and coloured."""

from __future__ import annotations

import numpy as np
import slicer

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.plane import Box
from SSLSegmentationLib.proposal import NOTHING, Cropped
from SSLSegmentationLib.scene.arrays import array_of, box_of_extent, voxels_of
from SSLSegmentationLib.scene.grids import carried
from SSLSegmentationLib.scene.names import dress
from SSLSegmentationLib.scene.volumes import transform_to_world, world_matrix
from SSLSegmentationLib.volume import check_matrix

_LOCKED = "SSLSegmentation.Locked"  # a tag of the segment, so that the lock is saved with the scene and in .seg.nrrd


def new_segmentation(scan: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkMRMLSegmentationNode:
    """An empty segmentation of a scan, on its grid and under its transform."""
    node = scan.GetScene().AddNewNodeByClass("vtkMRMLSegmentationNode", f"{scan.GetName()} segmentation")
    node.CreateDefaultDisplayNodes()
    node.SetAndObserveTransformNodeID(scan.GetTransformNodeID())
    prepare(node, scan)
    return node


def prepare(node: slicer.vtkMRMLSegmentationNode, scan: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Make a segmentation ready for segments of a scan: drawn as voxels, and on the scan's grid if it has none yet."""
    segmentation = node.GetSegmentation()
    if segmentation.GetSourceRepresentationName() != binary_name():
        if segmentation.GetNumberOfSegments() and not segmentation.CreateRepresentation(binary_name()):
            raise InputError(f"{node.GetName()} cannot be turned into voxels: choose or make another segmentation.")
        segmentation.SetSourceRepresentationName(binary_name())
    parameter = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    empty = all(_labelmap(node, segment_id) is None for segment_id in segmentation.GetSegmentIDs())
    if empty or not segmentation.GetConversionParameter(parameter):
        node.SetReferenceImageGeometryParameterFromVolumeNode(scan)
    if node.GetNodeReferenceID(node.GetReferenceImageGeometryReferenceRole()) is None:
        node.SetNodeReferenceID(node.GetReferenceImageGeometryReferenceRole(), scan.GetID())
    if node.GetDisplayNode() is None:
        node.CreateDefaultDisplayNodes()


def add_segment(node: slicer.vtkMRMLSegmentationNode, label: Label) -> str:
    """An empty segment with the name, colour and terminology of a label; its id."""
    segmentation = node.GetSegmentation()
    segment_id = segmentation.AddEmptySegment("", label.name, label.color)
    dress(segmentation.GetSegment(segment_id), label)
    return segment_id


def segment_named(node: slicer.vtkMRMLSegmentationNode, name: str) -> str:
    """The id of the first segment of this name, upper or lower case; empty if there is none."""
    segmentation = node.GetSegmentation()
    wanted = name.strip().casefold()
    ids = segmentation.GetSegmentIDs()
    return next((i for i in ids if segmentation.GetSegment(i).GetName().strip().casefold() == wanted), "")


def mask_of(
    node: slicer.vtkMRMLSegmentationNode,
    segment_id: str,
    scan: slicer.vtkMRMLScalarVolumeNode,
    box: Box | None = None,
) -> Cropped:
    """The voxels of a segment on the grid of a scan, or those of them that lie in a (k, j, i) box.

    Where the segmentation has another grid, a voxel of the scan counts if its centre lies in a voxel of the segment.
    """
    segment = segment_of(node, segment_id)
    whole = tuple(slice(0, n) for n in scan.GetImageData().GetDimensions()[::-1])
    box = whole if box is None else box
    image = _labelmap(node, segment_id)
    if image is None or any(s.start >= s.stop for s in box):
        return NOTHING
    to_scan = np.linalg.inv(scan_to_segmentation(node, scan)) @ array_of(image.GetImageToWorldMatrix)
    voxels = voxels_of(image)
    around, filled = _reach(box, np.linalg.inv(to_scan)), box_of_extent(image)
    part = tuple(
        slice(max(a.start, f.start), max(a.start, f.start, min(a.stop, f.stop)))
        for a, f in zip(around, filled, strict=True)
    )
    inside = tuple(slice(p.start - f.start, p.stop - f.start) for p, f in zip(part, filled, strict=True))
    mask = carried(Cropped(part, voxels[inside] == segment.GetLabelValue()), to_scan)
    clipped = tuple(slice(max(m.start, b.start), min(m.stop, b.stop)) for m, b in zip(mask.box, box, strict=True))
    return Cropped(clipped, mask.within(clipped)).tight() if all(s.start < s.stop for s in clipped) else NOTHING


def segment_of(node: slicer.vtkMRMLSegmentationNode, segment_id: str) -> slicer.vtkSegment:
    segment = node.GetSegmentation().GetSegment(segment_id)
    if segment is None:
        raise InputError(f"{node.GetName()} has no segment {segment_id or 'chosen'}: choose a segment or add one.")
    return segment


def lock(node: slicer.vtkMRMLSegmentationNode, segment_id: str, locked: bool = True) -> None:
    """Keep a segment as it is, whatever is accepted into others or into itself."""
    segment = segment_of(node, segment_id)
    if locked:
        segment.SetTag(_LOCKED, "1")
    else:
        segment.RemoveTag(_LOCKED)


def is_locked(node: slicer.vtkMRMLSegmentationNode, segment_id: str) -> bool:
    return segment_of(node, segment_id).HasTag(_LOCKED)


def scan_to_segmentation(node: slicer.vtkMRMLSegmentationNode, scan: slicer.vtkMRMLScalarVolumeNode) -> np.ndarray:
    """From (i, j, k) of a scan to the millimetres in which a segmentation keeps its segments."""
    matrix = np.linalg.inv(transform_to_world(node)) @ world_matrix(scan)
    check_matrix(matrix, node.GetName())
    return matrix


def lattice_of(node: slicer.vtkMRMLSegmentationNode, segment_id: str) -> np.ndarray:
    """From (i, j, k) of the grid on which a segment is stored to the millimetres of its segmentation."""
    image = _labelmap(node, segment_id)
    if image is None:
        image = slicer.vtkOrientedImageData()
        parameter = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
        text = node.GetSegmentation().GetConversionParameter(parameter)
        slicer.vtkSegmentationConverter.DeserializeImageGeometry(text, image, False)
    return array_of(image.GetImageToWorldMatrix)


def binary_name() -> str:
    return slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()


def _labelmap(node: slicer.vtkMRMLSegmentationNode, segment_id: str) -> slicer.vtkOrientedImageData | None:
    """The voxels in which a segment is stored, often together with others; None if there are none."""
    image = node.GetSegmentation().GetSegment(segment_id).GetRepresentation(binary_name())
    if image is None or image.IsEmpty() or image.GetPointData().GetScalars() is None:
        return None
    return image


def _reach(box: Box, to_lattice: np.ndarray) -> Box:
    """The box of a lattice that holds every voxel which a box of the scan touches."""
    sides = np.array(np.meshgrid(*[(s.start - 0.5, s.stop - 0.5) for s in reversed(box)])).reshape(3, -1)
    reached = to_lattice[:3, :3] @ sides + to_lattice[:3, 3:]
    low, high = np.floor(reached.min(axis=1)).astype(int), np.ceil(reached.max(axis=1)).astype(int)
    return tuple(slice(int(a), int(b) + 1) for a, b in zip(low[::-1], high[::-1], strict=True))
