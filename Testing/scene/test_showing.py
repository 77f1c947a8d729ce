"""The preview and the doubt: seen while wanted, gone without a trace."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.proposal import Proposal
from SSLSegmentationLib.scene.doubt import Doubt
from SSLSegmentationLib.scene.planes import slice_to_ras
from SSLSegmentationLib.scene.preview import ADDED, REMOVED, Preview
from SSLSegmentationLib.scene.segments import new_segmentation
from SSLSegmentationLib.scene.views import composites
from SSLSegmentationLib.scene.volumes import volume_of
from SSLSegmentationLib.steps import finish
from Testing.scene.making import bits_of, mask, noise, scan_in, segment_in, transform_in, view_in, whole


def doubt_on(scan: Any, values: np.ndarray | None = None) -> Doubt:
    if values is None:
        values = np.zeros(volume_of(scan).shape)
        values[2:5, 2:5, 2:5] = 0.6
        values[6:8, 6:9, 6:9] = 0.9
    return Doubt(scan, volume_of(scan).with_voxels(values.astype(np.float32), name="doubt"))


def test_a_preview_shows_what_is_added_and_removed_beside_the_users_segments(scene: Any) -> None:
    turn = np.array([[0, -1, 0, 5.0], [1, 0, 0, 6.0], [0, 0, 1, 7.0], [0, 0, 0, 1]])
    scan = scan_in(scene, transform=turn)
    node = new_segmentation(scan)
    first, second = segment_in(node, "a"), segment_in(node, "b")
    before, after = noise(scan, 1), noise(scan, 2)
    proposals = {
        first: Proposal(whole(scan), after, before, 1.0),
        second: Proposal(np.s_[0:2, 0:2, 0:2], np.zeros((2, 2, 2), bool), np.ones((2, 2, 2), bool), 1.0),
    }
    preview = Preview(scan)
    preview.show(proposals, [(Label(1, "spleen", (0.25, 0.5, 0.75)), mask(noise(scan, 3)))])
    added, removed = after & ~before, before & ~after
    removed[0:2, 0:2, 0:2] = True
    assert np.array_equal(bits_of(preview.node, ADDED, scan), added)
    assert np.array_equal(bits_of(preview.node, REMOVED, scan), removed)
    assert np.array_equal(bits_of(preview.node, "spleen", scan), noise(scan, 3))
    assert preview.node.GetSegmentation().GetSegment("spleen").GetColor() == (0.25, 0.5, 0.75)
    assert list(node.GetSegmentation().GetSegmentIDs()) == [first, second]
    assert not bits_of(node, first, scan).any()
    preview.close()


def test_a_preview_is_in_no_list_and_no_saved_scene(scene: Any) -> None:
    scan = scan_in(scene)
    preview = Preview(scan)
    preview.show({}, [(Label(1, "x"), mask(noise(scan, 3)))])
    for node in (preview.node, preview.node.GetDisplayNode()):
        assert node.GetHideFromEditors()
        assert not node.GetSaveWithScene()
    assert scene.GetSubjectHierarchyNode().GetItemByDataNode(preview.node) == 0
    preview.close()


def test_a_preview_leaves_nothing_and_can_be_shown_again(scene: Any) -> None:
    scan = scan_in(scene)
    count = scene.GetNumberOfNodes()
    preview = Preview(scan)
    for seed in range(3):
        preview.show({"s": Proposal(whole(scan), noise(scan, seed), noise(scan, 9), 1.0)})
        assert list(preview.node.GetSegmentation().GetSegmentIDs()) == [ADDED, REMOVED]
        assert scene.GetNumberOfNodes() == count + 2
    preview.clear()
    assert not preview.shown
    assert scene.GetNumberOfNodes() == count
    preview.close()


def test_a_preview_goes_along_when_the_scan_is_moved(scene: Any) -> None:
    scan = scan_in(scene)
    preview = Preview(scan)
    preview.show({}, [(Label(1, "x"), mask(noise(scan, 3)))])
    scan.SetAndObserveTransformNodeID(transform_in(scene, np.diag([-1.0, -1.0, 1.0, 1.0])).GetID())
    assert preview.node.GetTransformNodeID() == scan.GetTransformNodeID()
    preview.close()


@pytest.fixture
def views(scene: Any) -> Callable[[], list[tuple[str | None, float]]]:
    """Two views, of which one has a PET in front; what they have in front now."""
    pet = scan_in(scene)
    for name in ("Red", "Green"):
        view_in(scene, name)
    composites(scene)[0].SetForegroundVolumeID(pet.GetID())
    composites(scene)[0].SetForegroundOpacity(0.3)
    return lambda: [(c.GetForegroundVolumeID(), c.GetForegroundOpacity()) for c in composites(scene)]


def test_hiding_the_doubt_gives_the_views_back_what_they_had(scene: Any, views: Callable[[], list[Any]]) -> None:
    scan, before = scan_in(scene), views()
    doubt = doubt_on(scan)
    doubt.show(opacity=0.7)
    assert views() == [(doubt.node.GetID(), 0.7)] * 2
    doubt.show()
    doubt.set_opacity(0.4)
    assert views() == [(doubt.node.GetID(), 0.4)] * 2
    doubt.hide()
    assert views() == before
    doubt.show()
    assert views() == [(doubt.node.GetID(), 0.4)] * 2
    doubt.close()
    assert views() == before


def test_what_the_user_has_put_in_front_since_is_left_there(scene: Any, views: Callable[[], list[Any]]) -> None:
    scan, mr = scan_in(scene), scan_in(scene)
    before = views()
    doubt = doubt_on(scan)
    doubt.show()
    composites(scene)[0].SetForegroundVolumeID(mr.GetID())
    composites(scene)[0].SetForegroundOpacity(0.9)
    doubt.hide()
    assert views() == [(mr.GetID(), 0.9), before[1]]
    doubt.close()


def test_views_that_come_later_show_the_doubt_too(scene: Any, views: Callable[[], list[Any]]) -> None:
    doubt = doubt_on(scan_in(scene))
    doubt.show(0.6)
    view_in(scene, "Yellow")
    assert views()[2] == (doubt.node.GetID(), 0.6)
    doubt.close()
    assert views()[2][0] is None


def test_doubt_is_a_float_volume_with_its_own_colours_window_and_threshold(scene: Any) -> None:
    scan = scan_in(scene)
    doubt = doubt_on(scan)
    doubt.set_window(0.2, 0.8)
    doubt.set_threshold(0.35)
    display = doubt.node.GetDisplayNode()
    assert volume_of(doubt.node).voxels.dtype == np.float32
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == pytest.approx((0.2, 0.8))
    assert display.GetLowerThreshold() == 0.35
    assert display.GetApplyThreshold()
    table = display.GetColorNode().GetLookupTable()
    brightness = [sum(table.GetTableValue(n)[:3]) for n in range(256)]
    assert (np.diff(brightness) > -1e-9).all()
    assert scan.GetDisplayNode().GetColorNode() is not display.GetColorNode()
    doubt.close()


def test_a_correction_changes_the_doubt_inside_its_box_only(scene: Any) -> None:
    doubt = doubt_on(scan_in(scene))
    before = volume_of(doubt.node).voxels.copy()
    doubt.update(np.s_[2:4, 2:4, 2:4], np.full((2, 2, 2), 0.25, dtype=np.float32))
    doubt.update((slice(0, 0),) * 3, np.zeros((0, 0, 0), dtype=np.float32))
    after = volume_of(doubt.node).voxels
    assert (after[2:4, 2:4, 2:4] == 0.25).all()
    before[2:4, 2:4, 2:4] = 0.25
    assert np.array_equal(after, before)
    doubt.close()


def test_the_next_unsure_region_is_in_the_middle_of_all_views(scene: Any) -> None:
    """Also of turned views, and of a scan that lies under a transform."""
    turn = np.array([[0, -1, 0, 5.0], [1, 0, 0, 6.0], [0, 0, 1, 7.0], [0, 0, 0, 1]])
    scan = scan_in(scene, transform=turn)
    tilted = np.array([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]])
    views = [view_in(scene, "Red"), view_in(scene, "Slanted", tilted)]
    doubt = doubt_on(scan)
    regions = finish(doubt.finding(0.5))
    assert [round(region.peak, 3) for region in regions] == [0.6]  # the other has 18 voxels, less than 0.02 ml
    region = regions[0]
    assert np.allclose(region.centre_ras, volume_of(scan).to_ras(np.array([2, 2, 2])))
    doubt.go_to(region)
    for view in views:
        assert np.allclose(slice_to_ras(view)[:3, 3], region.centre_ras)
        assert np.allclose(slice_to_ras(view)[:3, :3], np.eye(3) if view is views[0] else tilted)
    doubt.close()


def test_doubt_leaves_nothing_behind(scene: Any, views: Callable[[], list[Any]]) -> None:
    scan = scan_in(scene)
    count = scene.GetNumberOfNodes()
    for _ in range(3):
        doubt = doubt_on(scan)
        doubt.show()
        doubt.close()
        doubt.close()
    assert scene.GetNumberOfNodes() == count


@pytest.mark.parametrize("victim", ["scan", "doubt", "colours", "display", "view", "scene"])
def test_removing_anything_while_doubt_is_shown_leaves_no_error_and_no_trace(
    scene: Any, views: Callable[[], list[Any]], victim: str
) -> None:
    scan, before = scan_in(scene), views()
    doubt, preview = doubt_on(scan), Preview(scan)
    doubt.show()
    preview.show({}, [(Label(1, "x"), mask(noise(scan, 3)))])
    if victim == "scene":
        scene.Clear(False)
    else:
        display = doubt.node.GetDisplayNode()
        named = {"scan": scan, "doubt": doubt.node, "colours": display.GetColorNode(), "display": display}
        scene.RemoveNode(named[victim] if victim in named else composites(scene)[0])
    if victim in ("scan", "doubt"):
        assert views() == before
        assert doubt.node is None
    doubt.hide()
    doubt.show()
    doubt.close()
    preview.close()
    left = [node.GetName() for node in (scene.GetNthNode(n) for n in range(scene.GetNumberOfNodes()))]
    assert "Doubt" not in left
    assert "What would change" not in left


def test_closing_the_scene_takes_all_observers_along(scene: Any) -> None:
    scan = scan_in(scene)
    doubt, preview = doubt_on(scan), Preview(scan)
    doubt.show()
    preview.show({}, [(Label(1, "x"), mask(noise(scan, 3)))])
    scene.Clear(False)
    assert doubt.node is None
    assert not preview.shown
    scan_in(scene)
    view_in(scene)
    assert all(composite.GetForegroundVolumeID() is None for composite in composites(scene))
    kept = [weakref.ref(doubt), weakref.ref(preview)]
    del doubt, preview
    gc.collect()
    assert [each() for each in kept] == [None, None]  # an observer that is left would hold them
