"""Growing from clicks: what is alike and hangs together, nothing behind an edge, and doubt where it is doubtful."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from SSLSegmentationLib.errors import Cancelled, InputError
from SSLSegmentationLib.prompting.grow import grow
from SSLSegmentationLib.prompts import BoxPrompt, MaskPrompt, PointPrompt
from SSLSegmentationLib.proposal import Cropped, Proposal
from SSLSegmentationLib.volume import Volume
from Testing.strategies import matrices

SIDE = 40


def two_balls(matrix: np.ndarray | None = None) -> tuple[Volume, np.ndarray, np.ndarray]:
    """Two equally bright balls in noise, and where they are."""
    z, y, x = np.ogrid[:SIDE, :SIDE, :SIDE]
    first = (z - 20) ** 2 + (y - 20) ** 2 + (x - 10) ** 2 <= 36
    second = (z - 20) ** 2 + (y - 20) ** 2 + (x - 30) ** 2 <= 36
    voxels = np.random.default_rng(0).normal(0, 8, (SIDE,) * 3) + 200.0 * (first | second)
    return Volume(voxels.astype(np.float32), np.eye(4) if matrix is None else matrix), first, second


def at(volume: Volume, i: float, j: float, k: float, positive: bool = True) -> PointPrompt:
    return PointPrompt(tuple(volume.to_ras(np.array([i, j, k]))), positive)


def whole(proposal: Proposal) -> np.ndarray:
    mask = np.zeros((SIDE,) * 3, bool)
    mask[proposal.box] = proposal.mask
    return mask


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * (one & other).sum() / (one.sum() + other.sum())


@settings(max_examples=10)
@given(matrices())
def test_a_click_takes_its_ball_and_not_the_other_one(matrix: np.ndarray) -> None:
    """On any grid: straight, mirrored, oblique, with thick slices."""
    volume, first, second = two_balls(matrix)
    found = whole(grow(volume, [at(volume, 10, 20, 20)]))
    assert dice(found, first) > 0.85
    assert not (found & second).any()


def test_two_clicks_take_both() -> None:
    volume, first, second = two_balls()
    found = whole(grow(volume, [at(volume, 10, 20, 20), at(volume, 30, 20, 20)]))
    assert dice(found, first | second) > 0.9


def test_a_negative_click_cuts_off_what_is_nearer_to_it() -> None:
    volume, _first, _ = two_balls()
    plain = whole(grow(volume, [at(volume, 10, 20, 20)]))
    cut = whole(grow(volume, [at(volume, 10, 20, 20), at(volume, 10, 20, 25, positive=False)]))
    assert cut.any()
    assert not (cut & ~plain).any()
    assert not cut[24:].any()


def test_a_negative_click_alone_takes_away() -> None:
    volume, first, second = two_balls()
    segment = Cropped.of(first | second)
    proposal = grow(volume, [at(volume, 30, 20, 20, positive=False)], segment)
    left = proposal.accepted_into(segment).within((slice(0, SIDE),) * 3)
    assert not proposal.added.any()
    assert dice(left, first) > 0.9


def test_what_is_in_the_segment_already_is_not_added_again() -> None:
    volume, first, second = two_balls()
    proposal = grow(volume, [at(volume, 30, 20, 20)], Cropped.of(first))
    assert not proposal.removed.any()
    assert dice(whole(proposal), second) > 0.9


def test_a_box_bounds_the_region() -> None:
    volume, _first, _ = two_balls()
    box = BoxPrompt((4.0, 14.0, 17.6), ((12.0, 0, 0), (0, 12.0, 0), (0, 0, 4.8)))
    found = whole(grow(volume, [at(volume, 10, 20, 20), box]))
    assert found[18:23].any()
    assert not found[:18].any()
    assert not found[23:].any()


def test_a_painted_stroke_counts_as_clicks() -> None:
    volume, first, _ = two_balls()
    stroke = np.zeros((SIDE,) * 3, bool)
    stroke[20, 20, 7:14] = True
    assert dice(whole(grow(volume, [MaskPrompt(stroke, volume.ijk_to_ras)])), first) > 0.9


def test_doubt_is_highest_at_the_edge_and_a_leak_lowers_the_score() -> None:
    volume, _first, _ = two_balls()
    ball = grow(volume, [at(volume, 10, 20, 20)])
    background = grow(volume, [at(volume, 2, 2, 2)])
    assert ball.uncertainty is not None
    centre = tuple(20 - s.start if axis else 20 - ball.box[0].start for axis, s in enumerate(ball.box[:2]))
    assert ball.uncertainty[(*centre, 10 - ball.box[2].start)] < ball.uncertainty[ball.mask].mean()
    assert ball.uncertainty.min() >= 0
    assert ball.uncertainty.max() <= 1
    assert 0 <= background.score < ball.score <= 1


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["u1", "i2", "i4", "f4", "f8"]))
def test_any_values_give_an_answer(seed: int, dtype: str) -> None:
    """Noise, constants and extremes: an answer without a warning, since warnings are errors here."""
    random = np.random.default_rng(seed)
    voxels = np.full((9, 8, 7), random.integers(0, 100)).astype(dtype)
    if seed % 2:
        voxels += random.integers(0, 100, voxels.shape).astype(dtype)
    volume = Volume(voxels)
    proposal = grow(volume, [at(volume, 3, 4, 5), at(volume, 0, 0, 0, positive=False)])
    assert np.isfinite(proposal.score)


def test_the_window_stays_small_on_a_large_scan() -> None:
    """An even scan grows as far as it may, which is not everywhere."""
    volume = Volume(np.zeros((200, 200, 200), np.int8), np.diag([0.3, 0.3, 0.3, 1.0]))
    proposal = grow(volume, [at(volume, 100, 100, 100)])
    assert 0 < proposal.mask.sum() < 2_000_000


def test_a_click_outside_the_scan_is_named() -> None:
    volume, _, _ = two_balls()
    with pytest.raises(InputError, match=r"The click at 90\.0, 0\.0, 0\.0 mm lies outside"):
        grow(volume, [PointPrompt((90.0, 0.0, 0.0))])


def test_a_box_without_a_click_is_not_enough() -> None:
    volume, _, _ = two_balls()
    with pytest.raises(InputError, match="place at least one point"):
        grow(volume, [BoxPrompt((0.0, 0.0, 0.0), ((9.0, 0, 0), (0, 9.0, 0), (0, 0, 9.0)))])


def test_a_click_beside_its_box_is_named() -> None:
    volume, _, _ = two_balls()
    with pytest.raises(InputError, match="outside the box"):
        grow(volume, [at(volume, 30, 20, 20), BoxPrompt((0.0, 0.0, 0.0), ((9.0, 0, 0), (0, 9.0, 0), (0, 0, 9.0)))])


def test_it_can_be_cancelled() -> None:
    volume, _, _ = two_balls()

    def stop(stage: str, part: float) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        grow(volume, [at(volume, 10, 20, 20)], tick=stop)
