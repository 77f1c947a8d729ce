"""Prompts in patient space to a model and back, on planes at any angle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from SSLSegmentationLib.errors import Cancelled, InputError
from SSLSegmentationLib.plane import Plane, slice_plane
from SSLSegmentationLib.prompting.ask import ask
from SSLSegmentationLib.prompting.clicks import placed_on_planes
from SSLSegmentationLib.prompting.compose import Kept, doubt
from SSLSegmentationLib.prompting.stack import acquired, slices_across, slices_along
from SSLSegmentationLib.prompts import BoxPrompt, MaskPrompt, PointPrompt
from SSLSegmentationLib.proposal import NOTHING, Cropped
from SSLSegmentationLib.volume import Volume
from Testing.prompting.fake import Bright, Pixel
from Testing.prompting.scenes import WINDOW, after, everywhere, oblique_matrix
from Testing.strategies import numbers, rotations, volumes


def two_squares() -> tuple[Volume, np.ndarray, np.ndarray]:
    """Two bright squares on slices 2 to 4 of an oblique scan."""
    first, second = np.zeros((7, 40, 40), bool), np.zeros((7, 40, 40), bool)
    first[2:5, 5:15, 5:15] = True
    second[2:5, 25:35, 20:30] = True
    return Volume(np.where(first | second, 200, 10).astype(np.int16), oblique_matrix()), first, second


def click(volume: Volume, i: float, j: float, k: float, positive: bool = True, plane: Plane | None = None):
    return PointPrompt(tuple(volume.to_ras(np.array([i, j, k]))), positive, plane)


def box(volume: Volume, low: tuple[float, float, float], size: tuple[float, float, float]) -> BoxPrompt:
    edges = volume.ijk_to_ras[:3, :3] * size
    return BoxPrompt(tuple(volume.to_ras(np.array(low))), tuple(map(tuple, edges.T[np.array(size) > 0])))


def of(volume: Volume, mask: np.ndarray, *slices: int) -> np.ndarray:
    only = np.zeros_like(mask)
    only[list(slices)] = mask[list(slices)]
    return only


@settings(max_examples=60)
@given(volumes(), st.data())
def test_a_click_names_the_voxel_under_it_on_the_scan_s_own_slices(volume: Volume, data: st.DataObject) -> None:
    voxel = np.array([data.draw(st.integers(0, n - 1)) for n in volume.shape[::-1]])
    offset = np.array([data.draw(numbers(-0.45, 0.45)) for _ in range(3)])
    axis = data.draw(st.integers(0, 2))
    ras = tuple(volume.to_ras(voxel + offset))
    view = data.draw(st.sampled_from([None, slice_plane(volume, axis, int(voxel[2 - axis]))]))
    found = ask(
        volume, {"a": [PointPrompt(ras, True, view)]}, Pixel(), window=WINDOW, stack=slices_along(volume, axis)
    )["a"]
    assert np.argwhere(after(volume, NOTHING, found)).tolist() == [voxel[::-1].tolist()]


@settings(max_examples=60)
@given(volumes(most=9), rotations(), st.data())
def test_a_click_on_a_slanted_plane_names_the_voxel_of_the_plane_under_it(
    volume: Volume, turn: np.ndarray, data: st.DataObject
) -> None:
    """In one pixel of the plane lie no voxels or several; all that are named lie under the click."""
    fine = float(volume.spacing.min())
    matrix = np.eye(4)
    matrix[:3, :3] = turn * fine
    through = volume.to_ras([(n - 1) / 2 for n in volume.shape[::-1]])
    matrix[:3, 3] = through - matrix[:3, :3] @ [20, 20, 0]
    plane = Plane(matrix, (41, 41))
    pixel = np.array([data.draw(st.integers(15, 25)), data.draw(st.integers(15, 25))], dtype=float)
    ras = plane.to_ras(pixel)
    ijk = volume.to_ijk(ras)
    if (ijk < -0.5).any() or (ijk > np.array(volume.shape[::-1]) - 0.5).any():
        with pytest.raises(InputError, match="outside"):
            ask(volume, {"a": [PointPrompt(tuple(ras), True, plane)]}, Pixel(), window=WINDOW)
        return
    found = ask(volume, {"a": [PointPrompt(tuple(ras), True, plane)]}, Pixel(), window=WINDOW)["a"]
    for voxel in np.argwhere(after(volume, NOTHING, found))[:, ::-1]:
        place = plane.to_pixel(volume.to_ras(voxel))
        assert np.abs(place[:2] - pixel).max() <= 0.5 + 2e-3
        assert abs((volume.to_ras(voxel) - ras) @ plane.normal) <= volume.spacing.max() / 2 + 1e-6


def test_a_point_takes_what_is_under_it_on_its_slice() -> None:
    volume, first, _ = two_squares()
    found = ask(volume, {"a": [click(volume, 10, 10, 3)]}, Bright(), window=WINDOW)["a"]
    assert (after(volume, NOTHING, found) == of(volume, first, 3)).all()
    assert found.segment == "a"
    assert found.score == pytest.approx(0.9)
    assert found.uncertainty is not None
    assert found.uncertainty.max() < 0.05


def test_a_box_with_depth_is_cut_into_a_box_on_each_slice() -> None:
    volume, first, _ = two_squares()
    model = Bright()
    found = ask(volume, {"a": [box(volume, (3, 3, 1.6), (14, 14, 2.2))]}, model, window=WINDOW)["a"]
    assert (after(volume, NOTHING, found) == of(volume, first, 2, 3)).all()
    assert model.encoded == 2
    assert all(np.allclose(asked.box, (3, 3, 17, 17)) for asked in model.asked)


def test_a_box_thinner_than_a_slice_goes_to_the_nearest() -> None:
    volume, first, _ = two_squares()
    found = ask(volume, {"a": [box(volume, (3, 3, 3.2), (14, 14, 0.2))]}, Bright(), window=WINDOW)["a"]
    assert (after(volume, NOTHING, found) == of(volume, first, 3)).all()


def test_a_turned_box_is_cut_where_each_slice_meets_it() -> None:
    volume = Volume(np.zeros((11, 40, 40), np.int16))
    edges = ((10.0, 0.0, 10.0), (0.0, 8.0, 0.0), (-3.0, 0.0, 3.0))
    prompt = BoxPrompt((15.0, 10.0, -1.0), edges)
    placed = placed_on_planes(volume, [prompt], acquired(volume))
    assert len(placed) == 11
    left, top, right, bottom = placed[5].boxes[0]  # k = 5 cuts i from 12 + … to 21
    assert (top, bottom) == (10.0, 18.0)
    assert (left, right) == (15.0, 21.0)


def test_a_flat_box_in_space_lies_on_the_slice_it_is_in_or_makes_its_own() -> None:
    volume, _, _ = two_squares()
    flat = box(volume, (3, 3, 3.3), (14, 14, 0))
    (placed,) = placed_on_planes(volume, [flat], acquired(volume))
    assert np.allclose(placed.plane.pixel_to_ras, slice_plane(volume, 0, 3).pixel_to_ras)
    standing = box(volume, (3, 3, 1), (14, 0, 4))
    (placed,) = placed_on_planes(volume, [standing], acquired(volume))
    assert np.allclose(placed.plane.pixel_to_ras, slice_plane(volume, 1, 3).pixel_to_ras)


def test_many_prompts_of_many_segments_encode_each_slice_once() -> None:
    volume, first, second = two_squares()
    model = Bright()
    wanted = {
        "a": [click(volume, 10, 10, 2), click(volume, 10, 10, 3), click(volume, 6, 6, 3)],
        "b": [box(volume, (18, 23, 3), (14, 14, 0)), click(volume, 25, 30, 3)],
    }
    found = ask(volume, wanted, model, window=WINDOW)
    assert model.encoded == 2
    assert (after(volume, NOTHING, found["a"]) == of(volume, first, 2, 3)).all()
    assert (after(volume, NOTHING, found["b"]) == of(volume, second, 3)).all()


def test_points_beside_the_boxes_ask_for_something_of_their_own() -> None:
    volume, first, second = two_squares()
    prompts = [box(volume, (3, 3, 3), (14, 14, 0)), click(volume, 25, 30, 3)]
    found = ask(volume, {"a": prompts}, Bright(), window=WINDOW)["a"]
    assert (after(volume, NOTHING, found) == of(volume, first | second, 3)).all()


def test_a_negative_point_corrects_the_part_it_touches_and_leaves_the_other() -> None:
    volume, first, second = two_squares()
    before = Cropped.of(first | second)
    model = Bright()
    found = ask(volume, {"a": [click(volume, 10, 10, 3, False)]}, model, segments={"a": before}, window=WINDOW)["a"]
    assert (model.asked[0].mask == first[3]).all()
    assert (found.removed[0] == first[3][5:15, 5:15]).all()
    assert not found.added.any()
    assert (after(volume, before, found) == ((first | second) & ~of(volume, first, 3))).all()


def test_a_negative_point_alone_where_nothing_is_has_nothing_to_take_away() -> None:
    volume, _, _ = two_squares()
    with pytest.raises(InputError, match='nothing of "a" where the negative points are'):
        ask(volume, {"a": [click(volume, 10, 10, 3, False)]}, Bright(), window=WINDOW)


def test_an_empty_answer_is_an_empty_proposal() -> None:
    volume, _, _ = two_squares()
    found = ask(volume, {"a": [click(volume, 1, 1, 3)]}, Bright(), window=WINDOW)["a"]
    assert found.mask.size == 0


def test_painted_areas_prompt_and_erased_ones_never_belong() -> None:
    volume, first, _ = two_squares()
    plane = slice_plane(volume, 0, 3)
    painted = np.zeros(plane.shape, bool)
    painted[8:12, 8:12] = True
    erased = np.zeros(plane.shape, bool)
    erased[:, 12:] = True
    prompts = [MaskPrompt(painted, plane.pixel_to_ras), MaskPrompt(erased, plane.pixel_to_ras, positive=False)]
    model = Bright()
    found = after(volume, NOTHING, ask(volume, {"a": prompts}, model, window=WINDOW)["a"])
    assert (model.asked[0].mask == painted).all()
    expected = of(volume, first, 3)
    expected[:, :, 12:] = False
    assert (found == expected).all()


def test_a_painted_block_prompts_on_every_slice_it_touches() -> None:
    volume, first, _ = two_squares()
    block = np.zeros(volume.shape, bool)
    block[2:4, 8:12, 8:12] = True
    found = ask(volume, {"a": [MaskPrompt(block, volume.ijk_to_ras)]}, Bright(), window=WINDOW)["a"]
    assert (after(volume, NOTHING, found) == of(volume, first, 2, 3)).all()


def test_what_is_locked_and_what_neighbours_have_is_left_alone() -> None:
    volume, first, second = two_squares()
    locked, neighbour = np.zeros_like(first), np.zeros_like(first)
    locked[3, 5:8] = True
    neighbour[3, :, 12:] = True
    kept = {"a": Kept(Cropped.of(locked), (Cropped.of(neighbour),))}
    before = Cropped.of(of(volume, second, 3))
    found = ask(
        volume,
        {"a": [click(volume, 10, 10, 3), click(volume, 25, 30, 3, False)]},
        Bright(),
        segments={"a": before},
        kept=kept,
        window=WINDOW,
    )["a"]
    whole = after(volume, before, found)
    assert (whole == (of(volume, first, 3) & ~locked & ~neighbour)).all()


def test_an_oblique_view_puts_its_answer_into_the_voxels_it_covers() -> None:
    volume, first, _ = two_squares()
    stack = slices_across(volume, volume.directions @ np.array([0.3, 0.1, 1.0]))
    ras = volume.to_ras(np.array([10.0, 10.0, 3.0]))
    plane = stack.plane(stack.number_at(ras))
    on_it = tuple(ras - ((ras - plane.pixel_to_ras[:3, 3]) @ plane.normal) * plane.normal)
    found = after(
        volume, NOTHING, ask(volume, {"a": [PointPrompt(on_it, True, plane)]}, Bright(90), window=WINDOW)["a"]
    )
    own = stack.numbers(everywhere(volume)) == stack.number_at(ras)
    assert not (found & ~own).any()
    assert (found & first).sum() > 0.85 * (own & first).sum()


def test_a_click_outside_the_scan_says_how_far() -> None:
    volume, _, _ = two_squares()
    with pytest.raises(InputError, match=r"lies 7\.6 mm outside scan"):
        ask(volume, {"a": [click(volume, 49, 10, 3)]}, Bright(), window=WINDOW)


def test_a_click_off_its_plane_says_how_far() -> None:
    volume, _, _ = two_squares()
    with pytest.raises(InputError, match=r"lies 2\.5 mm off its plane"):
        ask(volume, {"a": [click(volume, 10, 10, 3, plane=slice_plane(volume, 0, 2))]}, Bright(), window=WINDOW)
    near = click(volume, 10, 10, 2.45, plane=slice_plane(volume, 0, 2))
    assert ask(volume, {"a": [near]}, Bright(), window=WINDOW)["a"].mask.any()


def test_a_box_outside_the_scan_or_off_its_plane_is_refused() -> None:
    volume, _, _ = two_squares()
    with pytest.raises(InputError, match=r"outside scan"):
        ask(volume, {"a": [box(volume, (50, 3, 3), (14, 14, 0))]}, Bright(), window=WINDOW)
    off = BoxPrompt(*_corner_and_edges(box(volume, (3, 3, 3), (14, 14, 0))), plane=slice_plane(volume, 0, 5))
    with pytest.raises(InputError, match=r"5\.0 mm off its plane"):
        ask(volume, {"a": [off]}, Bright(), window=WINDOW)


def test_prompts_that_contradict_each_other_are_refused_with_the_place() -> None:
    volume, _, _ = two_squares()
    with pytest.raises(InputError, match="both yes and no"):
        ask(volume, {"a": [click(volume, 10, 10, 3), click(volume, 10.2, 10, 3, False)]}, Bright(), window=WINDOW)


def test_it_can_be_cancelled_and_changes_nothing() -> None:
    volume, first, _ = two_squares()
    before = Cropped.of(first)
    kept = before.bits.copy()

    def stop(stage: str, part: float) -> None:
        if part > 0:
            raise Cancelled

    with pytest.raises(Cancelled):
        ask(
            volume,
            {"a": [click(volume, 10, 10, 2), click(volume, 10, 10, 3)]},
            Bright(),
            segments={"a": before},
            window=WINDOW,
            tick=stop,
        )
    assert (before.bits == kept).all()


@given(st.lists(numbers(-200, 200), min_size=1, max_size=9))
def test_doubt_is_the_entropy_of_the_chances(values: list[float]) -> None:
    logits = np.array(values)
    chance = np.clip(1 / (1 + np.exp(-logits)), 1e-12, 1 - 1e-12)
    entropy = -(chance * np.log2(chance) + (1 - chance) * np.log2(1 - chance))
    assert np.allclose(doubt(logits), entropy, atol=1e-5)
    assert doubt(np.zeros(1)) == pytest.approx(1.0)


def _corner_and_edges(prompt: BoxPrompt):
    return prompt.corner, prompt.edges
