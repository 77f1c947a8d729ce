from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import slicer
from hypothesis import given, settings
from hypothesis import strategies as st

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.proposal import Proposal
from SSLSegmentationLib.scene.arrays import array_of, oriented_image, voxels_of
from SSLSegmentationLib.scene.segments import lock, new_segmentation
from SSLSegmentationLib.scene.writer import SegmentWriter
from SSLSegmentationLib.volume import Volume
from Testing.scene.making import (
    bits_of,
    editor_of,
    mask,
    noise,
    placed,
    proposal_to,
    scan_in,
    segment_in,
    transform_in,
    whole,
)

EVERYWHERE = slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere
AREAS = [
    EVERYWHERE,
    slicer.vtkMRMLSegmentationNode.EditAllowedInsideAllSegments,
    slicer.vtkMRMLSegmentationNode.EditAllowedInsideVisibleSegments,
    slicer.vtkMRMLSegmentationNode.EditAllowedOutsideAllSegments,
    slicer.vtkMRMLSegmentationNode.EditAllowedOutsideVisibleSegments,
    slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment,
]
OVERWRITE = [
    slicer.vtkMRMLSegmentEditorNode.OverwriteAllSegments,
    slicer.vtkMRMLSegmentEditorNode.OverwriteVisibleSegments,
    slicer.vtkMRMLSegmentEditorNode.OverwriteNone,
]


class Desk:
    """A scan, three segments, a Segment Editor's node and a writer."""

    def __init__(self, scene: Any, scan: Any | None = None, names: tuple[str, ...] = ("liver", "lesion", "vessel")):
        self.scene = scene
        self.scan = scan or scan_in(scene)
        self.editor = editor_of(scene, self.scan)
        self.node = self.editor.GetSegmentationNode()
        self.writer = SegmentWriter(self.editor)
        self.ids = [segment_in(self.node, name) for name in names]

    def paint(self, number: int, bits: np.ndarray) -> Any:
        return self.writer.accept(proposal_to(self.node, self.ids[number], self.scan, bits), self.ids[number])

    def bits(self, number: int) -> np.ndarray:
        return bits_of(self.node, self.ids[number], self.scan)

    def all_bits(self) -> list[np.ndarray]:
        return [self.bits(number) for number in range(len(self.ids))]


@pytest.fixture
def desk(scene: Any) -> Any:
    desk = Desk(scene)
    yield desk
    desk.writer.close()


def same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


@given(placed(), st.booleans(), st.integers(0, 1000))
def test_what_is_accepted_is_in_the_segment_voxel_by_voxel(
    application: Any, case: tuple[Volume, np.ndarray | None], together: bool, seed: int
) -> None:
    """On scans of any direction and spacing, with the segmentation under the scan's transform or in the world."""
    application.scene.Clear(False)
    scan = scan_in(application.scene, *case)
    desk = Desk(application.scene, scan, names=("liver",))
    if not together:
        desk.node.SetAndObserveTransformNodeID(None)
        desk.node.SetReferenceImageGeometryParameterFromVolumeNode(scan)
    for change in range(3):
        bits = noise(scan, seed + change)
        desk.paint(0, bits)
        assert np.array_equal(desk.bits(0), bits)
    desk.writer.close()


def state_of(desk: Desk, editor: Any, area: int, overwrite: int, intensities: tuple[int, int] | None) -> None:
    editor.SetMaskMode(area)
    editor.SetMaskSegmentID(desk.ids[1])
    editor.SetOverwriteMode(overwrite)
    editor.SetSelectedSegmentID(desk.ids[0])
    if intensities is not None:
        editor.SetSourceVolumeIntensityMask(True)
        editor.SetSourceVolumeIntensityMaskRange(*intensities)


