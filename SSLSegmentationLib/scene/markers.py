"""Markers: the prompts of a segment as markups, so that they can be seen, moved, deleted and saved with the scene.

Positive and negative points of a segment are two lists of points, each of its boxes is a region of interest. All of
them belong to a scan and a segmentation by node references, and to a segment by an attribute: a loaded scene has its
prompts back without anything else being stored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import slicer

from SSLSegmentationLib.plane import Plane
from SSLSegmentationLib.prompts import BoxPrompt, PointPrompt, Prompt
from SSLSegmentationLib.scene.arrays import array_of, matrix_of
from SSLSegmentationLib.scene.nodes import Watch, follow, nodes_of, remove
from SSLSegmentationLib.scene.planes import plane_through, slice_to_ras
from SSLSegmentationLib.scene.views import centre_views, view_at
from SSLSegmentationLib.scene.volumes import volume_of
from SSLSegmentationLib.volume import Volume

POSITIVE, NEGATIVE, BOX, BOX_3D = "positive", "negative", "box", "box in space"

_SCAN, _SEGMENTATION = "SSLSegmentation.Scan", "SSLSegmentation.Segmentation"  # node references
_SEGMENT, _KIND = "SSLSegmentation.Segment", "SSLSegmentation.Kind"  # attributes
_COLORS = {POSITIVE: (0.15, 0.9, 0.3), NEGATIVE: (1.0, 0.25, 0.2), BOX: (1.0, 0.85, 0.1), BOX_3D: (1.0, 0.85, 0.1)}
_SIGNS = {POSITIVE: "+", NEGATIVE: "\N{MINUS SIGN}"}
_POINTS, _ROI = "vtkMRMLMarkupsFiducialNode", "vtkMRMLMarkupsROINode"


@dataclass(frozen=True)
class Marker:
    """One prompt as it lies in the scene."""

    segment_id: str
    kind: str
    node_id: str
    point_id: str
    """Which point of the node; empty for a box."""
    ras: tuple[float, float, float]
    label: str


class Markers:
    """The prompts of a scan and a segmentation; `changed` is told the segment whose prompts have changed.

    It is told when a prompt is finished, not while the mouse moves: when a point or box has been placed, when dragging
    one has ended, and when one has been deleted, here or anywhere else in the application.
    """

    def __init__(
        self,
        scan: slicer.vtkMRMLScalarVolumeNode,
        segmentation: slicer.vtkMRMLSegmentationNode,
        changed: Callable[[str], None] = lambda segment_id: None,
    ) -> None:
        self._scan, self._segmentation, self._scene = scan, segmentation, scan.GetScene()
        self._changed = changed
        self._counts: dict[str, int] = {}
        self._busy = False
        self._open: set[str] = set()
        """Boxes of which a corner is still to be placed."""
        self._placed: Callable[[], None] = lambda: None
        self._watch = Watch()
        self._watch.on_node(self._scene, self._scene.NodeRemovedEvent, self._removed)
        self._watch.on(scan, scan.TransformModifiedEvent, self._follow)
        for node in self._nodes():
            self._observe(node)

    def add_point(
        self,
        segment_id: str,
        ras: tuple[float, float, float],
        positive: bool = True,
        view: slicer.vtkMRMLSliceNode | None = None,
    ) -> Marker:
        """A point in the slice of a view, or in space."""
        node = self._points(segment_id, POSITIVE if positive else NEGATIVE)
        self._busy = True
        index = node.AddControlPointWorld(list(ras))
        self._busy = False
        self._counts[node.GetID()] = node.GetNumberOfDefinedControlPoints()
        _note_view(node, index, view)
        self._changed(segment_id)
        return self._marker(node, index)

    def add_box(
        self,
        segment_id: str,
        corner: tuple[float, float, float],
        opposite: tuple[float, float, float],
        view: slicer.vtkMRMLSliceNode,
        in_space: bool = False,
    ) -> Marker:
        """A box on the slice of a view between two places; in space it is as deep as its shorter side is long."""
        node = self._new_box(segment_id, BOX_3D if in_space else BOX)
        axes = _axes(view)
        ends = np.array([corner, opposite], dtype=np.float64) @ axes
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = axes, axes @ ends.mean(axis=0)
        self._open.discard(node.GetID())
        self._shape_box(node, matrix, np.abs(ends[1] - ends[0]))
        self._changed(segment_id)
        return self._marker(node)

    def place(self, segment_id: str, kind: str, again: bool = True) -> None:
        """Let the user place prompts with the mouse, one after the other or one only, in any view."""
        node = self._points(segment_id, kind) if kind in _SIGNS else self._new_box(segment_id, kind)
        selection, interaction = self._placing()
        selection.SetReferenceActivePlaceNodeClassName(node.GetClassName())
        selection.SetActivePlaceNodeID(node.GetID())
        interaction.SetPlaceModePersistence(again)
        interaction.SetCurrentInteractionMode(interaction.Place)
        # A box is a node of its own, so the next one needs the next node.
        self._placed = (lambda: self.place(segment_id, kind)) if again and kind not in _SIGNS else (lambda: None)

    def stop_placing(self) -> None:
        """Back to looking; a box that was not finished is forgotten."""
        self._placed = lambda: None
        _, interaction = self._placing()
        if interaction.GetCurrentInteractionMode() == interaction.Place:
            interaction.SetCurrentInteractionMode(interaction.ViewTransform)
        self._busy = True
        for node in self._nodes():
            if node.IsA(_ROI) and not _finished(node):
                remove(node)
        self._busy = False

    def markers(self, segment_id: str | None = None) -> list[Marker]:
        """All prompts, or those of a segment: points in the order in which they were placed, then boxes."""
        found = []
        for node in self._nodes(segment_id):
            if node.IsA(_ROI):
                found.extend([self._marker(node)] if _finished(node) else [])
            else:
                found.extend(self._marker(node, index) for index in _defined(node))
        return found

    def prompts(self, segment_id: str) -> list[Prompt]:
        """The prompts of a segment, in RAS, with the planes of the views in which they were placed."""
        volume = volume_of(self._scan)
        found: list[Prompt] = []
        for node in self._nodes(segment_id):
            if node.IsA(_ROI):
                found.extend([_box_prompt(node, volume)] if _finished(node) else [])
            else:
                positive = node.GetAttribute(_KIND) == POSITIVE
                found.extend(_point_prompt(node, index, positive, volume) for index in _defined(node))
        return found

    def jump(self, marker: Marker) -> None:
        """Bring a prompt into the middle of all slice views."""
        centre_views(self._scene, marker.ras)

    def delete(self, marker: Marker) -> None:
        node = self._scene.GetNodeByID(marker.node_id)
        if node is None:
            return
        index = node.GetNthControlPointIndexByID(marker.point_id) if marker.point_id else -1
        if index >= 0:
            node.RemoveNthControlPoint(index)
        elif not marker.point_id:
            remove(node)

    def clear(self, segment_id: str | None = None) -> None:
        """Delete the prompts of a segment, or all of them."""
        nodes = self._nodes(segment_id)
        touched = dict.fromkeys(node.GetAttribute(_SEGMENT) for node in nodes)
        self._busy = True
        for node in nodes:
            remove(node)
        self._busy = False
        for each in touched:
            self._changed(each)

    def show_only(self, segment_id: str | None) -> None:
        """Show the prompts of one segment, none with an empty id, or all with None."""
        for node in self._nodes():
            node.SetDisplayVisibility(segment_id is None or node.GetAttribute(_SEGMENT) == segment_id)

    def close(self) -> None:
        """Stop watching; the prompts stay in the scene."""
        self._placed = lambda: None
        self._watch.end()

    def _nodes(self, segment_id: str | None = None) -> list[slicer.vtkMRMLMarkupsNode]:
        """Positive points, negative points, then boxes."""
        found = []
        for node in (*nodes_of(self._scene, _POINTS), *nodes_of(self._scene, _ROI)):
            ours = node.GetNodeReference(_SCAN) is self._scan
            ours = ours and node.GetNodeReference(_SEGMENTATION) is self._segmentation
            if ours and segment_id in (None, node.GetAttribute(_SEGMENT)):
                found.append(node)
        return sorted(found, key=lambda node: list(_COLORS).index(node.GetAttribute(_KIND)))

    def _points(self, segment_id: str, kind: str) -> slicer.vtkMRMLMarkupsFiducialNode:
        for node in self._nodes(segment_id):
            if node.GetAttribute(_KIND) == kind:
                return node
        node = self._new(_POINTS, segment_id, kind)
        node.SetControlPointLabelFormat(f"{_SIGNS[kind]}%d")
        return node

    def _new_box(self, segment_id: str, kind: str) -> slicer.vtkMRMLMarkupsROINode:
        return self._new(_ROI, segment_id, kind)

    def _new(self, class_name: str, segment_id: str, kind: str) -> slicer.vtkMRMLMarkupsNode:
        segment = self._segmentation.GetSegmentation().GetSegment(segment_id)
        name = segment.GetName() if segment is not None else segment_id
        node = self._scene.AddNewNodeByClass(class_name, self._scene.GenerateUniqueName(f"{name} {kind}"))
        node.SetAttribute(_SEGMENT, segment_id)
        node.SetAttribute(_KIND, kind)
        node.SetNodeReferenceID(_SCAN, self._scan.GetID())
        node.SetNodeReferenceID(_SEGMENTATION, self._segmentation.GetID())
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        display.SetColor(*_COLORS[kind])
        display.SetSelectedColor(*_COLORS[kind])
        display.SetActiveColor(*_COLORS[kind])
        display.SetPropertiesLabelVisibility(False)
        if class_name == _ROI:
            display.SetFillVisibility(False)
        else:
            display.SetGlyphTypeFromString("ThickCross2D" if kind == POSITIVE else "Dash2D")
            display.SetGlyphScale(4.0)
            display.SetTextScale(3.5)
        follow(node, self._scan)
        self._observe(node)
        return node

    def _observe(self, node: slicer.vtkMRMLMarkupsNode) -> None:
        self._counts[node.GetID()] = node.GetNumberOfDefinedControlPoints()
        self._watch.on(node, node.PointPositionDefinedEvent, lambda: self._defined(node))
        self._watch.on(node, node.PointEndInteractionEvent, lambda: self._changed(node.GetAttribute(_SEGMENT)))
        self._watch.on(node, node.PointRemovedEvent, lambda: self._fewer(node))
        if node.IsA(_ROI) and not _finished(node):
            # Slicer does not always say that the second corner is placed: it looks at a point it has deleted by then.
            self._open.add(node.GetID())
            self._watch.on(node, node.PointModifiedEvent, lambda: self._completed(node))

    def _defined(self, node: slicer.vtkMRMLMarkupsNode) -> None:
        """A click has placed a point of a list, or a corner of a box."""
        if self._busy:
            return
        if node.IsA(_ROI):
            self._corner(node)
            return
        index = node.GetNumberOfControlPoints() - 1
        self._counts[node.GetID()] = node.GetNumberOfDefinedControlPoints()
        if not node.GetNthControlPointDescription(index):
            _note_view(node, index, view_at(self._scene, node.GetNthControlPointPositionWorld(index)))
        self._changed(node.GetAttribute(_SEGMENT))

    def _corner(self, node: slicer.vtkMRMLMarkupsROINode) -> None:
        if _finished(node):
            self._completed(node)
        elif node.GetNumberOfDefinedControlPoints() < 2:
            # The first: turn the box as the view is turned, so that Slicer draws it on the slice while the mouse moves.
            place = node.GetNthControlPointPositionWorld(0)
            view = view_at(self._scene, place)
            if view is not None:
                matrix = np.eye(4)
                matrix[:3, :3], matrix[:3, 3] = _axes(view), place
                self._place_box(node, matrix, np.zeros(3))
        else:
            self._shape_box(node, _object_to_world(node), np.zeros(3))
            self._completed(node)

    def _completed(self, node: slicer.vtkMRMLMarkupsROINode) -> None:
        if self._busy or node.GetID() not in self._open or not _finished(node):
            return
        self._open.discard(node.GetID())
        self._shape_box(node, _object_to_world(node), np.array(node.GetSize()))
        self._changed(node.GetAttribute(_SEGMENT))
        placed, self._placed = self._placed, lambda: None
        placed()

    def _fewer(self, node: slicer.vtkMRMLMarkupsNode) -> None:
        # Slicer also removes points that were only hovering under the mouse, and the corners of a finished box.
        before, now = self._counts.get(node.GetID(), 0), node.GetNumberOfDefinedControlPoints()
        self._counts[node.GetID()] = now
        if now < before and not node.IsA(_ROI):
            self._changed(node.GetAttribute(_SEGMENT))

    def _removed(self, node: slicer.vtkMRMLNode) -> None:
        if node is self._scan or node is self._segmentation:
            self.close()
            return
        segment_id = node.GetAttribute(_SEGMENT)
        if segment_id is not None and node.IsA("vtkMRMLMarkupsNode"):
            self._watch.end(node)
            if not (self._busy or self._scene.IsClosing()):
                self._changed(segment_id)

    def _follow(self) -> None:
        for node in self._nodes():
            follow(node, self._scan)

    def _marker(self, node: slicer.vtkMRMLMarkupsNode, index: int = -1) -> Marker:
        segment_id, kind = node.GetAttribute(_SEGMENT), node.GetAttribute(_KIND)
        if index < 0:
            return Marker(segment_id, kind, node.GetID(), "", tuple(node.GetCenterWorld()), kind)
        point_id, label = node.GetNthControlPointID(index), node.GetNthControlPointLabel(index)
        return Marker(
            segment_id, kind, node.GetID(), point_id, tuple(node.GetNthControlPointPositionWorld(index)), label
        )

    def _shape_box(self, node: slicer.vtkMRMLMarkupsROINode, to_world: np.ndarray, sides: np.ndarray) -> None:
        """A box between two corners on a slice: one slice thick, or as deep as its shorter side is long.

        Two clicks at one place make a box of one voxel, which can be seen and deleted.
        """
        steps = volume_of(self._scan).ijk_to_ras[:3, :3]
        sides = np.maximum(sides, np.linalg.norm(steps, axis=0).min())
        in_space = node.GetAttribute(_KIND) == BOX_3D
        sides[2] = min(sides[:2]) if in_space else np.abs(to_world[:3, 2] @ steps).max()
        self._place_box(node, to_world, sides)

    def _place_box(self, node: slicer.vtkMRMLMarkupsROINode, to_world: np.ndarray, sides: np.ndarray) -> None:
        matrix = np.linalg.inv(_to_world(node)) @ to_world
        scale = np.linalg.norm(matrix[:3, :3], axis=0)
        matrix[:3, :3] /= scale
        self._busy = True
        node.GetObjectToNodeMatrix().DeepCopy(matrix_of(matrix))
        node.SetSize(*(sides * scale))
        self._busy = False

    def _placing(self) -> tuple[slicer.vtkMRMLSelectionNode, slicer.vtkMRMLInteractionNode]:
        return (
            self._scene.GetFirstNodeByClass("vtkMRMLSelectionNode"),
            self._scene.GetFirstNodeByClass("vtkMRMLInteractionNode"),
        )


def _defined(node: slicer.vtkMRMLMarkupsNode) -> list[int]:
    """The points that have been placed, not the one that hovers under the mouse."""
    count = node.GetNumberOfControlPoints()
    return [n for n in range(count) if node.GetNthControlPointPositionStatus(n) == node.PositionDefined]


def _finished(node: slicer.vtkMRMLMarkupsROINode) -> bool:
    # A box asks for two corners, and once it has them, keeps only its centre as a point.
    return node.GetRequiredNumberOfControlPoints() == 1 and max(node.GetSize()) > 0


def _note_view(node: slicer.vtkMRMLMarkupsNode, index: int, view: slicer.vtkMRMLSliceNode | None) -> None:
    """Keep with a point in which view it was placed, and how that was turned: both are saved with the point."""
    if view is None:
        return
    axes = np.linalg.inv(_to_world(node)[:3, :3]) @ _axes(view)
    node.SetNthControlPointOrientationMatrix(index, axes.ravel().tolist())
    node.SetNthControlPointDescription(index, view.GetLayoutName() or view.GetName())


def _point_prompt(node: slicer.vtkMRMLMarkupsNode, index: int, positive: bool, volume: Volume) -> PointPrompt:
    ras = tuple(node.GetNthControlPointPositionWorld(index))
    plane: Plane | None = None
    if node.GetNthControlPointDescription(index):
        axes = np.reshape(node.GetNthControlPointOrientationMatrix(index), (3, 3))
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = _to_world(node)[:3, :3] @ axes, ras
        plane = plane_through(matrix, volume)
    return PointPrompt(ras, positive, plane)


def _box_prompt(node: slicer.vtkMRMLMarkupsROINode, volume: Volume) -> BoxPrompt:
    to_world, sides = _object_to_world(node), np.array(node.GetSize())
    flat = node.GetAttribute(_KIND) == BOX
    edges = [tuple(to_world[:3, axis] * sides[axis]) for axis in range(2 if flat else 3)]
    corner = to_world[:3, 3] - np.sum(edges, axis=0) / 2
    return BoxPrompt(tuple(corner), tuple(edges), plane_through(to_world, volume) if flat else None)


def _axes(view: slicer.vtkMRMLSliceNode) -> np.ndarray:
    """Right, up and towards the user, as columns."""
    axes = slice_to_ras(view)[:3, :3]
    return axes / np.linalg.norm(axes, axis=0)


def _object_to_world(node: slicer.vtkMRMLMarkupsROINode) -> np.ndarray:
    # Slicer's own matrix to the world is not yet up to date while a box is being finished.
    return _to_world(node) @ np.array(node.GetObjectToNodeMatrix().GetData()).reshape(4, 4)


def _to_world(node: slicer.vtkMRMLTransformableNode) -> np.ndarray:
    transform = node.GetParentTransformNode()
    return np.eye(4) if transform is None else array_of(transform.GetMatrixTransformToWorld)
