"""Following segments through slices: the object and no more; what is drawn stays; it can be stopped at any time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from SSLSegmentationLib.errors import Cancelled, InputError
from SSLSegmentationLib.plane import Plane
from SSLSegmentationLib.progress import silent
from SSLSegmentationLib.prompting.compose import Kept
from SSLSegmentationLib.prompting.propagate import Propagation, propagate
from SSLSegmentationLib.prompting.protocol import Answer
from SSLSegmentationLib.prompting.stack import Stack, slices_across, slices_along, slices_beside
from SSLSegmentationLib.prompting.stopping import BORDER, ENDED, LEAKED, LIMIT, MET, NEVER, StopRule
from SSLSegmentationLib.proposal import Cropped, Proposal
from SSLSegmentationLib.volume import Volume
from Testing.prompting.fake import Bright, Spread
from Testing.prompting.scenes import WINDOW, after, ellipsoid, everywhere, finished, oblique_matrix, within_a_voxel
from Testing.strategies import numbers


def drawn_on(stack: Stack, mask: np.ndarray, *slices: int) -> Cropped:
    """A segment that has the mask's voxels on some slices only."""
    return Cropped.of(mask & np.isin(stack.numbers(everywhere(stack.volume)), slices))


def spread_out(
    stack: Stack, segment: Cropped, slices, model=None, **how
) -> tuple[np.ndarray, Propagation, list[Proposal]]:
    partial, result = finished(propagate(stack, {"a": segment}, slices, model or Spread(), window=WINDOW, **how))
    return after(stack.volume, segment, result.proposals["a"]), result, partial


def reasons(result: Propagation) -> dict[int, str]:
    return {end.step: end.reason for end in result.ends}