@settings(max_examples=120)
@given(
    st.sampled_from(AREAS),
    st.sampled_from(OVERWRITE),
    st.none() | st.just((200, 500)),
    st.booleans(),
    st.integers(0, 1000),
)
def test_masking_and_overwriting_are_those_of_the_segment_editor(
    application: Any, area: int, overwrite: int, intensities: tuple[int, int] | None, hidden: bool, seed: int
) -> None:
    """The same voxels added and removed by Slicer's own logic under the same settings leave the same segments."""
    application.scene.Clear(False)
    desk = Desk(application.scene)
    for number in range(3):
        desk.paint(number, noise(desk.scan, seed + number, 0.3))
    if hidden:
        desk.node.GetDisplayNode().SetSegmentVisibility(desk.ids[2], False)
    before, after = desk.bits(0), noise(desk.scan, seed + 3)
    desk.writer.close()
    state_of(desk, desk.editor, area, overwrite, intensities)

    theirs = application.scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    theirs.CreateDefaultDisplayNodes()
    theirs.GetSegmentation().DeepCopy(desk.node.GetSegmentation())
    theirs.GetDisplayNode().SetSegmentVisibility(desk.ids[2], not hidden)
    editor = editor_of(application.scene, desk.scan, theirs)
    state_of(desk, editor, area, overwrite, intensities)
    logic = slicer.vtkSlicerSegmentEditorLogic()
    logic.SetSegmentEditorNode(editor)
    matrix = array_of(desk.scan.GetIJKToRASMatrix)
    for mode, bits in ((logic.ModificationModeRemove, before & ~after), (logic.ModificationModeAdd, after & ~before)):
        image = oriented_image(bits, whole(desk.scan), matrix)
        logic.ModifySegmentByLabelmap(theirs, desk.ids[0], image, mode, False, False)
    logic.SetSegmentEditorNode(None)

    SegmentWriter(desk.editor).accept(Proposal(whole(desk.scan), after, before, 1.0), desk.ids[0])
    for number, segment_id in enumerate(desk.ids):
        wanted = bits_of(theirs, segment_id, desk.scan)
        assert np.array_equal(desk.bits(number), wanted), f"segment {number} differs"


def test_a_locked_neighbour_is_never_touched(desk: Desk) -> None:
    vessel = noise(desk.scan, 1, 0.3)
    desk.paint(2, vessel)
    lock(desk.node, desk.ids[2])
    written = desk.paint(0, np.ones_like(vessel))
    assert np.array_equal(desk.bits(2), vessel)
    assert np.array_equal(desk.bits(0), ~vessel)
    assert written.withheld == vessel.sum()
    lock(desk.node, desk.ids[2], False)
    desk.paint(0, np.ones_like(vessel))
    assert not desk.bits(2).any()


def test_a_locked_neighbour_may_be_overlapped_if_the_user_allows_overlap(desk: Desk) -> None:
    vessel = noise(desk.scan, 1, 0.3)
    desk.paint(2, vessel)
    lock(desk.node, desk.ids[2])
    desk.editor.SetOverwriteMode(slicer.vtkMRMLSegmentEditorNode.OverwriteNone)
    written = desk.paint(0, np.ones_like(vessel))
    assert written.withheld == 0
    assert desk.bits(0).all()
    assert np.array_equal(desk.bits(2), vessel)


def test_a_locked_segment_takes_nothing_back(desk: Desk) -> None:
    desk.paint(1, noise(desk.scan, 1, 0.3))
    desk.editor.SetOverwriteMode(slicer.vtkMRMLSegmentEditorNode.OverwriteNone)
    desk.paint(0, noise(desk.scan, 2))
    lesion = desk.bits(1)
    lock(desk.node, desk.ids[1])
    state_of(desk, desk.editor, AREAS[-1], OVERWRITE[0], None)
    desk.paint(0, np.zeros_like(lesion))
    assert np.array_equal(desk.bits(1), lesion)


def test_a_locked_segment_refuses_changes_by_name(desk: Desk) -> None:
    lock(desk.node, desk.ids[0])
    with pytest.raises(InputError, match="liver is locked: unlock it to accept"):
        desk.paint(0, noise(desk.scan, 0))
    with pytest.raises(InputError, match="liver is locked: unlock it to split"):
        desk.writer.split(desk.ids[0])


def test_what_the_user_painted_meanwhile_is_kept(desk: Desk) -> None:
    proposal = proposal_to(desk.node, desk.ids[0], desk.scan, noise(desk.scan, 0, 0.2))
    painted = noise(desk.scan, 5, 0.2)
    desk.paint(0, painted)
    written = desk.writer.accept(proposal, desk.ids[0])
    assert np.array_equal(desk.bits(0), painted | noise(desk.scan, 0, 0.2))
    assert written.added == (noise(desk.scan, 0, 0.2) & ~painted).sum()


