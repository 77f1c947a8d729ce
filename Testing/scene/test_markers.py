from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from SSLSegmentationLib.plane import slice_plane
from SSLSegmentationLib.prompts import BoxPrompt, PointPrompt
from SSLSegmentationLib.scene.markers import BOX, BOX_3D, NEGATIVE, POSITIVE, Markers
from SSLSegmentationLib.scene.planes import plane_through, slice_to_ras
from SSLSegmentationLib.scene.segments import new_segmentation
from SSLSegmentationLib.scene.volumes import volume_of
from SSLSegmentationLib.volume import Volume
from Testing.scene.making import placed, scan_in, segment_in, transform_in, view_in
from Testing.strategies import numbers, rotations

TILTED = np.array([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]])


class Desk:
    def __init__(self, scene: Any, scan: Any | None = None) -> None:
        self.scan = scan or scan_in(scene)
        self.node = new_segmentation(self.scan)
        self.liver, self.spleen = segment_in(self.node, "liver"), segment_in(self.node, "spleen")
        self.told: list[str] = []
        self.markers = Markers(self.scan, self.node, self.told.append)


@pytest.fixture
def desk(scene: Any) -> Any:
    desk = Desk(scene)
    yield desk
    desk.markers.close()


@settings(max_examples=30, phases=[Phase.explicit, Phase.generate])
@given(placed(), rotations(), st.booleans(), st.data())
def test_points_and_boxes_are_prompts_at_their_place_on_the_plane_of_the_view(
    application: Any, case: tuple[Volume, np.ndarray | None], turn: np.ndarray, positive: bool, data: st.DataObject
) -> None:
    """In views at any angle, on scans of any direction, under a transform or none."""
    scene = application.scene
    scene.Clear(False)
    desk = Desk(scene, scan_in(scene, *case))
    volume = volume_of(desk.scan)
    at = volume.to_ras([data.draw(numbers(0.0, 1.0)) * (n - 1) for n in volume.shape[::-1]])
    view = view_in(scene, axes=turn, at=at)
    across, up = data.draw(st.tuples(numbers(7.0, 20.0), numbers(7.0, 20.0)))
    opposite = at + turn[:, 0] * across - turn[:, 1] * up
    desk.markers.add_point(desk.liver, tuple(at), positive, view)
    desk.markers.add_box(desk.liver, tuple(at), tuple(opposite), view)
    point, box = desk.markers.prompts(desk.liver)
    plane = plane_through(slice_to_ras(view), volume)

    assert isinstance(point, PointPrompt)
    assert point.positive == positive
    assert np.allclose(point.ras, at, rtol=0, atol=1e-4)
    assert isinstance(box, BoxPrompt)
    corners = [at, opposite, at + turn[:, 0] * across, at - turn[:, 1] * up]
    for corner in corners:
        assert np.linalg.norm(box.corners - corner, axis=1).min() < 1e-4
    for prompt in (point, box):
        assert prompt.plane is not None
        assert prompt.plane.shape == plane.shape
        assert np.allclose(prompt.plane.pixel_to_ras, plane.pixel_to_ras, rtol=0, atol=2e-3)
    desk.markers.close()


def test_a_box_in_space_has_three_edges(scene: Any, desk: Desk) -> None:
    desk.markers.add_box(desk.liver, (1, 2, 3), (5, 8, 3), view_in(scene, at=(0, 0, 3)), in_space=True)
    (box,) = desk.markers.prompts(desk.liver)
    assert sorted(np.linalg.norm(box.edges, axis=1)) == pytest.approx([4, 4, 6])
    assert box.plane is None
    assert np.allclose(box.corners.mean(axis=0), (3, 5, 3))


def test_a_point_in_space_has_no_plane(desk: Desk) -> None:
    desk.markers.add_point(desk.liver, (4, 4, 4))
    assert desk.markers.prompts(desk.liver)[0].plane is None


