"""Patches lie where their placement says, whatever was mirrored, turned, rotated or beyond the border."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from SSLSegmentationLib.inference.sliding import _padded
from SSLSegmentationLib.models.package import Sliding
from trainer.data.augment import Augmentation, place
from trainer.data.patches import Placement, Swelling, choose_centre, cut, cut_both

SHAPE = (30, 34, 26)


def coordinates(axis: int, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """An image whose values are the positions along an axis, which linear interpolation gives back exactly."""
    return np.broadcast_to(np.arange(shape[axis]).reshape([-1 if a == axis else 1 for a in range(3)]), shape).astype(
        np.float16
    )


def positions(placement: Placement, patch: tuple[int, int, int]) -> np.ndarray:
    """(3, i, j, k): where in the case each voxel of the patch lies, by the definition of a placement."""
    voxels = np.stack(np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in patch), indexing="ij"))
    return np.einsum("ab,bijk->aijk", placement.matrix, voxels) + placement.centre.reshape(3, 1, 1, 1)


@st.composite
def placements(draw: st.DrawFn, patch: tuple[int, int, int]) -> Placement:
    """As augmentation draws them, straight or askew, around the middle of the case."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    change = Augmentation((0, 1, 2), turn=True, affine=draw(st.sampled_from([0.0, 1.0])), degrees=20)
    centre = choose_centre(rng, SHAPE, patch)
    return place(
        rng, np.clip(centre, 12, 14) + 0.5, change, patch, np.array(draw(st.sampled_from([(1, 1, 1), (1, 1, 3)])))
    )


@settings(deadline=None)
@given(st.sampled_from([(8, 8, 8), (10, 10, 6), (8, 12, 9), (9, 9, 1)]), st.data())
def test_a_patch_shows_the_positions_its_placement_names(patch: tuple, data: st.DataObject) -> None:
    placement = data.draw(placements(patch))
    if placement.affine is None:  # only what lies askew may have its middle anywhere
        straight = np.array([patch[placement.axes.index(axis)] for axis in range(3)])
        placement = Placement(
            np.floor(placement.centre) + (straight - 1) / 2 % 1, None, placement.axes, placement.flips
        )
    expected = positions(placement, patch)
    if placement.affine is not None and patch[2] == 1:  # a flat patch lies on a slice
        placement = Placement(np.floor(placement.centre), placement.affine, placement.axes, placement.flips)
        expected = positions(placement, patch)
    for axis in range(3):
        found = cut(coordinates(axis), placement, patch)
        assert found.shape == patch
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected[axis], atol=2e-3)


SPACING = np.array((1.0, 1.0, 2.0))
swellings = st.builds(
    lambda factor, radius, middle: Swelling(np.array(middle), radius, factor, SPACING),
    st.floats(0.2, 5.0),
    st.floats(2.0, 20.0),
    st.tuples(*[st.floats(8.0, 20.0)] * 3),
)


@settings(deadline=None)
@given(swellings)
def test_what_a_swelling_moves_stays_in_its_ball_and_comes_back_with_the_inverse_factor(swelling: Swelling) -> None:
    voxels = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1).astype(np.float32)
    seen = swelling.source(torch.from_numpy(voxels))
    distance, before = (
        np.linalg.norm((places - swelling.centre) * SPACING, axis=-1) for places in (voxels, seen.numpy())
    )
    outside = distance >= swelling.radius
    np.testing.assert_allclose(seen.numpy()[outside], voxels[outside], atol=1e-4)
    inside = (distance > 0) & ~outside
    assert (before[inside] <= swelling.radius + 1e-3).all()
    assert ((before < distance) if swelling.factor > 1.001 else (before > distance * 0.999))[inside].all()
    undone = Swelling(swelling.centre, swelling.radius, 1 / swelling.factor, SPACING).source(seen)
    np.testing.assert_allclose(undone.numpy(), voxels, atol=2e-3)


@settings(deadline=None)
@given(placements((8, 8, 8)), swellings)
def test_a_swollen_patch_shows_what_its_swelling_names(placement: Placement, swelling: Swelling) -> None:
    swollen = replace(placement, swelling=swelling)
    straight = positions(placement, (8, 8, 8)).transpose(1, 2, 3, 0).astype(np.float32)
    expected = swelling.source(torch.from_numpy(straight)).numpy()
    for axis in range(3):
        found = cut(coordinates(axis), swollen, (8, 8, 8), "edge")
        np.testing.assert_allclose(found, expected[..., axis].clip(0, SHAPE[axis] - 1), atol=2e-3)


@pytest.mark.parametrize(("factor", "more"), [(2.0, True), (0.5, False)])
def test_a_structure_in_a_swelling_grows_or_shrinks_without_losing_its_middle(factor: float, more: bool) -> None:
    middle = np.full(3, 15.0)
    labels = (np.linalg.norm(np.indices((31, 31, 31)).T - middle, axis=-1) <= 5).astype(np.uint8)
    swelling = Swelling(middle, 12.0, factor, np.ones(3))
    _, truth = cut_both(labels, labels, Placement(middle, swelling=swelling), (31, 31, 31))
    assert truth[15, 15, 15] == 1
    # What is at r of the radius comes from r / (f + r - fr), so the edge at 5 of 12 moves by a known amount.
    edge = 12 * factor * (5 / 12) / (1 + (factor - 1) * 5 / 12)
    assert truth.sum() == pytest.approx(4 / 3 * np.pi * edge**3, rel=0.15)
    assert (truth.sum() > labels.sum()) == more


