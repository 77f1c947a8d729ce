from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from trainer.parts.views import (
    Box,
    cells,
    cut_view,
    draw_region,
    draw_two_crops,
    in_other_view,
    is_inside,
    match_places,
    match_radius,
)

SHAPES = [(8, 6, 4), (12, 10, 1), (5, 5, 5)]


@st.composite
def affines(draw: st.DrawFn) -> np.ndarray:
    """Any affine that is not flat: rotations, flips, shear and scale, somewhere in a large image."""
    linear = np.array(draw(st.lists(st.floats(-1, 1), min_size=9, max_size=9))).reshape(3, 3)
    left, sizes, right = np.linalg.svd(linear)
    linear = left @ np.diag(sizes.clip(0.2)) @ right * draw(st.floats(2.0, 60.0))
    shift = draw(st.lists(st.floats(0, 500), min_size=3, max_size=3))
    return np.concatenate([linear, np.array(shift)[:, None]], axis=1)


def _near(affine: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Another affine that overlaps: the first, moved and turned a little."""
    turned = affine[:, :3] @ (np.eye(3) + step[:, :3])
    return np.concatenate([turned, affine[:, 3:] + affine[:, :3] @ step[:, 3:]], axis=1)


def _coordinates(affine: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """A feature map that holds, at every cell, where in the image it lies: (1, 3, i, j, k)."""
    places = cells(shape, torch.float64) @ affine[:, :3].T + affine[:, 3]
    return places.permute(3, 0, 1, 2)[None]


@settings(deadline=None, max_examples=60)
@given(
    affines(),
    st.lists(st.floats(-0.3, 0.3), min_size=12, max_size=12),
    st.sampled_from(SHAPES[::2]),
    st.sampled_from(SHAPES[::2]),
)
def test_matched_pixels_are_the_same_place_for_any_pair_of_affines(
    affine: np.ndarray, step: list[float], shape: tuple[int, int, int], other_shape: tuple[int, int, int]
) -> None:
    first = torch.from_numpy(affine)
    second = torch.from_numpy(_near(affine, np.array(step).reshape(3, 4)))
    scale = np.abs(affine[:, :3]).max()
    matches = match_places(_coordinates(second, other_shape), first[None], second[None], shape, most=10**6)
    here = matches.rows(_coordinates(first, shape))
    assert torch.allclose(here.double(), matches.target.double(), atol=2e-5 * (scale + 500))


@pytest.mark.parametrize("match", [match_places, match_radius])
def test_mixed_precision_does_not_move_pixels(match) -> None:
    boxes = Box(np.full(3, 200.0), np.array([60.0, 50, 40])), Box(np.full(3, 207.3), np.array([50.0, 50, 40]))
    a, b = (torch.from_numpy(box.affine()).float()[None] for box in boxes)
    features = torch.randn(1, 2, 12, 10, 8)
    expected = match(features, a, b, (12, 10, 8), 10**6)
    with torch.autocast("cpu", torch.bfloat16):
        found = match(features, a, b, (12, 10, 8), 10**6)
    assert torch.equal(found.cell, expected.cell)
    assert torch.allclose(found.target, expected.target, atol=1e-5)


def test_some_pixels_match_where_views_overlap() -> None:
    affine = torch.from_numpy(Box(np.zeros(3), np.array([8.0, 8, 8])).affine())[None]
    other = torch.from_numpy(Box(np.array([2.0, 0, 0]), np.array([8.0, 8, 8])).affine())[None]
    matches = match_places(torch.zeros(1, 2, 8, 8, 8), affine, other, (8, 8, 8), most=10**6)
    assert len(matches.cell) == 6 * 8 * 8


@pytest.mark.parametrize("shape", SHAPES)
def test_a_view_matches_itself_everywhere(shape: tuple[int, int, int]) -> None:
    affine = torch.from_numpy(Box(np.array([3.0, 1, 9]), np.array(shape, dtype=float)).affine())[None]
    features = torch.randn(1, 4, *shape)
    matches = match_places(features, affine, affine, shape, most=10**6)
    assert len(matches.cell) == np.prod(shape)
    assert torch.allclose(matches.rows(features), matches.target, atol=1e-4)


def test_a_flipped_view_matches_its_mirror_image() -> None:
    box, shape = Box(np.zeros(3), np.array([6.0, 4, 1])), (6, 4, 1)
    plain, mirrored = (torch.from_numpy(box.affine((flip, False, False)))[None] for flip in (False, True))
    features = torch.randn(1, 2, *shape)
    matches = match_places(features.flip(2), plain, mirrored, shape, most=100)
    assert torch.allclose(matches.rows(features), matches.target, atol=1e-5)


def test_views_apart_have_no_matches() -> None:
    affine, other = (torch.from_numpy(Box(np.full(3, low), np.full(3, 4.0)).affine())[None] for low in (0.0, 9.0))
    for match in (match_places, match_radius):
        matches = match(torch.zeros(1, 2, 4, 4, 4), affine, other, (4, 4, 4), 100)
        assert matches.cell.shape == (0,)
        assert matches.target.shape == (0, 2)


def test_at_most_so_many_pixels_of_each_image_are_drawn() -> None:
    affine = torch.from_numpy(Box(np.zeros(3), np.full(3, 4.0)).affine()).expand(3, 3, 4)
    for match in (match_places, match_radius):
        matches = match(torch.zeros(3, 2, 4, 4, 4), affine, affine, (4, 4, 4), 10)
        assert torch.bincount(matches.image).tolist() == [10, 10, 10]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_radius_rule_equals_the_double_loop(shape: tuple[int, int, int]) -> None:
    first, second = Box(np.zeros(3), np.array([8.0, 8, 1])), Box(np.array([1.0, 2, 0]), np.array([6.0, 6, 1]))
    a, b = (torch.from_numpy(box.affine()) for box in (first, second))
    index = torch.arange(float(np.prod(shape))).reshape(1, 1, *shape)
    matches = match_radius(index, a[None], b[None], shape, 10**6)
    here, there = (_coordinates(m, shape)[0].flatten(1).T for m in (a, b))
    steps = [[side / n for side, n in zip(box.size, shape, strict=True) if n > 1] for box in (first, second)]
    limit = 0.7 * max(float(np.linalg.norm(step)) for step in steps)
    inside = ((here - b[:, 3]).abs() <= b[:, :3].diagonal() + 1e-3).all(1)
    expected = {
        (i, j)
        for i in range(len(here))
        for j in range(len(there))
        if inside[i] and float((here[i] - there[j]).norm()) < limit
    }
    found = set(zip(matches.cell[matches.pixel].tolist(), matches.target[:, 0].int().tolist(), strict=True))
    assert found == expected


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.sampled_from([(64, 48, 32), (64, 64, 1), (20, 90, 8)]))
def test_crops_lie_in_the_region_and_share_at_least_thirty_percent(seed: int, patch: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(seed)
    region = draw_region((70, 60, 20), patch, rng)
    for image_side, low, size in zip((70, 60, 20), region.low, region.size, strict=True):
        assert size > image_side or 0 <= low <= image_side - size
    first, second = draw_two_crops(region, rng)
    assert first.shared(second) >= 0.3
    for crop in (first, second):
        assert (crop.low >= region.low - 1e-9).all()
        assert (crop.low + crop.size <= region.low + region.size + 1e-9).all()
        axes = region.size > 1
        sides = crop.size[axes] / region.size[axes]
        assert sides.max() / sides.min() <= 4 / 3 + 1e-9
        assert (crop.size[~axes] == 1).all()


def test_a_demand_that_no_draw_meets_gives_the_same_crop_twice() -> None:
    region = Box(np.zeros(3), np.array([32.0, 32, 32]))
    first, second = draw_two_crops(region, np.random.default_rng(0), overlap=0.999, tries=3)
    assert first is second


@pytest.mark.parametrize("shape", [(7, 6, 5), (7, 6, 1)])
def test_a_view_of_the_whole_image_is_the_image(shape: tuple[int, int, int]) -> None:
    image = np.random.default_rng(0).normal(size=shape).astype(np.float16)
    affine = Box(np.zeros(3), np.array(shape, dtype=float)).affine()
    assert np.allclose(cut_view(image, affine, shape)[0].numpy(), image, atol=1e-5)


def test_a_view_interpolates_what_is_linear_exactly_and_is_zero_outside() -> None:
    i, j, k = np.meshgrid(*map(np.arange, (9, 8, 7)), indexing="ij")
    image = (100 + 3 * i - 2 * j + k).astype(np.float32)
    affine = Box(np.array([1.5, 2.0, 1.0]), np.array([4.0, 3.0, 5.0])).affine((True, False, False))
    places = _coordinates(torch.from_numpy(affine), (6, 6, 6))[0]
    expected = 100 + 3 * places[0] - 2 * places[1] + places[2]
    assert torch.allclose(cut_view(image, affine, (6, 6, 6))[0].double(), expected, atol=1e-3)
    beyond = cut_view(image, Box(np.array([-2.0, 0, 0]), np.array([4.0, 8, 7])).affine(), (4, 8, 7))[0]
    assert (beyond[:2] == 0).all()
    assert np.allclose(beyond[2:], image[:2], atol=1e-4)


def test_a_place_outside_of_the_cell_centres_is_not_inside() -> None:
    positions = torch.tensor([[0.75, 0.0, 0.0], [0.76, 0.0, 0.0], [0.0, 0.0, 0.01]])
    assert is_inside(positions, (4, 2, 1)).tolist() == [True, False, False]


def test_positions_in_the_other_view_follow_its_affine() -> None:
    a = torch.from_numpy(Box(np.zeros(3), np.array([8.0, 8, 8])).affine())[None]
    b = torch.from_numpy(Box(np.array([4.0, 0, 0]), np.array([4.0, 8, 16])).affine())[None]
    there = in_other_view(a, b, (2, 2, 2))[0].float()
    assert torch.allclose(there[0, 0, 0], torch.tensor([-2.0, -0.5, -0.75]))
    assert torch.allclose(there[1, 1, 1], torch.tensor([0.0, 0.5, -0.25]))