@given(st.lists(st.sampled_from(["paint", "accept", "undo", "redo"]), min_size=4, max_size=14), st.integers(0, 100))
def test_any_row_of_accepts_undos_and_redos_is_what_a_row_of_states_says(
    application: Any, acts: list[str], seed: int
) -> None:
    application.scene.Clear(False)
    desk = Desk(application.scene)
    states, at = [desk.all_bits()], 0
    for number, act in enumerate(acts):
        if act == "undo":
            desk.writer.undo()
            at = max(at - 1, 0)
        elif act == "redo":
            desk.writer.redo()
            at = min(at + 1, len(states) - 1)
        else:
            changes = {
                segment_id: proposal_to(desk.node, segment_id, desk.scan, noise(desk.scan, seed + number + n, 0.4))
                for n, segment_id in enumerate(desk.ids[: 1 if act == "paint" else 3])
            }
            desk.writer.accept_all(changes)
            # The editor keeps ten states.
            states, at = [*states[: at + 1], desk.all_bits()], at + 1
            if len(states) > 10:
                states, at = states[1:], at - 1
        assert same(desk.all_bits(), states[at]), f"after {acts[: number + 1]}"
    desk.writer.close()


def test_new_segments_come_with_names_colours_and_terminology_and_go_in_one_undo(desk: Desk) -> None:
    spleen = "Segmentation category and type~SCT^123037004^Anatomical Structure~SCT^78961009^Spleen~^^~~^^~^^"
    one, two = noise(desk.scan, 1, 0.2), noise(desk.scan, 2, 0.2) & ~noise(desk.scan, 1, 0.2)
    fresh = [(Label(1, "spleen", (0.5, 0.25, 0.75), spleen), mask(one)), (Label(2, "cyst"), mask(two))]
    written = desk.writer.accept_all({}, fresh)
    segmentation = desk.node.GetSegmentation()
    assert segmentation.GetNumberOfSegments() == 5
    segment = segmentation.GetSegment(written[0].segment_id)
    assert segment.GetName() == "spleen"
    assert segment.GetColor() == (0.5, 0.25, 0.75)
    assert segment.GetTerminology() == spleen
    assert np.array_equal(bits_of(desk.node, written[0].segment_id, desk.scan), one)
    assert np.array_equal(bits_of(desk.node, written[1].segment_id, desk.scan), two)
    desk.writer.undo()
    assert list(segmentation.GetSegmentIDs()) == desk.ids
    desk.writer.redo()
    assert segmentation.GetNumberOfSegments() == 5
    assert segmentation.GetSegment(written[0].segment_id).GetTerminology() == spleen


def test_a_row_of_pieces_that_is_stopped_leaves_what_was_there(desk: Desk) -> None:
    desk.paint(0, noise(desk.scan, 0, 0.3))
    before = desk.all_bits()
    changes = {i: proposal_to(desk.node, i, desk.scan, noise(desk.scan, 9)) for i in desk.ids}
    steps = desk.writer.accepting(changes, [(Label(1, "new"), mask(noise(desk.scan, 4)))])
    next(steps)
    next(steps)
    assert not same(desk.all_bits(), before)
    steps.close()
    assert same(desk.all_bits(), before)
    assert desk.node.GetSegmentation().GetNumberOfSegments() == 3


def test_accepting_nothing_is_no_undo_step(desk: Desk) -> None:
    desk.paint(0, noise(desk.scan, 0))
    written = desk.writer.accept(proposal_to(desk.node, desk.ids[0], desk.scan, desk.bits(0)), desk.ids[0])
    assert (written.added, written.removed, written.withheld) == (0, 0, 0)
    desk.writer.undo()
    assert not desk.bits(0).any()


def test_what_is_stored_is_cropped_to_the_segment(desk: Desk) -> None:
    bits = np.zeros((8, 9, 10), dtype=bool)
    bits[2:4, 3:6, 5:7] = True
    desk.paint(0, bits)
    image = desk.node.GetSegmentation().GetSegment(desk.ids[0]).GetRepresentation("Binary labelmap")
    assert image.GetExtent() == (5, 6, 3, 5, 2, 3)
    assert voxels_of(image).shape == (2, 3, 2)


