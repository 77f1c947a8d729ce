"""Labels on the network's grid and back on the scan's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from SSLSegmentationLib.inference.resample import axis_map, resample
from Testing.strategies import numbers
from trainer.data.truth import resample_labels, restore_labels


def balls(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> np.ndarray:
    """Three balls, the third inside the second, of 9, 8 and 4 mm."""
    places = np.stack(np.meshgrid(*(np.arange(n) * mm for n, mm in zip(shape, spacing, strict=True)), indexing="ij"))
    labels = np.zeros(shape, np.uint8)
    for value, centre, radius in ((1, (12, 14, 13), 9), (2, (30, 28, 27), 8), (5, (30, 27, 27), 4)):
        labels[np.square(places - np.reshape(centre, (3, 1, 1, 1))).sum(0) < radius**2] = value
    return labels


def maps_between(shape: tuple[int, ...], spacing: tuple[float, ...], grid: tuple[float, ...]) -> tuple:
    return tuple(axis_map(n, mm, to) for n, mm, to in zip(shape, spacing, grid, strict=True))


def dice(found: np.ndarray, truth: np.ndarray) -> float:
    values = np.unique(truth)[1:]
    each = [2 * ((found == v) & (truth == v)).sum() / ((found == v).sum() + (truth == v).sum()) for v in values]
    return float(np.mean(each))


def nearest(labels: np.ndarray, maps: tuple) -> np.ndarray:
    places = (np.clip(np.rint(a.scan_positions()).astype(int), 0, a.scan_size - 1) for a in maps)
    return labels[np.ix_(*places)]


@pytest.mark.parametrize(
    ("spacing", "grid", "least"),
    [
        ((1, 1, 1), (1, 1, 1), 1.0),
        ((0.8, 0.8, 2.5), (1, 1, 1), 0.97),
        ((1, 1, 1), (1.5, 1.5, 1.5), 0.95),
        ((1, 1, 3), (1.3, 1.3, 3), 0.94),
        ((0.7, 0.7, 0.7), (2, 2, 2), 0.90),
    ],
)  # fmt: skip
def test_a_label_map_prepared_and_restored_agrees(spacing: tuple, grid: tuple, least: float) -> None:
    shape = tuple(round(42 / mm) for mm in spacing)
    labels = balls(shape, spacing)
    maps = maps_between(shape, spacing, grid)
    prepared = resample_labels(labels, maps)
    assert prepared.shape == tuple(axis.size for axis in maps)
    agreement = dice(restore_labels(prepared, maps, shape), labels)
    assert agreement >= least
    # What the choice rests on; on real organs the nearest voxel is worse by half a point to a whole one.
    assert agreement >= dice(restore_labels(nearest(labels, maps), maps, shape), labels) - 1e-4


@settings(deadline=None, max_examples=25)
@given(st.data())
def test_the_largest_share_is_that_of_one_mask_for_each_class(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(*[st.integers(3, 9)] * 3))
    labels = np.random.default_rng(data.draw(st.integers(0, 99))).choice(np.array([0, 1, 1, 4], np.uint8), shape)
    ratios = data.draw(st.tuples(*[numbers(0.4, 2.5)] * 3))
    box = slice(*sorted(data.draw(st.tuples(st.integers(0, 2), st.integers(3, 9)))))
    maps = (axis_map(shape[0], 1.0, ratios[0], box), *maps_between(shape[1:], (1, 1), ratios[1:]))
    found = resample_labels(labels, maps)
    shares = {value: resample((labels == value).astype(np.float32), maps, True) for value in (0, 1, 4)}
    best = np.max(list(shares.values()), axis=0)
    for value, share in shares.items():
        assert (share[found == value] >= best[found == value] - 1e-4).all()


def test_a_plate_one_voxel_thick_survives_a_coarser_grid() -> None:
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[:, 10, :] = 1
    maps = maps_between(labels.shape, (1, 1, 1), (1, 1.6, 1))
    assert resample_labels(labels, maps).any(axis=1).all()


def test_what_lies_outside_the_part_that_is_looked_at_is_left_out() -> None:
    labels = balls((42, 42, 42), (1, 1, 1))
    maps = tuple(axis_map(42, 1.0, 1.2, slice(20, 42)) for _ in range(3))
    assert set(np.unique(resample_labels(labels, maps))) == {0, 2, 5}
