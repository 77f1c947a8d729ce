"""The parts that following is made of: when to stop, what lies between, where to look, and grey values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_dilation

from SSLSegmentationLib.prompting.between import between, inside_distance
from SSLSegmentationLib.prompting.crops import Crop, around, larger, near_border
from SSLSegmentationLib.prompting.protocol import PixelPrompts
from SSLSegmentationLib.prompting.robot import dice
from SSLSegmentationLib.prompting.spreaders import GreyValues, HandedOn
from SSLSegmentationLib.prompting.stopping import DOUBTFUL, ENDED, LEAKED, LIMIT, NEVER, StopRule, Watch
from Testing.prompting.fake import Bright


def seen(rule: StopRule, start: int, *answers: tuple[int, float]) -> list[str | None]:
    watch = Watch(rule, start)
    return [watch.see(area, score) for area, score in answers]


def test_three_slices_of_next_to_nothing_are_the_end_and_two_are_not() -> None:
    good, gone = (900, 0.9), (1, 0.9)
    assert seen(StopRule(), 1000, good, gone, gone, good, gone, gone, gone) == [
        None,
        DOUBTFUL,
        DOUBTFUL,
        None,
        DOUBTFUL,
        DOUBTFUL,
        ENDED,
    ]


def test_a_model_that_is_not_sure_ends_it_as_well() -> None:
    assert seen(StopRule(), 1000, (900, 0.1), (900, 0.0), (900, 0.1))[-1] == ENDED


def test_more_than_twice_the_area_of_the_last_good_slice_is_a_leak() -> None:
    assert seen(StopRule(), 100, (200, 0.9), (400, 0.9), (0, 0.0), (801, 0.9)) == [None, None, DOUBTFUL, LEAKED]


def test_a_few_pixels_more_are_no_leak() -> None:
    assert seen(StopRule(), 3, (15, 0.9), (30, 0.9)) == [None, None]


def test_no_further_than_allowed() -> None:
    assert seen(StopRule(max_frames=1), 100, (100, 0.9), (100, 0.9)) == [None, LIMIT]


@given(st.lists(st.tuples(st.integers(0, 10**6), st.floats(0, 1)), max_size=30), st.integers(0, 10**6))
def test_never_is_never(answers: list[tuple[int, float]], start: int) -> None:
    assert set(seen(NEVER, start, *answers)) <= {None}


def disc(radius: float, row: float = 30, column: float = 30, side: int = 61) -> np.ndarray:
    rows, columns = np.ogrid[:side, :side]
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


def test_between_two_discs_lies_a_disc_of_the_size_between() -> None:
    for part, radius in ((0.25, 12.5), (0.5, 15.0), (0.75, 17.5)):
        found = between(disc(10), disc(20), part) > 0
        assert not (found & ~disc(radius + 1)).any()
        assert not (disc(radius - 1) & ~found).any()


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.floats(0, 1))
def test_the_ends_are_the_masks_themselves_and_nothing_outside_both_is_added(seed: int, part: float) -> None:
    random = np.random.default_rng(seed)
    first, last = random.random((2, 12, 13)) < 0.5
    first[6, 6] = last[6, 6] = True
    assert ((between(first, last, 0.0) > 0) == first).all()
    assert ((between(first, last, 1.0) > 0) == last).all()
    found = between(first, last, part) > 0
    assert not (found & ~(first | last)).any()
    assert not (first & last & ~found).any()


def test_distances_are_in_millimetres_and_a_full_picture_has_an_edge() -> None:
    distance = inside_distance(np.ones((5, 21), bool), (2.0, 1.0))
    assert distance[2, 10] == pytest.approx(5.5)
    assert distance.min() > 0


@settings(max_examples=80)
@given(st.integers(5, 300), st.integers(5, 300), st.integers(0, 10**6))
def test_a_crop_holds_its_object_and_a_larger_one_holds_both(rows: int, columns: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    mask = np.zeros((rows, columns), bool)
    top, left = random.integers(0, rows), random.integers(0, columns)
    mask[top : top + random.integers(1, 40), left : left + random.integers(1, 40)] = True
    crop = around([mask], mask.shape)
    assert crop.of(mask).sum() == mask.sum()
    assert not near_border(crop.of(mask), crop, mask.shape)
    for _ in range(30):
        inner = np.zeros(crop.shape, bool)
        inner[random.integers(0, crop.shape[0]), random.integers(0, crop.shape[1])] = True
        if not near_border(inner, crop, mask.shape):
            continue
        wide = larger(crop, inner, mask.shape)
        assert wide != crop
        assert (wide.rows.start, wide.columns.start) <= (crop.rows.start, crop.columns.start)
        assert wide.rows.start <= crop.rows.start <= crop.rows.stop <= wide.rows.stop <= rows
        assert wide.columns.start <= crop.columns.start <= crop.columns.stop <= wide.columns.stop <= columns
        crop = wide


def test_what_is_cropped_goes_back_to_its_place() -> None:
    pixels = np.arange(30.0).reshape(5, 6)
    crop = Crop(slice(1, 3), slice(2, 5))
    back = crop.back(crop.of(pixels), (5, 6), -1.0)
    assert (crop.of(back) == crop.of(pixels)).all()
    assert (back == -1).sum() == 30 - 6


def free(segment: str, n: int) -> np.ndarray:
    return np.ones((61, 61), bool)


def test_grey_values_follow_a_noisy_disc_and_know_when_it_has_gone() -> None:
    random = np.random.default_rng(0)

    def picture(n: int) -> np.ndarray:
        bright = disc(12, 30 + n, 30) if n < 8 else np.zeros((61, 61), bool)
        return np.clip(random.normal(np.where(bright, 150, 90), 12), 0, 255).astype(np.uint8)

    found = dict(GreyValues(free).spread(picture, range(1, 11), {0: {"a": disc(12)}}))
    for n in range(1, 8):
        mask, truth = found[n]["a"].mask, disc(12, 30 + n, 30)
        assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.93
        assert found[n]["a"].score > 0.5
    assert all(found[n]["a"].score < 0.2 for n in range(8, 11))


def test_grey_values_do_not_creep_into_a_large_neighbour_through_a_narrow_bridge() -> None:
    scene = disc(10, 20, 20)
    scene[19:21, 30:40] = True
    scene[5:55, 40:58] = True
    picture = np.where(scene, 180, 60).astype(np.uint8)
    found = dict(GreyValues(free).spread(lambda n: picture, range(1, 15), {0: {"a": disc(10, 20, 20)}}))
    assert not found[14]["a"].mask[:, 38:].any()


def test_a_mask_is_handed_on_with_a_box_around_it_and_not_where_it_may_not_go() -> None:
    picture = np.where(disc(12), 200, 0).astype(np.uint8)
    model = Bright()

    def left_half(segment: str, n: int) -> np.ndarray:
        allowed = np.ones((61, 61), bool)
        allowed[:, 31:] = False
        return allowed

    order = [5, 6]
    known = {4: {"a": disc(12) & left_half("a", 4), "b": np.zeros((61, 61), bool)}}
    found = dict(HandedOn(model, left_half).spread(lambda n: picture, order, known))
    assert [asked.box for asked in model.asked] == [(15.0, 15.0, 33.0, 45.0)] * 2
    assert not (model.asked[1].mask & ~left_half("a", 5)).any()
    assert not found[6]["b"].mask.any()
    assert found[6]["b"].score == 0


class Creeping(Bright):
    """Finds a little more than it was shown, whatever is seen."""

    def _mask(self, picture: np.ndarray, prompts: PixelPrompts) -> np.ndarray:
        return binary_dilation(prompts.mask, iterations=2)


def test_a_model_that_creeps_outwards_is_held_back_by_what_is_seen() -> None:
    picture = np.where(disc(12), 200, 60).astype(np.uint8)
    found = dict(HandedOn(Creeping(), free).spread(lambda n: picture, range(1, 15), {0: {"a": disc(12)}}))
    assert dice(found[14]["a"].mask, disc(12)) > 0.9, "at most a pixel too far, and not 28"


def test_a_model_that_loses_sight_of_a_segment_is_believed() -> None:
    picture = np.where(disc(12), 200, 60).astype(np.uint8)
    blind = Bright(threshold=255, score=0.0)
    found = dict(HandedOn(blind, free).spread(lambda n: picture, range(1, 5), {0: {"a": disc(12)}}))
    assert {answer["a"].score for answer in found.values()} == {0.0}, "so that following ends"
