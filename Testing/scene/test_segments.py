from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import slicer
from hypothesis import given
from hypothesis import strategies as st

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.proposal import Cropped
from SSLSegmentationLib.scene.arrays import oriented_image
from SSLSegmentationLib.scene.grids import carried
from SSLSegmentationLib.scene.labelling import reading
from SSLSegmentationLib.scene.names import dressed, label_of
from SSLSegmentationLib.scene.segments import (
    Inside,
    is_locked,
    lock,
    mask_of,
    new_segmentation,
    prepare,
    segment_named,
)
from SSLSegmentationLib.scene.volumes import volume_of
from SSLSegmentationLib.scene.writer import SegmentWriter
from SSLSegmentationLib.steps import finish
from SSLSegmentationLib.volume import Volume, transform_points
from Testing.scene.making import bits_of, editor_of, noise, proposal_to, scan_in, segment_in, whole
from Testing.strategies import ORIENTATIONS, directions_of, matrices


@given(st.sampled_from(ORIENTATIONS), st.tuples(*[st.integers(-4, 9)] * 3), st.integers(0, 99))
def test_on_a_turned_grid_every_voxel_goes_to_exactly_one(
    orientation: str, shift: tuple[int, int, int], seed: int
) -> None:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = directions_of(orientation), shift
    bits = np.random.default_rng(seed).random((3, 4, 5)) < 0.4
    mask = Cropped(np.s_[2:5, 1:5, 3:8], bits)
    moved = carried(mask, matrix)
    places = transform_points(matrix, (np.argwhere(bits) + np.array((2, 1, 3)))[:, ::-1])
    found = (np.argwhere(moved.bits) + [s.start for s in moved.box])[:, ::-1]
    assert {tuple(p) for p in np.rint(places).astype(int)} == {tuple(p) for p in found}
    back = carried(moved, np.linalg.inv(matrix))
    assert back.box == mask.box
    assert np.array_equal(back.bits, bits)


@given(matrices(), matrices(), st.integers(0, 99))
def test_on_any_other_grid_a_voxel_takes_what_its_centre_lies_in(a: np.ndarray, b: np.ndarray, seed: int) -> None:
    b = b.copy()
    b[:3, 3] = a[:3, 3] + (1.0, 2.0, -1.0)
    to_target = np.linalg.inv(b) @ a
    bits = np.random.default_rng(seed).random((3, 4, 5)) < 0.5
    moved = carried(Cropped(np.s_[0:3, 0:4, 0:5], bits), to_target)
    for kji in np.ndindex(moved.bits.shape):
        ijk = (np.array(kji) + [s.start for s in moved.box])[::-1]
        at = transform_points(np.linalg.inv(to_target), ijk)
        if np.abs(at - np.floor(at) - 0.5).min() < 1e-4:
            continue  # on the border of two voxels
        source = tuple(np.floor(at + 0.5).astype(int)[::-1])
        inside = all(0 <= n < size for n, size in zip(source, bits.shape, strict=True))
        assert moved.bits[kji] == (inside and bits[source])


def test_a_segment_drawn_by_slicer_is_seen_where_it_lies(scene: Any) -> None:
    """In a segmentation that has its own cropped grid, counted from another corner and with k turned round."""
    scan = scan_in(scene, Volume(np.zeros((6, 7, 8), dtype=np.int16), np.diag([0.5, 0.75, 2.0, 1.0]), name="scan"))
    turned = np.diag([0.5, 0.75, -2.0, 1.0])
    turned[:3, 3] = (0.5, 0.75, 10.0)
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    bits = np.zeros((2, 2, 3), dtype=bool)
    bits[0, 1, 2] = bits[1, 0, 0] = True
    image = oriented_image(bits, np.s_[1:3, 2:4, 3:6], turned)
    segment_id = node.AddSegmentFromBinaryLabelmapRepresentation(image, "drawn")
    expected = np.zeros((6, 7, 8), dtype=bool)
    for k, j, i in np.argwhere(bits) + np.array((1, 2, 3)):
        place = transform_points(turned, np.array([i, j, k]))
        expected[tuple(np.rint(volume_of(scan).to_ijk(place)).astype(int)[::-1])] = True
    assert np.array_equal(bits_of(node, segment_id, scan), expected)


def test_parts_of_a_segment_outside_the_scan_are_not_on_its_grid(scene: Any) -> None:
    scan = scan_in(scene)
    node = new_segmentation(scan)
    image = oriented_image(np.ones((4, 4, 4)), np.s_[-2:2, 7:11, 8:12], np.eye(4))
    segment_id = node.AddSegmentFromBinaryLabelmapRepresentation(image, "edge")
    mask = mask_of(node, segment_id, scan)
    assert mask.box == np.s_[0:2, 7:9, 8:10]
    image = oriented_image(np.ones((2, 2, 2)), np.s_[40:42, 0:2, 0:2], np.eye(4))
    assert mask_of(node, node.AddSegmentFromBinaryLabelmapRepresentation(image, "far"), scan).bits.size == 0


def test_a_box_says_which_segments_it_meets(scene: Any) -> None:
    scan = scan_in(scene)
    editor = editor_of(scene, scan)
    node, writer = editor.GetSegmentationNode(), SegmentWriter(editor)
    ids = [segment_in(node, name) for name in "abc"]
    bits = np.zeros((8, 9, 10), dtype=bool)
    bits[2, 2, 2] = True
    for number, segment_id in enumerate(ids[:2]):
        writer.accept(proposal_to(node, segment_id, scan, np.roll(bits, 3 * number, axis=0)), segment_id)
    inside = Inside(node, scan, np.s_[1:4, 1:4, 1:4])
    assert inside.among(np.ones((3, 3, 3), dtype=bool), ids) == [ids[0]]
    assert inside.among(~inside.mask(ids[0]), ids) == []
    assert np.argwhere(inside.mask(ids[0])).tolist() == [[1, 1, 1]]
    writer.close()


