"""Refining slice by slice: boxes, what is accepted, what is left alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from SSLSegmentationLib.errors import Cancelled, InputError
from SSLSegmentationLib.prompting.boxes import grown, pixels_in, tight
from SSLSegmentationLib.prompting.compose import Kept
from SSLSegmentationLib.prompting.refine import refine
from SSLSegmentationLib.prompting.stack import acquired, slices_across, slices_along
from SSLSegmentationLib.proposal import Cropped
from SSLSegmentationLib.volume import Volume
from Testing.prompting.fake import Bright
from Testing.prompting.scenes import WINDOW, after, ellipsoid, everywhere, finished, oblique_matrix, within_a_voxel


def scene(size: int = 40) -> tuple[Volume, np.ndarray, np.ndarray]:
    """Bright squares on slices 2 to 5, and a coarse mask that is shifted by two pixels."""
    truth, coarse = np.zeros((8, size, size), bool), np.zeros((8, size, size), bool)
    truth[2:6, 10:24, 10:24] = True
    coarse[2:6, 12:26, 12:26] = True
    return Volume(np.where(truth, 200, 0).astype(np.int16), oblique_matrix()), truth, coarse


def refined(volume: Volume, segments: dict[str, np.ndarray], model: Bright, **how):
    stack = how.pop("stack", acquired(volume))
    masks = {name: Cropped.of(mask) for name, mask in segments.items()}
    partial, result = finished(refine(stack, masks, model, window=WINDOW, **how))
    return {name: after(volume, masks[name], found) for name, found in result.proposals.items()}, result, partial


def test_a_shifted_mask_is_set_right_and_every_part_reported() -> None:
    volume, truth, coarse = scene()
    model = Bright()
    found, result, partial = refined(volume, {"a": coarse}, model)
    assert (found["a"] == truth).all()
    assert model.encoded == len(partial) == 4
    assert [(part.slice, part.accepted, part.pixels) for part in result.report] == [(n, True, 196) for n in range(2, 6)]
    assert result.report[0].overlap == pytest.approx(144 / 248)
    assert result.report[0].area_ratio == result.report[0].inside == 1.0
    assert result.accepted == 4
    # Sides of 14 pixels grow by three pixels, which is more than a twentieth.
    assert all(asked.box == (9.0, 9.0, 28.0, 28.0) for asked in model.asked)
    assert result.proposals["a"].score == pytest.approx(0.9)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_any_axis_can_be_chosen(axis: int) -> None:
    volume, bright = ellipsoid((26, 40, 44), (20, 12, 11))
    coarse = np.roll(bright, 1, axis=2 if axis != 2 else 1)
    found, _, _ = refined(volume, {"a": coarse}, Bright(), stack=slices_along(volume, axis))
    assert (found["a"] != bright).sum() < (coarse != bright).sum() / 2


def test_on_slanted_slices_the_answer_goes_to_the_right_voxels() -> None:
    volume, bright = ellipsoid((26, 60, 64), (20, 18, 16))
    stack = slices_across(volume, volume.directions @ np.array([0.4, -0.3, 1.0]))
    coarse = np.roll(bright, 2, axis=2)
    found, result, _ = refined(volume, {"a": coarse}, Bright(100), stack=stack)
    assert (found["a"] != bright).sum() < (coarse != bright).sum() / 2
    own = stack.numbers(everywhere(volume))
    middle = np.isin(own, [part.slice for part in result.report if part.accepted and part.pixels > 300])
    assert within_a_voxel(found["a"] & middle, bright & middle)


def test_slices_without_the_segment_are_not_touched() -> None:
    volume, _, coarse = scene()
    coarse[4:] = False
    found, result, _ = refined(volume, {"a": coarse}, Bright())
    assert not found["a"][4:].any()
    assert not found["a"][:2].any()
    assert {part.slice for part in result.report} == {2, 3}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("unsure", "the model is not sure"),
        ("elsewhere", "too different"),
        ("dark", "too different"),
        ("leak", "outside its box"),
    ],
)
def test_what_is_not_plausible_keeps_the_coarse_part(change: str, reason: str) -> None:
    volume, _, coarse = scene()
    model = Bright(score=0.69 if change == "unsure" else 0.9)
    if change == "elsewhere":
        coarse = np.roll(coarse, 6, axis=1)
    elif change == "dark":
        volume = volume.with_voxels(np.zeros_like(volume.voxels))
    elif change == "leak":
        voxels = volume.voxels.copy()
        voxels[2:6, 10:12, 24:38] = 200
        volume, model = volume.with_voxels(voxels), Unbounded()
    found, result, partial = refined(volume, {"a": coarse}, model)
    assert (found["a"] == coarse).all()
    assert {part.reason for part in result.report} == {reason}
    assert not partial
    assert result.proposals["a"].mask.size == 0


def test_areas_must_be_alike() -> None:
    """Half as large an answer is just accepted, and a smaller one is not."""
    for rows, accepted in ((7, True), (6, False)):
        volume, _, coarse = scene()
        voxels = np.zeros_like(volume.voxels)
        voxels[2:6, 12 : 12 + rows, 12:26] = 200
        _, result, _ = refined(volume.with_voxels(voxels), {"a": coarse}, Bright())
        assert {part.accepted for part in result.report} == {accepted}


class Unbounded(Bright):
    """Does not keep to its box."""

    def _mask(self, picture, prompts):
        return picture >= self.threshold


def test_parts_too_small_to_see_stay_as_they_are() -> None:
    volume, truth, coarse = scene()
    coarse[3, 30:33, 30:35] = True  # 15 pixels
    found, result, _ = refined(volume, {"a": coarse}, Bright())
    assert found["a"][3, 30:33, 30:35].all()
    assert (found["a"][3, :28] == truth[3, :28]).all()
    assert [(part.pixels, part.reason) for part in result.report if not part.accepted] == [(15, "too small")]


def test_each_part_has_a_box_of_its_own_or_one_holds_all() -> None:
    volume = Volume(np.zeros((3, 40, 60), np.int16))
    coarse = np.zeros(volume.shape, bool)
    coarse[1, 5:15, 5:15] = coarse[1, 20:30, 40:50] = True
    apart, together = Bright(), Bright()
    refined(volume, {"a": coarse}, apart)
    refined(volume, {"a": coarse}, together, one_box=True)
    assert [asked.box for asked in apart.asked] == [(2.0, 2.0, 17.0, 17.0), (37.0, 17.0, 52.0, 32.0)]
    assert [asked.box for asked in together.asked] == [(2.0, 2.0, 52.0, 32.0)]


def test_a_pixel_two_segments_want_goes_to_the_likelier_one() -> None:
    volume, truth, coarse = scene()
    rival = np.zeros_like(coarse)
    rival[2:6, 10:24, 5:12] = True
    rival_chance, chance = np.where(rival, 0.9, 0.1), np.where(coarse, 0.8, 0.2)
    plain, _, _ = refined(volume, {"a": coarse, "b": rival}, Bright())
    assert not (plain["a"] & plain["b"]).any()
    assert plain["b"][3, 11:23, 11].all()
    likely, _, _ = refined(
        volume, {"a": coarse, "b": rival}, Bright(), probabilities={"a": 1 - rival_chance, "b": 1 - chance}
    )
    assert not (likely["a"] & likely["b"]).any()
    assert ((likely["a"] | likely["b"]) >= truth).all()
    assert not likely["b"][3, 13:23, 13].any()


def test_segments_that_overlap_may_go_on_to_where_nothing_is_refined() -> None:
    volume, _, coarse = scene()
    other = coarse.copy()
    model = Bright(score=0.1)
    found, _, _ = refined(volume, {"a": coarse, "b": other}, model)
    assert (found["a"] == coarse).all()
    assert (found["b"] == coarse).all()


def test_locked_voxels_and_neighbours_are_left_alone() -> None:
    volume, truth, coarse = scene()
    locked, neighbour = np.zeros_like(coarse), np.zeros_like(coarse)
    locked[3] = True
    neighbour[4, :, :11] = True
    kept = {"a": Kept(Cropped.of(locked), (Cropped.of(neighbour),))}
    found, _, _ = refined(volume, {"a": coarse}, Bright(), kept=kept)
    assert (found["a"][3] == coarse[3]).all()
    assert (found["a"][4] == (truth & ~neighbour)[4]).all()
    assert (found["a"][5] == truth[5]).all()


def test_it_can_be_cancelled_between_slices_and_changes_nothing() -> None:
    volume, _, coarse = scene()
    mask = Cropped.of(coarse)
    seen = []

    def tick(stage: str, part: float) -> None:
        seen.append(part)
        if part >= 0.5:
            raise Cancelled

    steps = refine(acquired(volume), {"a": mask}, Bright(), window=WINDOW, tick=tick)
    with pytest.raises(Cancelled):
        finished(steps)
    assert seen == sorted(seen)
    assert (mask.within(everywhere(volume)) == coarse).all()


def test_an_empty_segmentation_is_refused() -> None:
    volume, _, coarse = scene()
    with pytest.raises(InputError, match="empty"):
        finished(refine(acquired(volume), {"a": Cropped.of(coarse & False)}, Bright()))


@settings(max_examples=60)
@given(st.integers(1, 30), st.integers(1, 30), st.data())
def test_boxes_hold_what_they_are_made_from(rows: int, columns: int, data: st.DataObject) -> None:
    mask = np.random.default_rng(data.draw(st.integers(0, 99))).random((rows, columns)) < 0.2
    mask[rows // 2, columns // 2] = True
    box = tight(mask)
    assert pixels_in(box, mask.shape)[mask].all()
    wide = grown(box, mask.shape)
    assert wide[0] >= 0
    assert wide[1] >= 0
    assert wide[2] <= columns - 1
    assert wide[3] <= rows - 1
    assert (pixels_in(wide, mask.shape) >= pixels_in(box, mask.shape)).all()
