from __future__ import annotations

import numpy as np
import pytest

from SSLSegmentationLib.inference.cleanup import keep_largest, keep_surest


def labels() -> np.ndarray:
    """Label 1 in three pieces (27, 8 and 1 voxels, the last two at the border), label 2 in two, label 3 in one."""
    array = np.zeros((10, 10, 10), dtype=np.uint8)
    array[2:5, 2:5, 2:5] = 1
    array[8:10, 8:10, 8:10] = 1
    array[0, 0, 0] = 1
    array[6:8, 1:3, 1:3] = 2
    array[6, 1, 4] = 2
    array[9, 0, 0] = 3
    return array


def test_all_but_the_largest_piece_become_background():
    array = labels()
    assert keep_largest(array, (1,)) == 9
    assert (array == 1).sum() == 27
    assert (array[2:5, 2:5, 2:5] == 1).all()
    assert (array == 2).sum() == 9  # was not asked for


def test_several_labels_are_cleaned_each_for_itself():
    array = labels()
    assert keep_largest(array, (1, 2, 3)) == 10
    assert [(array == value).sum() for value in (1, 2, 3)] == [27, 8, 1]


def test_pieces_of_another_label_in_the_same_box_are_left_alone():
    array = np.ones((5, 5, 5), dtype=np.uint8)
    array[2] = 2
    assert keep_largest(array, (1,)) == 50
    assert (array == 2).sum() == 25


def test_voxels_that_touch_at_an_edge_or_a_corner_only_are_two_pieces():
    array = np.zeros((4, 4, 4), dtype=np.uint8)
    array[:2, :2, :2] = 1
    array[2, 2, 2] = array[2, 2, 1] = 1
    assert keep_largest(array, (1,)) == 2


def doubted(*pieces: tuple[tuple[slice, ...], float]) -> np.ndarray:
    doubt = np.ones((10, 10, 10), dtype=np.float32)
    for where, much in pieces:
        doubt[where] = much
    return doubt


LARGE, MIDDLE = (slice(2, 5),) * 3, (slice(8, 10),) * 3


def test_the_surest_piece_is_kept_and_not_the_largest():
    array = labels()
    assert keep_surest(array, doubted((LARGE, 0.3), (MIDDLE, 0.1)), (1,)) == 28
    assert (array[MIDDLE] == 1).all()
    assert (array == 1).sum() == 8


def test_pieces_that_are_about_as_sure_are_all_kept():
    array = labels()
    assert keep_surest(array, doubted((LARGE, 0.12), (MIDDLE, 0.1)), (1,)) == 1
    assert (array == 1).sum() == 35


def test_a_crumb_is_not_kept_however_sure_it_is():
    array = labels()
    crumb = (slice(0, 1),) * 3
    assert keep_surest(array, doubted((LARGE, 0.12), (MIDDLE, 0.3), (crumb, 0.0)), (1,)) == 9
    assert (array == 1).sum() == 27


def test_of_equal_pieces_the_largest_is_one():
    array = np.zeros((5, 1, 1), dtype=np.uint8)
    array[[0, 2, 4]] = 1
    assert keep_largest(array, (1,)) == 2


@pytest.mark.parametrize("values", [(), (4,), (4, 200), (3,)])
def test_labels_that_are_not_there_or_are_whole_already_change_nothing(values: tuple[int, ...]):
    array = labels()
    assert keep_largest(array, values) == 0
    np.testing.assert_array_equal(array, labels())


def test_nothing_is_found_in_an_empty_map():
    assert keep_largest(np.zeros((3, 3, 3), dtype=np.uint8), (1, 2)) == 0


def test_views_are_cleaned_in_place():
    array = labels()
    keep_largest(array.transpose(2, 0, 1)[::-1], (1,))
    assert (array == 1).sum() == 27
