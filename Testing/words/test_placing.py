from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.placing import placed_on
from SSLSegmentationLib.volume import Volume
from Testing.strategies import orientations, volumes


@settings(deadline=None, max_examples=60)
@given(whole=volumes(), orientation=orientations(), data=st.data())
def test_any_cut_and_turned_part_goes_back_where_it_was(whole: Volume, orientation: str, data: st.DataObject) -> None:
    sides = [sorted(data.draw(st.tuples(*[st.integers(0, n)] * 2))) for n in whole.shape]
    box = tuple(slice(min(a, n - 1), max(b, min(a, n - 1) + 1)) for (a, b), n in zip(sides, whole.shape, strict=True))
    marked = whole.with_voxels(np.arange(1, whole.voxels.size + 1).reshape(whole.shape))
    back = placed_on(marked.cropped(box).reoriented(orientation), whole)
    expected = np.zeros(whole.shape, int)
    expected[box] = marked.voxels[box]
    np.testing.assert_array_equal(back.voxels, expected)
    assert back.same_grid_as(whole)


def test_empty_voxels_beyond_the_whole_are_cut_off() -> None:
    small = np.zeros((6, 6, 6), np.uint8)
    small[2:4, 2:4, 2:4] = 1
    shifted = np.eye(4)
    shifted[:3, 3] = -2
    back = placed_on(Volume(small, shifted), Volume(np.zeros((3, 4, 5))))
    assert back.voxels.sum() == 8
    assert back.voxels[:2, :2, :2].all()


def test_voxels_beyond_the_whole_are_refused() -> None:
    shifted = np.eye(4)
    shifted[:3, 3] = 3
    with pytest.raises(InputError, match="reaches beyond"):
        placed_on(Volume(np.ones((3, 3, 3)), shifted), Volume(np.zeros((4, 4, 4))))


@pytest.mark.parametrize(
    "matrix",
    [
        np.diag([2.0, 1, 1, 1]),
        np.block([[np.eye(3), np.array([[0.5], [0], [0]])], [np.zeros((1, 3)), np.ones((1, 1))]]),
    ],
    ids=["other spacing", "half a voxel off"],
)
def test_nothing_is_interpolated(matrix: np.ndarray) -> None:
    with pytest.raises(InputError, match="reference geometry"):
        placed_on(Volume(np.ones((2, 2, 2)), matrix), Volume(np.zeros((4, 4, 4))))


def test_a_slant_is_refused() -> None:
    turned = np.eye(4)
    turned[:2, :2] = [[0.98, -0.199], [0.199, 0.98]]
    with pytest.raises(InputError, match="reference geometry"):
        placed_on(Volume(np.ones((8, 8, 8)), turned), Volume(np.zeros((9, 9, 9))))