def test_segments_that_do_not_overlap_stay_in_one_layer(desk: Desk) -> None:
    bits = noise(desk.scan, 0)
    desk.paint(0, bits)
    desk.paint(1, ~bits)
    desk.paint(0, bits & noise(desk.scan, 1))
    desk.paint(1, np.ones_like(bits))
    assert desk.node.GetSegmentation().GetNumberOfLayers() == 1


def test_a_history_of_the_window_is_used_instead(scene: Any) -> None:
    class Noted:
        def __init__(self) -> None:
            self.acts: list[str] = []

        def save(self) -> None:
            self.acts.append("save")

        def undo(self) -> None:
            self.acts.append("undo")

        def redo(self) -> None:
            self.acts.append("redo")

    desk, history = Desk(scene), Noted()
    writer = SegmentWriter(desk.editor, history)
    proposals = {i: proposal_to(desk.node, i, desk.scan, noise(desk.scan, 0)) for i in desk.ids}
    writer.accept_all(proposals)
    writer.undo()
    writer.redo()
    assert history.acts == ["save", "undo", "redo"]
    writer.close()
    desk.writer.close()


def spotted() -> np.ndarray:
    """Three parts, of 64, 8 and 1 voxels."""
    bits = np.zeros((8, 9, 10), dtype=bool)
    bits[0:4, 0:4, 0:4] = bits[6:8, 6:8, 6:8] = bits[0, 8, 9] = True
    return bits


def test_every_part_of_a_segment_becomes_a_segment_and_one_undo_joins_them(desk: Desk) -> None:
    desk.paint(1, spotted())
    ids = desk.writer.split(desk.ids[1])
    segmentation = desk.node.GetSegmentation()
    assert [segmentation.GetSegment(i).GetName() for i in ids] == ["lesion 1", "lesion 2", "lesion 3"]
    assert [bits_of(desk.node, i, desk.scan).sum() for i in ids] == [64, 8, 1]
    assert len({tuple(segmentation.GetSegment(i).GetColor()) for i in ids}) == 3, "told apart in the views"
    desk.writer.undo()
    assert np.array_equal(desk.bits(1), spotted())
    assert segmentation.GetNumberOfSegments() == 3
    assert segmentation.GetSegment(desk.ids[1]).GetName() == "lesion"


def test_the_smallest_of_many_parts_stay_together(desk: Desk) -> None:
    desk.paint(1, spotted())
    ids = desk.writer.split(desk.ids[1], most=2)
    segmentation = desk.node.GetSegmentation()
    assert [segmentation.GetSegment(i).GetName() for i in ids] == ["lesion 1", "lesion, 2 small parts"]
    assert [bits_of(desk.node, i, desk.scan).sum() for i in ids] == [64, 9]


def test_a_segment_of_one_part_is_not_split(desk: Desk) -> None:
    block = np.zeros((8, 9, 10), dtype=bool)
    block[1:4, 1:4, 1:4] = block[4, 4, 4] = True  # joined by a corner
    desk.paint(1, block)
    assert desk.writer.split(desk.ids[1]) == [desk.ids[1]]
    assert desk.node.GetSegmentation().GetSegment(desk.ids[1]).GetName() == "lesion"
    desk.writer.undo()
    assert not desk.bits(1).any(), "nothing was done that would want an undo step"