@pytest.mark.parametrize("model", [Spread(), Bright(), None], ids=["spreader", "promptable", "no model"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_an_ellipsoid_is_recovered_along_every_axis(axis: int, model: object) -> None:
    volume, bright = ellipsoid()
    stack = slices_along(volume, axis)
    n = volume.shape[axis] // 2
    partial, result = finished(propagate(stack, {"a": drawn_on(stack, bright, n)}, [n], model, window=WINDOW))
    found = after(volume, drawn_on(stack, bright, n), result.proposals["a"])
    assert within_a_voxel(found, bright)
    assert 2 * (found & bright).sum() / (found.sum() + bright.sum()) > 0.995
    assert reasons(result) == {-1: ENDED, 1: ENDED}
    assert len(partial) == len(result.slices["a"])
    assert result.proposals["a"].segment == "a"


@settings(max_examples=12)
@given(st.tuples(numbers(-1, 1), numbers(-1, 1), numbers(-1, 1)).filter(lambda n: np.linalg.norm(n) > 0.3))
def test_an_ellipsoid_is_recovered_across_any_slanted_slices(normal: tuple[float, float, float]) -> None:
    volume, bright = ellipsoid()
    stack = slices_across(volume, np.array(normal))
    n = stack.number_at(volume.to_ras(np.array(volume.shape[::-1]) // 2))
    found, result, _ = spread_out(stack, drawn_on(stack, bright, n), [n], Spread(100))
    assert within_a_voxel(found, bright)
    assert set(reasons(result).values()) == {ENDED}


def test_a_tube_is_followed_to_the_border_of_the_scan() -> None:
    volume, _ = ellipsoid()
    k, j, i = np.ogrid[:30, :90, :90]
    tube = (j - 30 - k) ** 2 + (i - 60 + k) ** 2 <= 64
    volume = volume.with_voxels(np.where(tube, 200, 0).astype(np.int16))
    stack = slices_along(volume, 0)
    found, result, _ = spread_out(stack, drawn_on(stack, tube, 4), [4])
    assert (found == tube).all()
    assert reasons(result) == {-1: BORDER, 1: BORDER}


def test_what_is_drawn_stays_to_the_last_voxel() -> None:
    volume, bright = ellipsoid()
    stack = slices_across(volume, volume.directions @ np.array([0.3, 0.2, 1.0]))
    n = stack.number_at(volume.to_ras(np.array(volume.shape[::-1]) // 2))
    ragged = bright & (np.random.default_rng(0).random(bright.shape) < 0.8)
    segment = drawn_on(stack, ragged, n, n + 6)
    found, _, _ = spread_out(stack, segment, [n, n + 6], Spread(100))
    on = np.isin(stack.numbers(everywhere(volume)), [n, n + 6])
    assert (found[on] == ragged[on]).all()
    assert found.sum() > 4 * on[bright].sum()


def test_the_order_of_the_known_slices_does_not_matter() -> None:
    volume, bright = ellipsoid()
    stack = slices_along(volume, 0)
    segment = drawn_on(stack, bright, 9, 15, 20)
    one, first, _ = spread_out(stack, segment, [9, 15, 20])
    other, second, _ = spread_out(stack, segment, [20, 9, 15, 9])
    assert (one == other).all()
    assert first.ends == second.ends
    assert (one == bright).mean() > 0.999


def test_all_known_slices_are_told_and_a_gap_is_filled_from_both_sides() -> None:
    volume, bright = ellipsoid()
    stack = slices_along(volume, 0)
    model = Spread()
    _, result, _ = spread_out(stack, drawn_on(stack, bright, 10, 18), [10, 18], model)
    assert [order for order, _ in model.calls] == [
        tuple(range(9, -1, -1)),
        (11, 12, 13, 14),
        (17, 16, 15),
        tuple(range(19, 30)),
    ]
    assert all(known == (10, 18) for _, known in model.calls)
    assert [(end.start, end.step, end.reason) for end in result.ends] == [
        (10, -1, ENDED),
        (10, 1, MET),
        (18, -1, MET),
        (18, 1, ENDED),
    ]


@pytest.mark.parametrize(
    ("direction", "orders"),
    [("up", [range(11, 18), range(19, 30)]), ("down", [range(9, -1, -1), range(17, 10, -1)])],
)
def test_one_way_asks_for_no_slice_of_the_other(direction: str, orders: list[range]) -> None:
    volume, bright = ellipsoid()
    stack = slices_along(volume, 0)
    model, segment = Spread(), drawn_on(stack, bright, 10, 18)
    found, result, _ = spread_out(stack, segment, [10, 18], model, direction=direction)
    assert [order for order, _ in model.calls] == [tuple(order) for order in orders]
    assert {end.step for end in result.ends} == {1 if direction == "up" else -1}
    other_side = slice(0, 10) if direction == "up" else slice(19, 30)
    assert not found[other_side].any()
    assert not (found & ~bright).any()


def test_one_way_and_the_other_make_both_and_leave_what_lies_behind() -> None:
    volume, bright = ellipsoid()
    stack = slices_along(volume, 0)
    behind = bright.copy()
    behind[15:] = False
    behind[5:14] ^= np.random.default_rng(0).random(behind[5:14].shape) < 0.01
    behind[15] = bright[15]
    up, _, _ = spread_out(stack, Cropped.of(behind), [15], direction="up")
    assert (up[:16] == behind[:16]).all()
    assert within_a_voxel(up[15:], bright[15:])
    one = drawn_on(stack, bright, 15)
    both, upwards, downwards = (spread_out(stack, one, [15], direction=way)[0] for way in ("both", "up", "down"))
    assert (both == (upwards | downwards)).all()
    assert not (upwards & downwards)[np.arange(30) != 15].any()


def test_there_is_no_way_on_from_the_last_slice_and_no_other_direction() -> None:
    volume, _ = ellipsoid()
    bright = np.ones(volume.shape, dtype=bool)
    stack = slices_along(volume, 0)
    segment = drawn_on(stack, bright, 29)
    found, result, partial = spread_out(stack, segment, [29], direction="up")
    assert (found == segment.within(everywhere(volume))).all()
    assert result.ends == partial == []
    with pytest.raises(InputError, match="sideways is no direction: choose both, up or down"):
        spread_out(stack, segment, [29], direction="sideways")


def test_where_one_side_ends_early_the_other_goes_on() -> None:
    """From a small tip the object grows so fast that it looks like a leak; from the other side it is plain."""
    bright = np.zeros((12, 40, 40), bool)
    bright[2, 18:22, 18:22] = True
    bright[3:10, 8:32, 8:32] = True
    volume = Volume(np.where(bright, 200, 0).astype(np.int16), oblique_matrix())
    stack = slices_along(volume, 0)
    found, result, _ = spread_out(stack, drawn_on(stack, bright, 2, 9), [2, 9])
    assert (found == bright).all()
    assert LEAKED in [end.reason for end in result.ends]


def test_several_segments_go_in_one_pass_and_never_overlap() -> None:
    volume, bright = ellipsoid()
    stack = slices_along(volume, 0)
    left, right = bright.copy(), bright.copy()
    left[:, :, 45:] = False
    right[:, :, :45] = False
    model = Spread()
    segments = {"left": drawn_on(stack, left, 15), "right": drawn_on(stack, right, 15)}
    _, result = finished(propagate(stack, segments, [15], model, window=WINDOW))
    assert len(model.calls) == 2
    one, other = (after(volume, segments[name], result.proposals[name]) for name in ("left", "right"))
    assert not (one & other).any()
    assert within_a_voxel(one | other, bright)
    assert not one[:, :, 47:].any()
    assert not other[:, :, :43].any()


def test_segments_drawn_on_different_slices_never_overlap_and_keep_what_is_drawn() -> None:
    volume, bright = ellipsoid()
    stack = slices_along(volume, 0)
    segments = {"a": drawn_on(stack, bright, 12), "b": drawn_on(stack, bright, 18)}
    _, result = finished(propagate(stack, segments, [12, 18], Spread(), window=WINDOW))
    one, other = (after(volume, segments[name], result.proposals[name]) for name in "ab")
    assert not (one & other).any()
    assert (one[12] == bright[12]).all()
    assert (other[18] == bright[18]).all()
    assert (one[:15] == bright[:15]).mean() > 0.999
    assert within_a_voxel(one | other, bright)


@pytest.mark.parametrize("model", [Bright(), None], ids=["promptable", "no model"])
def test_a_locked_neighbour_that_touches_is_not_leaked_into(model: object) -> None:
    volume, bright = ellipsoid()
    neighbour = bright.copy()
    neighbour[:, :, :52] = False
    mine = bright & ~neighbour
    stack = slices_along(volume, 0)
    segment = drawn_on(stack, mine, 15)
    kept = {"a": Kept(neighbours=(Cropped.of(neighbour),))}
    _, result = finished(propagate(stack, {"a": segment}, [15], model, window=WINDOW, kept=kept))
    found = after(volume, segment, result.proposals["a"])
    assert not (found & neighbour).any()
    assert within_a_voxel(found, mine)


def test_locked_voxels_stay_as_they_are() -> None:
    volume, bright = ellipsoid()
    stack = slices_along(volume, 0)
    locked = np.zeros_like(bright)
    locked[:, :, 40:44] = True
    segment = drawn_on(stack, bright, 15)
    found, _, _ = spread_out(stack, segment, [15], kept={"a": Kept(Cropped.of(locked))})
    assert (found & locked == segment.within(everywhere(volume)) & locked).all()


def test_a_leak_is_stopped_before_it_and_the_last_slice_doubted() -> None:
    volume, bright = ellipsoid()
    voxels = volume.voxels.copy()
    voxels[18:, 5:85, 5:85] = 200
    volume = volume.with_voxels(voxels)
    stack = slices_along(volume, 0)
    found, result, _ = spread_out(stack, drawn_on(stack, bright, 15), [15])
    assert reasons(result) == {-1: ENDED, 1: LEAKED}
    assert [end.last for end in result.ends if end.step == 1] == [17]
    assert not found[18:].any()
    assert (found[16:18] == bright[16:18]).all()
    proposal = result.proposals["a"]
    doubt = proposal.uncertainty[17 - proposal.box[0].start]
    assert doubt[proposal.mask[17 - proposal.box[0].start]].min() >= 0.5
    assert proposal.uncertainty[16 - proposal.box[0].start].max() < 0.5


@pytest.mark.parametrize(("dark", "last"), [(2, 23), (3, 17)])
def test_a_short_gap_is_bridged_and_a_long_one_ends_it(dark: int, last: int) -> None:
    volume, bright = ellipsoid()
    voxels = volume.voxels.copy()
    voxels[18 : 18 + dark] = 0
    stack = slices_along(volume.with_voxels(voxels), 0)
    _, result, _ = spread_out(stack, drawn_on(stack, bright, 15), [15], Lasting())
    assert next(end.last for end in result.ends if end.step == 1) == last


class Lasting(Spread):
    """Remembers where the segment was while it is not seen."""

    def spread(self, picture, order, known, tick=silent):
        last = {segment: mask for masks in known.values() for segment, mask in masks.items()}
        for n in order:
            seen = picture(n) >= self.threshold
            yield n, {s: Answer(np.where(seen & mask, 8.0, -8.0).astype(np.float32), 0.9) for s, mask in last.items()}


def test_no_more_slices_than_asked_for() -> None:
    volume, bright = ellipsoid()
    stack = slices_along(volume, 0)
    _, result, _ = spread_out(stack, drawn_on(stack, bright, 15), [15], rule=StopRule(max_frames=3))
    assert result.slices["a"] == [12, 13, 14, 16, 17, 18]
    assert reasons(result) == {-1: LIMIT, 1: LIMIT}


def test_what_the_model_finds_apart_from_the_object_is_dropped() -> None:
    volume, bright = ellipsoid()
    stack = slices_along(volume, 0)
    found, _, _ = spread_out(stack, drawn_on(stack, bright, 15), [15], Spotted(), rule=NEVER, crop=False)
    assert within_a_voxel(found, bright)


class Spotted(Spread):
    """Sees a spot in a corner everywhere."""

    def spread(self, picture, order, known, tick=silent):
        for n, answers in super().spread(picture, order, known, tick):
            for answer in answers.values():
                answer.logits[:4, :4] = 8.0
            yield n, answers


def test_pictures_are_cropped_and_the_crop_grows_with_a_wandering_object() -> None:
    """In each call the pictures have one size, and what was found so far is told again in the new one."""
    k, j, i = np.ogrid[:40, :200, :200]
    tube = (j - 30 - 4 * k) ** 2 + (i - 40 - 3 * k) ** 2 <= 144
    volume = Volume(np.where(tube, 200, 0).astype(np.int16), oblique_matrix())
    stack = slices_along(volume, 0)
    model = Spread(reach=6)
    found, result, _ = spread_out(stack, drawn_on(stack, tube, 2), [2], model)
    assert (found == tube).all()
    assert reasons(result)[1] == BORDER
    forward = [(call, sizes) for call, sizes in zip(model.calls, model.sizes, strict=True) if call[0][-1] == 39]
    assert 2 <= len(forward) <= 6
    assert all(len(sizes) == 1 for _, sizes in forward)
    areas = [next(iter(sizes)) for _, sizes in forward]
    assert areas[0][0] < 80
    assert areas == sorted(areas)
    for (order, known), _ in forward[1:]:
        assert known == (2, order[0] - 3, order[0] - 2, order[0] - 1)
    assert model.closed == len(model.calls)


def test_without_a_crop_the_whole_slices_are_seen() -> None:
    volume, bright = ellipsoid()
    stack = slices_along(volume, 0)
    model = Spread()
    cropped, _, _ = spread_out(stack, drawn_on(stack, bright, 15), [15])
    whole, _, _ = spread_out(stack, drawn_on(stack, bright, 15), [15], model, crop=False)
    assert model.sizes == [{(90, 90)}] * 2
    assert (cropped == whole).all()


def test_slices_that_are_stepped_over_are_drawn_between_the_others() -> None:
    volume, bright = ellipsoid()
    stack = slices_along(volume, 2)
    model = Spread()
    found, result, partial = spread_out(stack, drawn_on(stack, bright, 45), [45], model, stride=3)
    assert model.calls[0][0][:3] == (42, 39, 36)
    assert len(partial) == len(result.slices["a"])
    assert set(range(32, 59)) - {45} <= set(result.slices["a"])
    assert 2 * (found & bright).sum() / (found.sum() + bright.sum()) > 0.98


def test_many_thin_slices_are_stepped_over_by_themselves() -> None:
    voxels = np.zeros((700, 20, 20), np.int16)
    voxels[:, 8:12, 8:12] = 200
    for spacing, first in ((0.5, 303), (1.6, 301)):
        stack = slices_along(Volume(voxels, np.diag([1, 1, spacing, 1])), 0)
        model = Spread()
        steps = propagate(stack, {"a": drawn_on(stack, voxels > 0, 300)}, [300], model, window=WINDOW)
        next(steps)
        steps.close()
        assert abs(model.calls[0][0][0] - 300) == first - 300 - (spacing == 0.5)


def test_parts_of_the_segment_that_lie_apart_stay_and_what_hangs_together_is_replaced() -> None:
    volume, bright = ellipsoid()
    stack = slices_along(volume, 0)
    apart, leak = np.zeros_like(bright), np.zeros_like(bright)
    apart[16:20, 2:6, 2:6] = True
    leak[16:20, 40:44, 45:85] = True
    segment = Cropped.of((bright & np.isin(np.arange(30), [15])[:, None, None]) | apart | leak)
    found, _, _ = spread_out(stack, segment, [15])
    assert within_a_voxel(found & ~apart, bright)
    assert found[apart].all()
    assert not (found & leak & ~bright).any()


def test_after_a_correction_only_what_lies_beyond_is_done_again() -> None:
    volume, bright = ellipsoid()
    stack = slices_along(volume, 0)
    leaked = bright.copy()
    leaked[18:26, 10:80, 10:80] = True
    leaked[18] = bright[18]  # the user has corrected this one
    leaked[5:15] ^= np.random.default_rng(0).random(leaked[5:15].shape) < 0.01
    leaked[15] = bright[15]
    segment = Cropped.of(leaked)
    model = Spread()
    found, _, _ = spread_out(stack, segment, [15], model, redo=18)
    assert [order[0] for order, _ in model.calls] == [19]
    assert (found[:19] == leaked[:19]).all()
    assert within_a_voxel(found[15:], bright[15:])
    assert not (found & ~bright)[19:].any()


def test_results_come_slice_by_slice() -> None:
    volume, bright = ellipsoid()
    stack = slices_along(volume, 0)
    model = Spread()
    steps = propagate(stack, {"a": drawn_on(stack, bright, 15)}, [15], model, window=WINDOW)
    first = next(steps)
    assert first.box[0] == slice(14, 15)
    assert first.segment == "a"
    assert (first.added[0] == bright[14][first.box[1:]]).all()
    steps.close()
    assert model.closed == 1


def test_it_can_be_cancelled_while_encoding_and_changes_nothing() -> None:
    volume, bright = ellipsoid()
    stack = slices_along(volume, 0)
    segment = drawn_on(stack, bright, 15)
    bits = segment.bits.copy()
    ticks = []

    def tick(stage: str, part: float) -> None:
        ticks.append((stage, part))
        if len(ticks) > 8:
            raise Cancelled

    model = Spread()
    steps = propagate(stack, {"a": segment}, [15], model, window=WINDOW, tick=tick)
    with pytest.raises(Cancelled):
        finished(steps)
    assert model.closed == 1
    assert (segment.bits == bits).all()
    assert all(0 <= part <= 1 for _, part in ticks)


def test_a_slice_that_is_not_there_or_not_drawn_is_named() -> None:
    volume, bright = ellipsoid()
    stack = slices_along(volume, 0)
    segment = drawn_on(stack, bright, 15)
    with pytest.raises(InputError, match="no slice 30: choose from 0 to 29"):
        spread_out(stack, segment, [30])
    with pytest.raises(InputError, match=r'"a" is not drawn on slice 3 \(it is on 15 to 15\)'):
        spread_out(stack, segment, [3])
    with pytest.raises(InputError, match="nothing to follow"):
        spread_out(stack, segment, [])


def test_the_planes_of_pictures_can_be_those_of_a_view() -> None:
    volume, bright = ellipsoid()
    matrix = oblique_matrix()
    centre = volume.to_ras(np.array([45.0, 45.0, 15.0]))
    view = np.eye(4)
    view[:3, :3] = (
        matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0) @ np.array([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]])
    )
    view[:3, 3] = centre - view[:3, :3] @ [10, 10, 0]
    stack = slices_beside(volume, Plane(view, (21, 21)))
    n = stack.number_at(centre)
    found, _, _ = spread_out(stack, drawn_on(stack, bright, n), [n], Spread(100))
    assert within_a_voxel(found, bright)


def test_a_model_is_told_of_the_nearest_known_slices_only() -> None:
    """Every one of them takes memory and time for as long as it follows."""
    volume, bright = ellipsoid((60, 40, 40), (60, 12, 12))
    stack = slices_along(volume, 0)
    seeds = list(range(4, 56, 4))
    drawn = bright & np.isin(stack.numbers(everywhere(volume)), seeds)
    model = Spread()
    _, result = finished(propagate(stack, {"a": Cropped.of(drawn)}, seeds, model, window=WINDOW))
    for order, known in model.calls:
        assert len(known) <= 8 + 3  # and slices that were found, where the crop has grown
        assert min(seeds, key=lambda seed: abs(seed - order[0])) in known
    found = result.proposals["a"].accepted_into(Cropped.of(drawn)).within(everywhere(volume))
    assert within_a_voxel(found, bright)
