from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from SSLSegmentationLib.regions import unsure_regions
from SSLSegmentationLib.volume import Volume
from Testing.strategies import matrices


def doubt(*blocks: tuple[tuple[slice, ...], float], shape=(10, 12, 14), matrix=None) -> Volume:
    voxels = np.zeros(shape, dtype=np.float32)
    for box, value in blocks:
        voxels[box] = value
    return Volume(voxels, np.eye(4) if matrix is None else matrix)


def block(k: int, j: int, i: int, side: int = 3) -> tuple[slice, ...]:
    return tuple(slice(start, start + side) for start in (k, j, i))


def test_regions_come_by_the_doubt_they_hold_in_all():
    regions = unsure_regions(doubt((block(0, 0, 0), 0.9), (block(5, 5, 5, 4), 0.6)))
    assert [region.peak for region in regions] == pytest.approx([0.6, 0.9])
    assert [region.ml for region in regions] == pytest.approx([0.064, 0.027])
    assert [region.burden for region in regions] == pytest.approx([0.6 * 0.064, 0.9 * 0.027])
    assert [region.mean for region in regions] == pytest.approx([0.6, 0.9])


def test_the_threshold_itself_counts_and_less_does_not():
    volume = doubt((block(0, 0, 0), 0.5), (block(5, 5, 5), 0.49))
    assert len(unsure_regions(volume, 0.5)) == 1
    assert len(unsure_regions(volume, 0.4)) == 2
    assert unsure_regions(volume, 0.6) == []


def test_small_regions_and_those_beyond_the_most_are_left_out():
    volume = doubt((block(0, 0, 0, 2), 0.9), (block(4, 4, 4), 0.8), (block(4, 4, 9), 0.7))
    assert [region.peak for region in unsure_regions(volume)] == pytest.approx([0.8, 0.7])
    assert len(unsure_regions(volume, smallest_ml=0.0)) == 3
    assert [region.peak for region in unsure_regions(volume, most=1)] == pytest.approx([0.8])


def test_regions_that_touch_at_a_corner_are_one():
    assert len(unsure_regions(doubt((block(0, 0, 0), 0.9), (block(3, 3, 3), 0.9)))) == 1
    assert len(unsure_regions(doubt((block(0, 0, 0), 0.9), (block(4, 4, 4), 0.9)))) == 2


@given(matrices())
def test_the_centre_is_the_place_in_ras_of_the_most_doubtful_voxel(matrix: np.ndarray):
    volume = doubt((block(2, 3, 4), 0.6), matrix=matrix)
    volume.voxels[3, 5, 6] = 0.95
    (region,) = unsure_regions(volume, smallest_ml=0.0)
    np.testing.assert_allclose(volume.to_ijk(region.centre_ras), (6, 5, 3), atol=1e-6)
    assert region.ml == pytest.approx(27 * volume.voxel_ml)
    assert region.peak == pytest.approx(0.95)


def test_neighbours_in_the_same_box_do_not_count_to_a_region():
    """A ring and what lies in its middle share a box."""
    ring = np.zeros((1, 9, 9), dtype=np.float32)
    ring[0] = 0.6
    ring[0, 1:8, 1:8] = 0.0
    ring[0, 3:6, 3:6] = 0.99
    first, second = unsure_regions(Volume(ring), smallest_ml=0.0)
    assert (first.peak, second.peak) == pytest.approx((0.6, 0.99))
    assert (first.ml, second.ml) == pytest.approx((0.032, 0.009))


def test_no_doubt_gives_no_regions_and_doubt_everywhere_gives_one():
    assert unsure_regions(doubt()) == []
    (region,) = unsure_regions(Volume(np.ones((3, 4, 5), dtype=np.float32)))
    assert region.ml == pytest.approx(0.06)


@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_taken_slab_by_slab_the_regions_are_the_same(seed: int, piece: int) -> None:
    voxels = np.random.default_rng(seed).random((9, 6, 5)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        whole = unsure_regions(Volume(voxels), 0.75, smallest_ml=0.0)
        patch.setattr("SSLSegmentationLib.regions._PIECE", piece)
        slabs = unsure_regions(Volume(voxels), 0.75, smallest_ml=0.0)
    parts, count = ndimage.label(voxels >= 0.75, structure=np.ones((3, 3, 3)))
    assert len(whole) == count
    facts = [(r.centre_ras, round(r.ml, 9), round(r.mean, 6), r.peak) for r in whole]
    assert sorted(facts) == sorted((r.centre_ras, round(r.ml, 9), round(r.mean, 6), r.peak) for r in slabs)
    sums = ndimage.sum_labels(voxels, parts, range(1, count + 1))
    assert sorted(r.burden for r in slabs) == pytest.approx(sorted(float(total) / 1000 for total in sums))