def test_a_lock_is_kept_with_the_segment(scene: Any) -> None:
    node = new_segmentation(scan_in(scene))
    segment_id = segment_in(node)
    assert not is_locked(node, segment_id)
    lock(node, segment_id)
    copy = slicer.vtkSegmentation()
    copy.DeepCopy(node.GetSegmentation())
    assert is_locked(node, segment_id)
    assert copy.GetSegment(segment_id).HasTag("SSLSegmentation.Locked")
    lock(node, segment_id, False)
    assert not is_locked(node, segment_id)


def test_a_segmentation_of_surfaces_is_turned_into_voxels(scene: Any) -> None:
    scan = scan_in(scene)
    node = new_segmentation(scan)
    bits = np.zeros((8, 9, 10), dtype=bool)
    bits[2:6, 2:7, 2:7] = True
    segment_id = node.AddSegmentFromBinaryLabelmapRepresentation(oriented_image(bits, whole(scan), np.eye(4)), "ball")
    node.CreateClosedSurfaceRepresentation()
    node.GetSegmentation().SetSourceRepresentationName("Closed surface")
    node.GetSegmentation().RemoveRepresentation("Binary labelmap")
    prepare(node, scan)
    assert node.GetSegmentation().GetSourceRepresentationName() == "Binary labelmap"
    assert bits_of(node, segment_id, scan)[3:5, 3:6, 3:6].all()


def test_a_new_segmentation_has_the_grid_and_the_transform_of_the_scan(scene: Any) -> None:
    shift = np.eye(4)
    shift[:3, 3] = (1, 2, 3)
    scan = scan_in(scene, transform=shift)
    node = new_segmentation(scan)
    assert node.GetTransformNodeID() == scan.GetTransformNodeID()
    assert node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole()) is scan
    parameter = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    assert node.GetSegmentation().GetConversionParameter(parameter).endswith("0;9;0;8;0;7;")


def test_segments_are_found_by_name(scene: Any) -> None:
    node = new_segmentation(scan_in(scene))
    segment_id = segment_in(node, "Left kidney")
    assert segment_named(node, " left KIDNEY") == segment_id
    assert segment_named(node, "kidney") == ""
    assert label_of(node.GetSegmentation().GetSegment(segment_id), 7).name == "Left kidney"
    assert label_of(node.GetSegmentation().GetSegment(segment_id), 7).value == 7


def test_labels_without_colour_get_that_of_the_organ_or_one_of_their_own() -> None:
    labels = dressed([Label(1, "kidney_right"), Label(2, "Esophagus"), Label(3, "thing"), Label(4, "other thing")])
    assert "Right" in labels[0].terminology
    assert "Kidney" in labels[0].terminology
    assert "Esophagus" in labels[1].terminology
    assert labels[2].terminology == labels[3].terminology == ""
    assert len({label.color for label in labels}) == 4
    own = Label(1, "liver", (0.1, 0.2, 0.3), "mine")
    assert dressed([own]) == [own]


@pytest.fixture
def labelled(scene: Any) -> Any:
    """A scan, a segmentation with a liver, a spleen that is locked, and a labelling with other shapes of all."""
    scan = scan_in(scene)
    editor = editor_of(scene, scan)
    node, writer = editor.GetSegmentationNode(), SegmentWriter(editor)
    liver, spleen = segment_in(node, "Liver"), segment_in(node, "spleen")
    writer.accept(proposal_to(node, liver, scan, noise(scan, 1, 0.2)), liver)
    lock(node, spleen)
    values = np.random.default_rng(3).integers(0, 4, (8, 9, 10)).astype(np.uint8)
    names = [Label(0, "background"), Label(1, "liver"), Label(2, "spleen"), Label(3, "aorta"), Label(9, "bladder")]
    yield scan, node, writer, volume_of(scan).with_voxels(values), names
    writer.close()


def test_a_labelling_is_read_as_changes_to_segments_of_the_same_name_and_as_new_ones(labelled: Any) -> None:
    scan, node, writer, labels, names = labelled
    found = finish(reading(labels, names, node, scan))
    assert list(found.proposals) == [segment_named(node, "liver")]
    assert [label.name for label, _ in found.fresh] == ["aorta"]
    assert found.locked == ["spleen"]
    assert found.missing == ["bladder"]
    writer.accept_all(found.proposals, found.fresh)
    for name, value in (("liver", 1), ("aorta", 3)):
        assert np.array_equal(bits_of(node, segment_named(node, name), scan), labels.voxels == value)
    assert not bits_of(node, segment_named(node, "spleen"), scan).any()
    again = finish(reading(labels, names, node, scan))
    assert not again.fresh
    assert not any((p.mask != p.before).any() for p in again.proposals.values())


def test_a_labelling_is_read_the_same_slab_by_slab(labelled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    scan, node, _, labels, names = labelled
    wanted = finish(reading(labels, names, node, scan))
    monkeypatch.setattr("SSLSegmentationLib.scene.labelling._PIECE", 100)
    found = finish(reading(labels, names, node, scan))
    assert found.fresh[0][1].box == wanted.fresh[0][1].box
    assert np.array_equal(found.fresh[0][1].bits, wanted.fresh[0][1].bits)


def test_a_missing_segment_is_named(scene: Any) -> None:
    scan = scan_in(scene)
    with pytest.raises(InputError, match="has no segment gone: choose a segment or add one"):
        mask_of(new_segmentation(scan), "gone", scan)
