"""Simulated users: they click where something is wrong, and their boxes hold what they mean."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.parts.prompts import box_around, click, correction, followed, spoilt


def disc(row: int = 30, column: int = 40, radius: int = 12, shape: tuple[int, int] = (64, 80)) -> np.ndarray:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


def test_clicks_lie_inside_but_for_a_slip_now_and_then() -> None:
    rng, area = np.random.default_rng(0), disc()
    hits = [bool(area[round(row), round(column)]) for column, row in (click(area, rng) for _ in range(300))]
    assert 0.95 < np.mean(hits) <= 1


def test_a_correction_goes_into_the_largest_mistake_and_says_what_is_wrong_there() -> None:
    rng, target = np.random.default_rng(1), disc()
    placed, sign = correction(target, np.zeros_like(target), rng)
    assert sign
    assert target[round(placed[1]), round(placed[0])]
    too_much = target | disc(30, 70, 8)
    placed, sign = correction(target, too_much, rng)
    assert not sign
    assert np.hypot(placed[0] - 70, placed[1] - 30) < 9


def test_what_is_right_needs_no_correction() -> None:
    assert correction(disc(), disc(), np.random.default_rng(0)) is None


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 63), st.integers(0, 79), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_a_box_stays_in_the_picture_and_holds_most_of_what_is_meant(row: int, column: int, radius: int, seed: int):
    target = disc(row, column, radius)
    left, top, right, bottom = box_around(target, np.random.default_rng(seed))
    assert 0 <= left <= right <= 79
    assert 0 <= top <= bottom <= 63
    rows, columns = np.nonzero(target)
    inside = (rows >= top - 1) & (rows <= bottom + 1) & (columns >= left - 1) & (columns <= right + 1)
    assert inside.mean() > 0.6


@pytest.mark.parametrize("seed", range(8))
def test_a_spoilt_mask_is_another_one_of_about_the_same_place(seed: int) -> None:
    target = disc()
    mask = spoilt(target, np.random.default_rng(seed))
    assert mask.shape == target.shape
    assert mask.dtype == bool
    assert (mask != target).any()
    assert (mask & target).any()


def test_what_is_handed_on_from_slice_to_slice_is_off_by_a_pixel_at_most_and_never_empty() -> None:
    rng, spot = np.random.default_rng(2), disc(radius=1)
    for _ in range(20):
        handed_on = followed(disc(), rng)
        assert (disc(radius=10) <= handed_on).all()
        assert (handed_on <= disc(radius=14)).all()
        assert followed(spot, rng).any()
