from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates
from scipy.special import softmax

from SSLSegmentationLib.inference import restore
from SSLSegmentationLib.inference.resample import AxisMap
from SSLSegmentationLib.inference.restore import Restorer, Targets
from SSLSegmentationLib.inference.slabs import Slab
from Testing.inference.test_resample import axis_maps

Maps = tuple[AxisMap, AxisMap, AxisMap]


def scores_for(maps: Maps, channels: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 3, (channels, *(axis.size for axis in maps))).astype(np.float32)


def targets_for(maps: Maps) -> Targets:
    """Filled with nonsense inside, so that what is not written is seen; outside, nothing must be written."""
    shape = tuple(axis.scan_size for axis in maps)
    return Targets(np.zeros(shape, dtype=np.uint8), *(np.zeros(shape, dtype=np.float32) for _ in range(2)))


def restored(maps: Maps, scores: np.ndarray, cuts: list[int], **options) -> Targets:
    targets = targets_for(maps)
    restorer = Restorer(maps, targets, **options)
    edges = sorted({0, maps[0].size, *(cut for cut in cuts if cut < maps[0].size)})
    for start, stop in pairwise(edges):
        restorer.add(Slab(start, torch.from_numpy(scores[:, start:stop].copy())))
    return targets


def dense(maps: Maps, scores: np.ndarray) -> tuple[np.ndarray, tuple[slice, ...]]:
    """All scores at the scan's resolution at once, and where they lie in it."""
    place = tuple(axis.covered() for axis in maps)
    positions = [np.clip(axis.grid_positions()[part], 0, axis.size - 1) for axis, part in zip(maps, place, strict=True)]
    points = np.stack(np.meshgrid(*positions, indexing="ij"))
    return np.stack([map_coordinates(one.astype(np.float64), points, order=1) for one in scores]), place


def plain_entropy(probabilities: np.ndarray) -> np.ndarray:
    safe = np.clip(probabilities, 1e-12, 1)
    return -(safe * np.log(safe)).sum(axis=0) / np.log(len(probabilities))


def assert_winners(labels: np.ndarray, scores: np.ndarray) -> None:
    """The labels are those of the greatest score, but for ties that rounding decides."""
    assert labels.dtype == np.uint8
    chosen = np.take_along_axis(scores, labels[None].astype(np.int64), axis=0)[0]
    np.testing.assert_allclose(chosen, scores.max(axis=0), atol=1e-4)


def assert_untouched_outside(targets: Targets, place: tuple[slice, ...]) -> None:
    for array in (targets.labels, targets.uncertainty, targets.disagreement):
        rest = array.copy()
        rest[place] = 0
        assert not rest.any()


@given(st.tuples(*[axis_maps(14)] * 3), st.integers(2, 5), st.lists(st.integers(1, 13)), st.sampled_from([1.0, 1.7]))
def test_labels_and_doubt_are_those_of_all_scores_interpolated_at_once(
    maps: Maps, classes: int, cuts: list[int], temperature: float
):
    scores = scores_for(maps, classes, seed=len(cuts))
    expected, place = dense(maps, scores)
    targets = restored(maps, scores, cuts, temperature=temperature)
    assert_winners(targets.labels[place], expected)
    doubt = plain_entropy(softmax(expected / temperature, axis=0))
    np.testing.assert_allclose(targets.uncertainty[place], doubt, atol=1e-4)
    assert_untouched_outside(targets, place)


@given(st.tuples(*[axis_maps(12)] * 3), st.integers(2, 4), st.lists(st.integers(1, 11)))
@settings(max_examples=25)
def test_mean_probabilities_give_entropy_and_mutual_information(maps: Maps, classes: int, cuts: list[int]):
    members = [softmax(scores_for(maps, classes, seed), axis=0) for seed in range(3)]
    mean = np.mean(members, axis=0)
    spread = np.mean([plain_entropy(member) for member in members], axis=0)
    scores = np.concatenate([mean, spread[None]]).astype(np.float32)
    expected, place = dense(maps, scores)

    targets = restored(maps, scores, cuts, averaged=True)

    assert_winners(targets.labels[place], expected[:-1])
    total = plain_entropy(expected[:-1])
    np.testing.assert_allclose(targets.uncertainty[place], total, atol=1e-4)
    np.testing.assert_allclose(targets.disagreement[place], np.clip(total - expected[-1], 0, 1), atol=1e-4)
    assert_untouched_outside(targets, place)


@given(st.tuples(*[axis_maps(14)] * 3), st.lists(st.integers(1, 13)))
@settings(max_examples=20)
def test_how_many_rows_are_made_at_a_time_changes_nothing(maps: Maps, cuts: list[int]):
    scores = scores_for(maps, 3, seed=1)
    whole = restored(maps, scores, [])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(restore, "_CHUNK_BYTES", 1)
        parts = restored(maps, scores, cuts)
    np.testing.assert_allclose(parts.uncertainty, whole.uncertainty, atol=1e-5)
    assert (parts.labels != whole.labels).mean() < 1e-3


def test_on_the_same_grid_labels_are_exactly_the_greatest_scores_and_the_first_of_equals():
    maps = tuple(AxisMap(size, size, 1.0, 0, size) for size in (5, 6, 7))
    scores = np.random.default_rng(0).integers(0, 4, (6, 5, 6, 7)).astype(np.float32)
    targets = restored(maps, scores, [2, 3])
    np.testing.assert_array_equal(targets.labels, scores.argmax(axis=0))


def test_without_doubt_only_labels_are_made():
    maps = tuple(AxisMap(size, size, 1.0, 0, size) for size in (5, 6, 7))
    targets = Targets(np.zeros((5, 6, 7), dtype=np.uint8))
    scores = scores_for(maps, 3, 0)
    Restorer(maps, targets).add(Slab(0, torch.from_numpy(scores)))
    np.testing.assert_array_equal(targets.labels, scores.argmax(axis=0))


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_targets_may_be_turned_views(order: tuple[int, int, int]):
    maps = (AxisMap(5, 4, 1.25, 0, 4), AxisMap(6, 6, 1.0, 1, 5), AxisMap(7, 9, 7 / 9, 2, 9))
    scores = scores_for(maps, 3, 0)
    straight = restored(maps, scores, [])
    shape = [(5, 6, 7)[axis] for axis in np.argsort(order)]
    base = np.zeros(shape, dtype=np.uint8)
    view = base.transpose(order)[::-1, :, ::-1]
    Restorer(maps, Targets(view)).add(Slab(0, torch.from_numpy(scores)))
    np.testing.assert_array_equal(base.transpose(order)[::-1, :, ::-1], straight.labels)


def test_the_slabs_given_are_not_changed():
    """The next rows are made with the last row of the slab before."""
    maps = tuple(AxisMap(size, size, 1.0, 0, size) for size in (4, 5, 6))
    scores = torch.from_numpy(scores_for(maps, 3, 0))
    before = scores.clone()
    Restorer(maps, targets_for(maps), temperature=2.0).add(Slab(0, scores))
    assert torch.equal(scores, before)