@settings(deadline=None)
@given(placements((8, 8, 8)))
def test_image_and_labels_of_a_patch_belong_together(placement: Placement) -> None:
    labels = (np.random.default_rng(0).random(tuple(n // 2 for n in SHAPE)) < 0.5).astype(np.uint8)
    labels = labels.repeat(2, 0).repeat(2, 1).repeat(2, 2) * 7
    image, truth = cut_both(labels.astype(np.float16), labels, placement, (8, 8, 8))
    np.testing.assert_array_equal(image, cut(labels.astype(np.float16), placement, (8, 8, 8)))
    assert truth.dtype == np.uint8
    assert set(np.unique(truth)) <= {0, 7}
    clear = np.abs(image - 3.5) > 3.2  # hardly interpolated, so the nearest voxel is beyond doubt
    np.testing.assert_array_equal(truth[clear], np.where(image > 3.5, 7, 0)[clear])


@pytest.mark.parametrize("padding", ["zero", "edge"])
@pytest.mark.parametrize("shape", [(9, 30, 30), (9, 12, 5), (10, 11, 1), (16, 16, 16)])
def test_a_case_smaller_than_a_patch_is_padded_as_the_sliding_window_pads_it(shape: tuple, padding: str) -> None:
    image = np.random.default_rng(1).normal(size=shape).astype(np.float16)
    patch = (16, 16, 16)
    for seed in range(5):
        centre = choose_centre(np.random.default_rng(seed), shape, patch)
        found = cut(image, Placement(centre), patch, padding)
        padded, _ = _padded(torch.from_numpy(image.astype(np.float32)), Sliding(patch, padding=padding))
        start = [int(c - (p - 1) / 2) if n > p else 0 for c, p, n in zip(centre, patch, shape, strict=True)]
        expected = padded[tuple(slice(a, a + p) for a, p in zip(start, patch, strict=True))]
        np.testing.assert_array_equal(found, expected.numpy())


def test_labels_around_a_case_are_background_also_where_the_image_is_repeated() -> None:
    image, labels = np.full((6, 6, 6), 5, np.float16), np.full((6, 6, 6), 2, np.uint8)
    middle = np.full(3, 2.5)
    for affine in (None, np.eye(3) * 1.01):
        shown, truth = cut_both(image, labels, Placement(middle, affine), (12, 12, 12), "edge")
        np.testing.assert_allclose(shown, 5, rtol=1e-5)
        assert (truth == 2).sum() == 6**3


def test_patches_lie_inside_the_case_and_reach_every_voxel() -> None:
    shape, patch, seen = (9, 7, 5), (4, 4, 4), np.zeros((9, 7, 5), bool)
    rng = np.random.default_rng(0)
    for _ in range(300):
        start = (choose_centre(rng, shape, patch) - 1.5).astype(int)
        assert (start >= 0).all()
        assert (start + 4 <= shape).all()
        seen[tuple(slice(a, a + 4) for a in start)] = True
    assert seen.all()


@settings(deadline=None)
@given(st.tuples(*[st.integers(3, 40)] * 3), st.sampled_from([(8, 8, 8), (16, 8, 4), (8, 8, 1)]), st.integers(0, 99))
def test_a_patch_that_is_to_show_a_structure_does(shape: tuple, patch: tuple, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint8)
    voxels = {c: rng.integers(0, shape, (3, 3)).astype(np.int32) for c in (1, 2)}
    for index, places in voxels.items():
        labels[tuple(places.T)] = index
    centre = choose_centre(rng, shape, patch, voxels, part=1.0)
    _, truth = cut_both(np.zeros(shape, np.float16), labels, Placement(centre), patch)
    assert truth.any()


def test_every_class_is_shown_as_often_as_the_others_and_in_the_part_that_was_asked_for() -> None:
    shape, patch, rng = (60, 60, 60), (4, 4, 4), np.random.default_rng(2)
    labels = np.zeros(shape, np.uint8)
    labels[:20], labels[50, 50, 50] = 1, 2
    voxels = {1: np.argwhere(labels == 1)[::50], 2: np.array([[50, 50, 50]])}
    shown = {1: 0, 2: 0}
    for _ in range(600):
        centre = choose_centre(rng, shape, patch, voxels, part=0.5)
        _, truth = cut_both(labels, labels, Placement(centre), patch)
        shown[2] += bool((truth == 2).any())
    assert shown[2] / 600 == pytest.approx(0.25, abs=0.05)


def test_a_case_without_any_structure_is_cut_anywhere() -> None:
    centres = {tuple(choose_centre(np.random.default_rng(s), (9, 9, 9), (4, 4, 4), {}, part=1.0)) for s in range(20)}
    assert len(centres) > 15
