from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.parts.skeleton import draw_points, ring_around


def _ball(shape: tuple[int, int, int], radius: float) -> np.ndarray:
    centre = (np.array(shape) - 1) / 2
    places = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    return np.linalg.norm(places - centre, axis=-1) <= radius


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.sampled_from([(20, 24, 12), (16, 16, 1), (9, 30, 6)]), st.integers(1, 4))
def test_positives_lie_in_the_organ_and_negatives_in_its_ring(
    seed: int, shape: tuple[int, int, int], every: int
) -> None:
    rng = np.random.default_rng(seed)
    organ = _ball(shape, 4.0) & (rng.random(shape) < 0.9)
    spacing = (1.0, 0.5, 2.0)
    points = draw_points(organ, spacing, rng, ring_mm=(2.0, 3.0), every=every)
    inside = organ[tuple(points.positions.T)]
    assert (inside == (points.classes == 1)).all()
    assert ring_around(organ, 3.0, spacing)[tuple(points.positions[points.classes == 0].T)].all()
    for kind in (0, 1):  # at most one of each a slice, and slices `every` apart
        slices = points.positions[points.classes == kind][:, 2]
        assert len(np.unique(slices)) == len(slices)
        assert (np.diff(slices) % every == 0).all()


def test_a_slice_with_little_organ_gives_no_positive() -> None:
    organ = np.zeros((16, 16, 3), dtype=bool)
    organ[4:7, 4:7, 0] = True  # 9 voxels
    organ[4:9, 4:6, 2] = True  # 10
    points = draw_points(organ, (1.0, 1.0, 1.0), np.random.default_rng(0), ring_mm=(2, 3), every=1)
    assert points.positions[points.classes == 1][:, 2].tolist() == [2]


def test_no_organ_gives_no_points() -> None:
    points = draw_points(np.zeros((8, 8, 8), dtype=bool), (1.0, 1.0, 1.0), np.random.default_rng(0))
    assert points.positions.shape == (0, 3)


def test_an_organ_that_fills_the_patch_has_no_negatives() -> None:
    points = draw_points(np.ones((8, 8, 4), dtype=bool), (1.0, 1.0, 1.0), np.random.default_rng(0), every=1)
    assert points.classes.tolist() == [1] * 4


def test_a_flat_organ_has_a_positive_in_every_slice_it_reaches() -> None:
    organ = np.zeros((40, 20, 9), dtype=bool)
    organ[4:36, 6:14, 2:7] = True  # its midline lies in the middle slice
    points = draw_points(organ, (1.0, 1.0, 1.0), np.random.default_rng(0), ring_mm=(2, 3), every=1)
    assert points.positions[points.classes == 1][:, 2].tolist() == [2, 3, 4, 5, 6]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_ring_is_measured_in_millimetres(axis: int) -> None:
    organ = np.zeros((21, 21, 21), dtype=bool)
    organ[10, 10, 10] = True
    spacing = [1.0, 1.0, 1.0]
    spacing[axis] = 2.0
    ring = ring_around(organ, 6.0, tuple(spacing))
    reach = [int(np.ptp(np.flatnonzero(ring.any(axis=tuple({0, 1, 2} - {a}))))) // 2 for a in range(3)]
    assert reach == [3 if a == axis else 6 for a in range(3)]