def test_splitting_slab_by_slab_finds_the_same_parts(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    from scipy import ndimage

    from SSLSegmentationLib.scene import splitting

    bits = noise(desk.scan, 3, 0.15)
    numbers, count = ndimage.label(bits, structure=np.ones((3, 3, 3)))
    assert count > 5
    sizes = sorted(np.bincount(numbers.ravel())[1:], reverse=True)
    desk.paint(1, bits)
    monkeypatch.setattr(splitting, "_PIECE", 1)
    ids = desk.writer.split(desk.ids[1], most=1000)
    assert [int(bits_of(desk.node, i, desk.scan).sum()) for i in ids] == sizes


def test_splitting_that_is_given_up_leaves_the_segment_as_it_was(desk: Desk) -> None:
    desk.paint(1, spotted())
    steps = desk.writer.splitting(desk.ids[1])
    while desk.node.GetSegmentation().GetNumberOfSegments() == 3:
        next(steps)
    steps.close()
    assert desk.node.GetSegmentation().GetNumberOfSegments() == 3
    assert np.array_equal(desk.bits(1), spotted())
    assert desk.node.GetSegmentation().GetSegment(desk.ids[1]).GetName() == "lesion"


def test_a_segmentation_on_another_grid_takes_what_its_voxels_can_hold(scene: Any) -> None:
    scan = scan_in(scene, Volume(np.zeros((8, 8, 8), dtype=np.int16), name="scan"))
    fine = scan_in(scene, Volume(np.zeros((16, 16, 16), dtype=np.int16), np.diag([0.5, 0.5, 0.5, 1.0])))
    node = new_segmentation(fine)
    segment_id = segment_in(node)
    other = SegmentWriter(editor_of(scene, fine, node))
    other.accept(proposal_to(node, segment_id, fine, np.zeros((16, 16, 16), dtype=bool)), segment_id)
    bits = np.zeros((16, 16, 16), dtype=bool)
    bits[0, 0, 0] = True
    other.accept(proposal_to(node, segment_id, fine, bits), segment_id)
    writer = SegmentWriter(editor_of(scene, scan, node))
    block = np.zeros((8, 8, 8), dtype=bool)
    block[2:5, 3:6, 1:4] = True
    writer.accept(proposal_to(node, segment_id, scan, block | bits_of(node, segment_id, scan)), segment_id)
    assert bits_of(node, segment_id, fine).sum() == 27 * 8 + 1
    assert np.array_equal(bits_of(node, segment_id, scan)[1:, 1:, 1:], block[1:, 1:, 1:])
    for each in (other, writer):
        each.close()


def test_without_a_segmentation_or_scan_the_sentence_says_so(scene: Any) -> None:
    scan = scan_in(scene)
    editor = editor_of(scene, scan)
    writer = SegmentWriter(editor)
    editor.SetAndObserveSourceVolumeNode(None)
    with pytest.raises(InputError, match="There is no scan to segment"):
        writer.accept_all({}, [(Label(1, "x"), mask(noise(scan, 0)))])
    editor.SetAndObserveSegmentationNode(None)
    with pytest.raises(InputError, match="There is no segmentation to write into"):
        writer.accept_all({})
    writer.close()


def test_an_unknown_segment_is_named_as_missing(desk: Desk) -> None:
    with pytest.raises(InputError, match="has no segment gone"):
        desk.writer.accept(proposal_to(desk.node, desk.ids[0], desk.scan, noise(desk.scan, 0)), "gone")


@pytest.mark.parametrize("victim", ["scan", "segmentation", "editor", "scene"])
def test_what_is_removed_midway_leaves_no_error(scene: Any, victim: str) -> None:
    desk = Desk(scene)
    desk.paint(0, noise(desk.scan, 0))
    changes = {i: proposal_to(desk.node, i, desk.scan, noise(desk.scan, 9)) for i in desk.ids}
    steps = desk.writer.accepting(changes)
    next(steps)
    if victim == "scene":
        scene.Clear(False)
    else:
        scene.RemoveNode({"scan": desk.scan, "segmentation": desk.node, "editor": desk.editor}[victim])
    steps.close()
    desk.writer.undo()
    desk.writer.redo()
    desk.writer.close()


def test_a_turned_transform_between_scan_and_segmentation_is_taken(scene: Any) -> None:
    turn = np.array([[0, -1, 0, 5.0], [1, 0, 0, 6.0], [0, 0, 1, 7.0], [0, 0, 0, 1]])
    desk = Desk(scene, scan_in(scene, transform=turn))
    desk.node.SetAndObserveTransformNodeID(transform_in(scene, np.diag([1.0, -1.0, -1.0, 1.0])).GetID())
    bits = noise(desk.scan, 3)
    desk.paint(0, bits)
    assert np.array_equal(desk.bits(0), bits)
    desk.writer.close()
