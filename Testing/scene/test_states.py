from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import slicer
from hypothesis import given, settings
from hypothesis import strategies as st

from SSLSegmentationLib.proposal import Proposal
from SSLSegmentationLib.scene.exporting import flattening, visible_segments
from SSLSegmentationLib.scene.segments import new_segmentation
from SSLSegmentationLib.scene.states import State, changes, looking
from SSLSegmentationLib.scene.writer import SegmentWriter
from SSLSegmentationLib.steps import finish
from Testing.scene.making import bits_of, editor_of, noise, placed, proposal_to, scan_in, segment_in

OVERWRITE_NONE = slicer.vtkMRMLSegmentEditorNode.OverwriteNone


class Desk:
    def __init__(self, scene: Any, names: tuple[str, ...] = ("liver", "lesion")) -> None:
        self.scan = scan_in(scene)
        self.editor = editor_of(scene, self.scan)
        self.node = self.editor.GetSegmentationNode()
        self.writer = SegmentWriter(self.editor)
        self.ids = [segment_in(self.node, name) for name in names]

    def paint(self, number: int, bits: np.ndarray) -> None:
        self.writer.accept(proposal_to(self.node, self.ids[number], self.scan, bits), self.ids[number])

    def look(self, last: State | None = None) -> State:
        return finish(looking(self.node, last))


@pytest.fixture
def desk(scene: Any) -> Any:
    desk = Desk(scene)
    yield desk
    desk.writer.close()


def block(desk: Desk, low: int, high: int) -> np.ndarray:
    bits = np.zeros(desk.scan.GetImageData().GetDimensions()[::-1], dtype=bool)
    bits[2:5, low:high, 3:7] = True
    return bits


def test_undo_and_redo_bring_back_states_with_the_same_keys(desk: Desk) -> None:
    states = [desk.look()]
    desk.paint(0, block(desk, 1, 4))
    states.append(desk.look(states[-1]))
    desk.paint(1, block(desk, 3, 8))
    states.append(desk.look(states[-1]))
    assert len({state.key for state in states}) == 3
    desk.writer.undo()
    assert desk.look(states[-1]).key == states[1].key
    desk.writer.undo()
    assert desk.look(states[-1]).key == states[0].key
    desk.writer.redo()
    desk.writer.redo()
    assert desk.look().key == states[2].key, "also without an earlier state to share planes with"


def test_an_empty_segment_does_not_change_the_key(desk: Desk) -> None:
    desk.paint(0, block(desk, 1, 4))
    before = desk.look()
    segment_in(desk.node, "new")
    assert desk.look(before).key == before.key


def test_unchanged_planes_are_shared_and_unchanged_layers_not_looked_at(desk: Desk) -> None:
    desk.paint(0, block(desk, 0, 9))
    first = desk.look()
    assert desk.look(first).layers[0] is first.layers[0]
    bits = bits_of(desk.node, desk.ids[0], desk.scan)
    bits[3, 4, 5] = False
    desk.paint(0, bits)
    second = desk.look(first)
    same = [a is b for a, b in zip(first.layers[0].planes, second.layers[0].planes, strict=True)]
    assert same.count(False) == 1


@settings(deadline=None, max_examples=25)
@given(seeds=st.lists(st.integers(0, 99), min_size=4, max_size=4), overlap=st.booleans())
def test_changes_are_counted_voxel_for_voxel(application: Any, seeds: list[int], overlap: bool) -> None:
    application.scene.Clear(False)
    desk = Desk(application.scene)
    if overlap:
        desk.editor.SetOverwriteMode(OVERWRITE_NONE)
    for number in (0, 1):
        desk.paint(number, noise(desk.scan, seeds[number], 0.2))
    old, before = desk.look(), [bits_of(desk.node, one, desk.scan) for one in desk.ids]
    for number in (0, 1):
        desk.paint(number, noise(desk.scan, seeds[2 + number], 0.3))
    after = [bits_of(desk.node, one, desk.scan) for one in desk.ids]
    found = finish(changes(old, desk.look(old)))
    for segment_id, a, b in zip(desk.ids, before, after, strict=True):
        assert found.get(segment_id, (0, 0)) == ((b & ~a).sum(), (a & ~b).sum())
    desk.writer.close()


def test_a_segment_that_was_removed_has_lost_all_its_voxels(desk: Desk) -> None:
    desk.paint(0, block(desk, 1, 4))
    before = desk.look()
    desk.node.GetSegmentation().RemoveSegment(desk.ids[0])
    assert finish(changes(before, desk.look(before))) == {desk.ids[0]: (0, block(desk, 1, 4).sum())}


# One array of label values


@settings(deadline=None, max_examples=25)
@given(where=placed(), seed=st.integers(0, 99), overlap=st.booleans())
def test_the_first_segment_wins_where_several_overlap(application: Any, where: Any, seed: int, overlap: bool) -> None:
    application.scene.Clear(False)
    volume, transform = where
    scan = scan_in(application.scene, volume, transform)
    editor = editor_of(application.scene, scan, new_segmentation(scan))
    node = editor.GetSegmentationNode()
    if overlap:
        editor.SetOverwriteMode(OVERWRITE_NONE)
    writer = SegmentWriter(editor)
    ids = [segment_in(node, name) for name in ("a", "b", "c", "empty")]
    for number, segment_id in enumerate(ids[:3]):
        bits = noise(scan, seed + number, 0.4)
        box = tuple(slice(0, n) for n in bits.shape)
        writer.accept(Proposal(box, bits, np.zeros_like(bits), 1.0), segment_id)
    order = [ids[2], ids[0], ids[3], ids[1]]
    masks = [bits_of(node, one, scan) for one in order]
    flat = finish(flattening(node, scan, order))
    expected = np.zeros(volume.shape, np.uint8)
    for number in reversed(range(len(order))):
        expected[masks[number]] = number + 1
    assert (flat.voxels == expected).all()
    assert flat.shared == (sum(mask.astype(int) for mask in masks) > 1).sum()
    assert flat.sizes == tuple((expected == n + 1).sum() for n in range(len(order)))
    writer.close()


def test_hidden_segments_are_not_among_the_visible(desk: Desk) -> None:
    desk.node.CreateDefaultDisplayNodes()
    desk.node.GetDisplayNode().SetSegmentVisibility(desk.ids[0], False)
    assert visible_segments(desk.node) == [desk.ids[1]]