def test_a_box_on_a_slice_is_as_thick_as_the_slice(scene: Any) -> None:
    matrix = np.diag([0.5, 0.5, 3.0, 1.0])
    desk = Desk(scene, scan_in(scene, Volume(np.zeros((5, 20, 20), dtype=np.int16), matrix, name="thick")))
    marker = desk.markers.add_box(desk.liver, (1, 1, 6), (4, 5, 6), view_in(scene, at=(0, 0, 6)))
    assert scene.GetNodeByID(marker.node_id).GetSize() == pytest.approx((3, 4, 3))
    assert desk.markers.prompts(desk.liver)[0].plane.shape == slice_plane(volume_of(desk.scan), 0, 2).shape
    desk.markers.close()


def test_prompts_belong_to_their_segment(desk: Desk) -> None:
    desk.markers.add_point(desk.liver, (1, 1, 1))
    desk.markers.add_point(desk.spleen, (2, 2, 2), positive=False)
    desk.markers.add_point(desk.liver, (3, 3, 3), positive=False)
    assert [(m.kind, m.ras) for m in desk.markers.markers(desk.liver)] == [
        (POSITIVE, (1, 1, 1)),
        (NEGATIVE, (3, 3, 3)),
    ]
    assert [m.label for m in desk.markers.markers()] == ["+1", "\N{MINUS SIGN}1", "\N{MINUS SIGN}1"]
    assert len(desk.markers.prompts(desk.spleen)) == 1
    assert desk.told == [desk.liver, desk.spleen, desk.liver]


def test_one_prompt_is_deleted_and_the_others_stay(scene: Any, desk: Desk) -> None:
    first = desk.markers.add_point(desk.liver, (1, 1, 1))
    desk.markers.add_point(desk.liver, (2, 2, 2))
    box = desk.markers.add_box(desk.liver, (1, 1, 3), (4, 5, 3), view_in(scene, at=(0, 0, 3)))
    desk.told.clear()
    desk.markers.delete(first)
    assert [m.ras for m in desk.markers.markers()] == [(2, 2, 2), (2.5, 3, 3)]
    desk.markers.delete(box)
    assert [m.ras for m in desk.markers.markers()] == [(2, 2, 2)]
    assert desk.told == [desk.liver] * 2
    desk.markers.delete(first)
    desk.markers.delete(box)
    assert desk.told == [desk.liver] * 2


def test_clearing_a_segment_leaves_the_prompts_of_others_and_no_nodes(scene: Any, desk: Desk) -> None:
    count = scene.GetNumberOfNodes()
    desk.markers.add_point(desk.spleen, (2, 2, 2))
    kept = scene.GetNumberOfNodes()
    desk.markers.add_point(desk.liver, (1, 1, 1))
    desk.markers.add_point(desk.liver, (1, 1, 1), positive=False)
    desk.markers.add_box(desk.liver, (1, 1, 3), (4, 5, 3), view_in(scene, at=(0, 0, 3)))
    desk.told.clear()
    desk.markers.clear(desk.liver)
    assert desk.told == [desk.liver]
    assert scene.GetNumberOfNodes() == kept + 2  # the view and what it shows
    assert len(desk.markers.markers()) == 1
    desk.markers.clear()
    assert scene.GetNumberOfNodes() == count + 2


def test_prompts_deleted_elsewhere_in_the_application_are_told(scene: Any, desk: Desk) -> None:
    marker = desk.markers.add_point(desk.liver, (1, 1, 1))
    desk.markers.add_point(desk.liver, (2, 2, 2))
    node = scene.GetNodeByID(marker.node_id)
    desk.told.clear()
    node.RemoveNthControlPoint(0)
    assert desk.told == [desk.liver]
    scene.RemoveNode(node)
    assert desk.told == [desk.liver] * 2
    assert desk.markers.markers() == []


