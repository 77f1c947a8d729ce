"""Segments: what a segmentation holds, seen on the grid of a scan; which are locked; new ones, named and coloured."""

from __future__ import annotations

from collections.abc import Iterable

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


def mask_of(node: slicer.vtkMRMLSegmentationNode, segment_id: str, scan: slicer.vtkMRMLScalarVolumeNode) -> Cropped:
    """The voxels of a segment on the grid of a scan.

    Where the segmentation has another grid, a voxel of the scan counts if its centre lies in a voxel of the segment.
    """
    whole = tuple(slice(0, n) for n in scan.GetImageData().GetDimensions()[::-1])
    filled = Inside(node, scan, whole).stored(segment_id)
    if filled is None:
        return NOTHING
    return Cropped(filled.box, filled.bits == segment_of(node, segment_id).GetLabelValue()).tight()


class Inside:
    """What segments hold inside a (k, j, i) box of a scan, as it is when asked first; every layer is read once."""

    def __init__(self, node: slicer.vtkMRMLSegmentationNode, scan: slicer.vtkMRMLScalarVolumeNode, box: Box) -> None:
        self.box, self._node = box, node
        self._to_segmentation = scan_to_segmentation(node, scan)
        self._layers: dict[str, np.ndarray] = {}

    def mask(self, segment_id: str) -> np.ndarray:
        """The voxels of the box that belong to a segment."""
        values = self._values(segment_id)
        return values == segment_of(self._node, segment_id).GetLabelValue()

    def among(self, mask: np.ndarray, ids: Iterable[str]) -> list[str]:
        """The segments of these that have a voxel where the mask is set."""
        present: dict[int, set[int]] = {}
        found = []
        for segment_id in ids:
            values = self._values(segment_id)
            if id(values) not in present:
                present[id(values)] = set(np.unique(values[mask]).tolist())
            if segment_of(self._node, segment_id).GetLabelValue() in present[id(values)]:
                found.append(segment_id)
        return found

    def stored(self, segment_id: str) -> Cropped | None:
        """The label values of the layer that holds a segment, in the part of the box that the layer fills."""
        image = _labelmap(self._node, segment_id)
        if image is None or any(s.start >= s.stop for s in self.box):
            return None
        to_scan = np.linalg.inv(self._to_segmentation) @ array_of(image.GetImageToWorldMatrix)
        filled = box_of_extent(image)
        part = _common(_reach(self.box, np.linalg.inv(to_scan)), filled)
        if part is None:
            return None
        values = voxels_of(image)[_counted_from(part, filled)]
        placed = carried(Cropped(part, values), to_scan)
        common = _common(placed.box, self.box)
        return None if common is None else Cropped(common, placed.bits[_counted_from(common, placed.box)])

    def _values(self, segment_id: str) -> np.ndarray:
        """The label values of the layer that holds a segment, zero where there is none."""
        segment = segment_of(self._node, segment_id)
        image = segment.GetRepresentation(binary_name())
        key = image.__this__ if image is not None else ""
        if key not in self._layers:
            filled = self.stored(segment_id)
            shape = tuple(max(0, s.stop - s.start) for s in self.box)
            if filled is not None and filled.bits.shape == shape:
                self._layers[key] = filled.bits
            else:
                values = np.zeros(shape, dtype=np.uint8 if filled is None else filled.bits.dtype)
                if filled is not None:
                    values[_counted_from(filled.box, self.box)] = filled.bits
                self._layers[key] = values
        return self._layers[key]


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
    image = segment_of(node, segment_id).GetRepresentation(binary_name())
    if image is None or image.IsEmpty() or image.GetPointData().GetScalars() is None:
        return None
    return image


def _reach(box: Box, to_lattice: np.ndarray) -> Box:
    """The box of a lattice that holds every voxel which a box of the scan touches."""
    sides = np.array(np.meshgrid(*[(s.start - 0.5, s.stop - 0.5) for s in reversed(box)])).reshape(3, -1)
    reached = to_lattice[:3, :3] @ sides + to_lattice[:3, 3:]
    low, high = np.floor(reached.min(axis=1)).astype(int), np.ceil(reached.max(axis=1)).astype(int)
    return tuple(slice(int(a), int(b) + 1) for a, b in zip(low[::-1], high[::-1], strict=True))


def _common(a: Box, b: Box) -> Box | None:
    """What two boxes have in common."""
    both = tuple(slice(max(x.start, y.start), min(x.stop, y.stop)) for x, y in zip(a, b, strict=True))
    return both if all(s.start < s.stop for s in both) else None


def _counted_from(box: Box, outer: Box) -> Box:
    return tuple(slice(s.start - o.start, s.stop - o.start) for s, o in zip(box, outer, strict=True))
