"""Stacks of slices share a scan's voxels out; masks go to slices and come back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.plane import Plane, put_back
from SSLSegmentationLib.prompting.compose import patch_of
from SSLSegmentationLib.prompting.stack import (
    Stack,
    acquired,
    look,
    part_of,
    slices_across,
    slices_along,
    slices_beside,
)
from SSLSegmentationLib.proposal import Cropped
from SSLSegmentationLib.volume import Volume
from Testing.strategies import numbers, oblique_planes, volumes


@st.composite
def stacks(draw: st.DrawFn) -> Stack:
    volume = draw(volumes(most=7))
    kind = draw(st.sampled_from(["along", "across", "beside"]))
    if kind == "along":
        return slices_along(volume, draw(st.integers(0, 2)))
    if kind == "across":
        normal = np.array([draw(numbers(-1, 1)) for _ in range(3)])
        return slices_across(volume, normal if np.linalg.norm(normal) > 0.1 else np.array([1.0, 2.0, 3.0]))
    return slices_beside(volume, draw(oblique_planes(volume)))


@settings(max_examples=60)
@given(stacks())
def test_every_voxel_belongs_to_exactly_one_slice(stack: Stack) -> None:
    volume = stack.volume
    its = stack.numbers(tuple(slice(0, n) for n in volume.shape))
    counted = np.zeros(volume.shape, int)
    for n in range(stack.count):
        plane = stack.plane(n)
        everything = np.ones(plane.shape, bool)
        box, bits = put_back(everything, plane, volume)
        counted[box] += bits
        assert (its[box][bits] == n).all()
    assert (counted == 1).all()


@given(volumes(), st.data())
def test_on_the_scan_s_own_slices_masks_go_and_come_back_unchanged(volume: Volume, data: st.DataObject) -> None:
    axis = data.draw(st.integers(0, 2))
    stack = slices_along(volume, axis)
    n = data.draw(st.integers(0, stack.count - 1))
    bits = np.random.default_rng(n).random(volume.shape) < 0.5
    mask = Cropped.of(bits)
    seen = stack.look(mask, n)
    assert (seen == np.take(bits, n, axis=axis)).all()
    again = Cropped(*put_back(seen, stack.plane(n), volume)).within(tuple(slice(0, s) for s in volume.shape))
    only = np.zeros_like(bits)
    index = [slice(None)] * 3
    index[axis] = n
    only[tuple(index)] = bits[tuple(index)]
    assert (again == only).all()


@settings(max_examples=40)
@given(stacks(), st.data())
def test_a_patch_says_the_same_as_put_back(stack: Stack, data: st.DataObject) -> None:
    n = data.draw(st.integers(0, stack.count - 1))
    plane = stack.plane(n)
    mask = np.random.default_rng(3).random(plane.shape) < 0.4
    patch = patch_of(np.where(mask, 3.0, -3.0), plane, stack.volume)
    box, bits = put_back(mask, plane, stack.volume)
    everywhere = tuple(slice(0, s) for s in stack.volume.shape)
    assert (Cropped(box, bits).within(everywhere) == Cropped(patch.box, patch.mask).within(everywhere)).all()


@settings(max_examples=40)
@given(stacks(), st.data())
def test_on_a_slice_only_its_own_voxels_are_seen(stack: Stack, data: st.DataObject) -> None:
    n = data.draw(st.integers(0, stack.count - 1))
    own = stack.numbers(tuple(slice(0, s) for s in stack.volume.shape)) == n
    everything = stack.look(Cropped.of(np.ones(stack.volume.shape, bool)), n)
    assert (stack.look(Cropped.of(own), n) == everything).all()
    assert not stack.look(Cropped.of(~own), n).any()


def test_the_acquired_slices_lie_across_the_largest_spacing() -> None:
    volume = Volume(np.zeros((4, 5, 6)), np.diag([0.7, 3.0, 0.8, 1.0]))
    assert acquired(volume).count == 5
    assert acquired(Volume(np.zeros((4, 5, 6)))).count == 4


def test_a_part_of_a_plane_lies_where_it_was() -> None:
    plane = slices_across(Volume(np.zeros((9, 9, 9))), np.array([1.0, 2.0, 1.5])).plane(3)
    part = part_of(plane, slice(2, 6), slice(1, 4))
    assert part.shape == (4, 3)
    assert np.allclose(part.to_ras(np.array([0, 0])), plane.to_ras(np.array([1, 2])))


def test_a_stack_beside_a_view_has_one_slice_in_it() -> None:
    volume = Volume(np.zeros((20, 30, 40)), np.diag([0.5, 0.5, 2.0, 1.0]))
    view = slices_across(volume, np.array([1.0, -2.0, 1.5])).plane(7)
    zoomed = part_of(view, slice(3, 9), slice(4, 9))
    stack = slices_beside(volume, zoomed)
    depth = stack.first.to_pixel(zoomed.pixel_to_ras[:3, 3])[2]
    assert depth == pytest.approx(round(depth), abs=1e-6)
    assert 0 < depth < stack.count


def test_a_direction_without_length_is_refused() -> None:
    with pytest.raises(InputError, match="no direction"):
        slices_across(Volume(np.zeros((3, 3, 3))), np.zeros(3))


def test_a_mask_beside_the_plane_is_not_seen() -> None:
    volume = Volume(np.zeros((3, 40, 40)))
    mask = Cropped((slice(0, 1), slice(30, 33), slice(30, 33)), np.ones((1, 3, 3), bool))
    assert not look(mask, Plane(np.eye(4), (10, 10)), volume).any()