def test_a_dragged_prompt_is_told_when_it_is_let_go(scene: Any, desk: Desk) -> None:
    marker = desk.markers.add_point(desk.liver, (1, 1, 1))
    node = scene.GetNodeByID(marker.node_id)
    desk.told.clear()
    for place in (2.0, 3.0):
        node.SetNthControlPointPositionWorld(0, place, place, place)
    assert desk.told == []
    node.InvokeEvent(node.PointEndInteractionEvent)
    assert desk.told == [desk.liver]
    assert desk.markers.prompts(desk.liver)[0].ras == (3, 3, 3)


def test_placing_hands_slicer_the_list_or_a_new_box(scene: Any, desk: Desk) -> None:
    selection = scene.GetFirstNodeByClass("vtkMRMLSelectionNode")
    interaction = scene.GetFirstNodeByClass("vtkMRMLInteractionNode")
    desk.markers.place(desk.liver, NEGATIVE)
    node = scene.GetNodeByID(selection.GetActivePlaceNodeID())
    assert node.GetName() == "liver negative"
    assert interaction.GetCurrentInteractionMode() == interaction.Place
    desk.markers.place(desk.liver, BOX)
    assert scene.GetNodeByID(selection.GetActivePlaceNodeID()).GetClassName() == "vtkMRMLMarkupsROINode"
    desk.markers.stop_placing()
    assert interaction.GetCurrentInteractionMode() == interaction.ViewTransform
    assert scene.GetNumberOfNodesByClass("vtkMRMLMarkupsROINode") == 0
    assert desk.markers.markers() == []


@pytest.mark.parametrize("axes", [np.eye(3), TILTED], ids=["straight", "tilted"])
def test_a_click_takes_the_plane_of_the_view_it_was_made_in(scene: Any, desk: Desk, axes: np.ndarray) -> None:
    """What the mouse does in a view: a point appears in the list that is being placed."""
    view_in(scene, "Away", at=(0, 0, 40))
    view = view_in(scene, "Red", axes, at=(3, 4, 4))
    desk.markers.place(desk.liver, POSITIVE)
    selection = scene.GetFirstNodeByClass("vtkMRMLSelectionNode")
    node = scene.GetNodeByID(selection.GetActivePlaceNodeID())
    node.AddControlPointWorld(list(np.array((3, 4, 4)) + axes[:, 0]))
    assert desk.told == [desk.liver]
    assert node.GetNthControlPointDescription(0) == "Red"
    (point,) = desk.markers.prompts(desk.liver)
    plane = plane_through(slice_to_ras(view), volume_of(desk.scan))
    assert np.allclose(point.plane.pixel_to_ras, plane.pixel_to_ras)
    desk.markers.stop_placing()


@pytest.mark.parametrize("kind", [BOX, BOX_3D])
def test_two_clicks_make_a_box_that_is_turned_as_the_view_is(scene: Any, desk: Desk, kind: str) -> None:
    view_in(scene, "Slanted", TILTED, at=(4, 4, 4))
    desk.markers.place(desk.liver, kind)
    selection = scene.GetFirstNodeByClass("vtkMRMLSelectionNode")
    roi = scene.GetNodeByID(selection.GetActivePlaceNodeID())
    corner, opposite = np.array((4.0, 4, 4)), np.array((4.0, 4, 4)) + TILTED @ (3, -2, 0)
    roi.AddControlPointWorld(list(corner))
    assert desk.markers.markers() == []
    roi.AddControlPointWorld(list(opposite))
    assert desk.told == [desk.liver]
    (box,) = desk.markers.prompts(desk.liver)
    assert sorted(np.linalg.norm(box.edges, axis=1)) == pytest.approx([2, 3] if kind == BOX else [2, 2, 3])
    assert np.allclose(box.corners.mean(axis=0), (corner + opposite) / 2)
    # The next click begins the next box.
    assert selection.GetActivePlaceNodeID() != roi.GetID()
    desk.markers.stop_placing()
    assert len(desk.markers.markers()) == 1


