"""Prompts lie in patient space: whatever the grid, they touch the voxels that are there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.plane import slice_plane
from SSLSegmentationLib.prompts import BoxPrompt, MaskPrompt, PointPrompt
from SSLSegmentationLib.volume import Volume
from Testing.strategies import volumes


@given(st.data())
def test_a_box_around_voxel_centres_covers_exactly_these_voxels(data: st.DataObject) -> None:
    volume = data.draw(volumes())
    size = np.array(volume.shape[::-1])
    first = np.array([data.draw(st.integers(0, n - 1)) for n in size])
    last = np.array([data.draw(st.integers(a, n - 1)) for a, n in zip(first, size, strict=True)])
    corner, opposite = first - 0.25, last + 0.25
    edges = volume.ijk_to_ras[:3, :3] * (opposite - corner)
    box = BoxPrompt(tuple(volume.to_ras(corner)), tuple(map(tuple, edges.T)))
    found = box.around(volume)
    assert [s.start for s in found] == first[::-1].tolist()
    assert [s.stop for s in found] == (last[::-1] + 1).tolist()


def test_a_box_beside_the_scan_is_empty() -> None:
    volume = Volume(np.zeros((4, 5, 6), np.int16))
    box = BoxPrompt((100.0, 0.0, 0.0), ((2.0, 0, 0), (0, 2.0, 0), (0, 0, 2.0)))
    assert any(s.stop <= s.start for s in box.around(volume))


@given(volumes(), st.integers(0, 2**32 - 1))
def test_a_mask_on_the_grid_of_the_scan_covers_its_own_voxels(volume: Volume, seed: int) -> None:
    mask = np.random.default_rng(seed).random(volume.shape) < 0.4
    box, bits = MaskPrompt(mask, volume.ijk_to_ras).on(volume)
    whole = np.zeros(volume.shape, bool)
    whole[box] = bits
    np.testing.assert_array_equal(whole, mask)


def test_a_coarser_mask_leaves_no_holes() -> None:
    volume = Volume(np.zeros((8, 8, 8), np.int16))
    coarse = np.diag([2.0, 2.0, 2.0, 1.0])
    coarse[:3, 3] = 0.5  # a coarse voxel covers two fine ones on each axis
    box, bits = MaskPrompt(np.ones((2, 3, 4), bool), coarse).on(volume)
    assert box == (slice(0, 4), slice(0, 6), slice(0, 8))
    assert bits.all()


def test_a_mask_painted_on_a_slice_covers_that_slice() -> None:
    volume = Volume(np.zeros((3, 4, 5), np.int16), np.diag([0.5, 0.7, 2.0, 1.0]))
    plane = slice_plane(volume, 0, 2)
    painted = np.zeros(plane.shape, bool)
    painted[1:3, 2] = True
    prompt = MaskPrompt(painted, plane.pixel_to_ras)
    assert prompt.plane is not None
    box, bits = prompt.on(volume)
    assert box == (slice(2, 3), slice(1, 3), slice(2, 3))
    assert bits.all()


def test_an_empty_mask_covers_nothing() -> None:
    volume = Volume(np.zeros((3, 4, 5), np.int16))
    assert MaskPrompt(np.zeros((3, 4, 5), bool), np.eye(4)).on(volume)[1].size == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: PointPrompt((0.0, float("nan"), 0.0)),
        lambda: PointPrompt((0.0, 1.0)),
        lambda: BoxPrompt((0.0, 0.0, 0.0), ((1.0, 0.0, 0.0),)),
        lambda: BoxPrompt((0.0, 0.0, 0.0), ((1.0, 0.0, 0.0), (0.0, float("inf"), 0.0))),
        lambda: MaskPrompt(np.zeros(4, bool), np.eye(4)),
        lambda: MaskPrompt(np.ones((2, 2), bool), np.zeros((4, 4))),
    ],
    ids=["not a number", "two numbers", "one edge", "infinite edge", "one dimension", "no position"],
)
def test_what_has_no_place_is_refused_in_one_sentence(make: object) -> None:
    with pytest.raises(InputError, match=r"^(the|an) .*: .*\.$|^(the|an) .*, but .*\.$"):
        make()