def test_two_clicks_at_one_place_make_a_box_that_can_be_deleted(scene: Any, desk: Desk) -> None:
    view_in(scene, at=(0, 0, 4))
    desk.markers.place(desk.liver, BOX, again=False)
    selection = scene.GetFirstNodeByClass("vtkMRMLSelectionNode")
    roi = scene.GetNodeByID(selection.GetActivePlaceNodeID())
    for _ in range(2):
        roi.AddControlPointWorld([2.0, 3.0, 4.0])
    (marker,) = desk.markers.markers()
    assert np.allclose(marker.ras, (2, 3, 4))
    assert roi.GetSize() == (1, 1, 1)
    desk.markers.delete(marker)
    assert desk.markers.markers() == []
    desk.markers.stop_placing()


def test_jumping_brings_the_prompt_into_the_middle_of_the_views(scene: Any, desk: Desk) -> None:
    view = view_in(scene, "Slanted", TILTED)
    desk.markers.jump(desk.markers.add_point(desk.liver, (3, 2, 1)))
    assert np.allclose(slice_to_ras(view)[:3, 3], (3, 2, 1))


def test_prompts_go_along_when_the_scan_is_moved(scene: Any, desk: Desk) -> None:
    desk.markers.add_point(desk.liver, (3, 2, 1), view=view_in(scene, at=(0, 0, 1)))
    desk.markers.add_box(desk.liver, (1, 1, 3), (4, 5, 3), view_in(scene, at=(0, 0, 3)))
    before = desk.markers.prompts(desk.liver)
    turn = np.array([[0, -1, 0, 5.0], [1, 0, 0, 6.0], [0, 0, 1, 7.0], [0, 0, 0, 1]])
    desk.scan.SetAndObserveTransformNodeID(transform_in(scene, turn).GetID())
    after = desk.markers.prompts(desk.liver)
    assert np.allclose(after[0].ras, turn[:3, :3] @ before[0].ras + turn[:3, 3])
    for old, new in zip(before, after, strict=True):
        assert np.allclose(new.plane.pixel_to_ras, turn @ old.plane.pixel_to_ras)


def test_only_the_prompts_of_the_chosen_segment_are_shown(scene: Any, desk: Desk) -> None:
    one = scene.GetNodeByID(desk.markers.add_point(desk.liver, (1, 1, 1)).node_id)
    two = scene.GetNodeByID(desk.markers.add_point(desk.spleen, (1, 1, 1)).node_id)
    seen = lambda: (bool(one.GetDisplayVisibility()), bool(two.GetDisplayVisibility()))  # noqa: E731
    desk.markers.show_only(desk.liver)
    assert seen() == (True, False)
    desk.markers.show_only("")
    assert seen() == (False, False)
    desk.markers.show_only(None)
    assert seen() == (True, True)


def test_prompts_of_another_scan_are_another_matter(scene: Any, desk: Desk) -> None:
    desk.markers.add_point(desk.liver, (1, 1, 1))
    other = Markers(scan_in(scene), desk.node)
    assert other.markers() == []
    other.close()
    again = Markers(desk.scan, desk.node)
    assert len(again.markers()) == 1
    again.close()


@pytest.mark.parametrize("victim", ["scan", "segmentation", "scene", "list", "display"])
def test_removing_anything_leaves_no_error_and_no_observer(scene: Any, victim: str) -> None:
    desk = Desk(scene)
    marker = desk.markers.add_point(desk.liver, (1, 1, 1))
    desk.markers.add_box(desk.liver, (1, 1, 3), (4, 5, 3), view_in(scene, at=(0, 0, 3)))
    desk.markers.place(desk.liver, BOX)
    node = scene.GetNodeByID(marker.node_id)
    named = {"scan": desk.scan, "segmentation": desk.node, "list": node, "display": node.GetDisplayNode()}
    if victim == "scene":
        scene.Clear(False)
    else:
        scene.RemoveNode(named[victim])
    if victim in ("list", "display"):
        desk.markers.stop_placing()
        desk.markers.add_point(desk.liver, (2, 2, 2))
        desk.markers.close()
    kept = weakref.ref(desk.markers)
    del desk
    gc.collect()
    assert kept() is None
