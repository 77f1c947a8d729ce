"""Pictures for promptable models: windows, rounding, planes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.plane import Plane, slice_plane
from SSLSegmentationLib.prompting.picture import Window, picture, through, window_of
from SSLSegmentationLib.volume import Volume

TYPES = (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64)


def test_black_grey_and_white_lie_where_the_window_says():
    values = np.array([-1000, -160, 40, 240, 3000], dtype=np.int16)
    assert through(values, Window(400, 40)).tolist() == [0, 0, 128, 255, 255]


@given(
    kind=st.sampled_from(TYPES),
    numbers=st.lists(st.integers(-128, 127), min_size=1, max_size=50),
    width=st.integers(1, 500),
    level=st.integers(-200, 200),
)
def test_every_type_of_voxel_follows_the_rounding_rule(kind, numbers, width, level):
    values = np.abs(numbers).astype(kind) if np.issubdtype(kind, np.unsignedinteger) else np.array(numbers, dtype=kind)
    exact = 255 * (values.astype(float) - (level - width / 2)) / width
    seen = through(values, Window(width, level)).astype(float)
    assert (np.abs(seen - np.clip(exact, 0, 255)) <= 0.5 + 1e-3).all()


def test_halves_are_rounded_up():
    assert through(np.array([0.5, 1.5, 2.5]), Window(255, 127.5)).tolist() == [1, 2, 3]


def test_a_negative_width_inverts_the_picture():
    values = np.arange(0, 256, dtype=np.int16)
    window, inverted = Window(255, 127.5), Window(-255, 127.5)
    assert (through(values, inverted) == 255 - through(values, window)).all()


def test_a_width_of_zero_is_a_threshold_at_the_level():
    assert through(np.array([9, 10, 11]), Window(0, 10)).tolist() == [0, 255, 255]


def test_a_constant_image_has_one_grey_and_no_warning():
    volume = Volume(np.full((3, 4, 5), 7, dtype=np.int16))
    assert len(np.unique(picture(volume, slice_plane(volume, 0, 1), window_of(volume)))) == 1


def test_values_that_are_no_numbers_are_black_and_infinite_ones_black_or_white():
    assert through(np.array([np.nan, -np.inf, np.inf], dtype=np.float32), Window(2, 0)).tolist() == [0, 0, 255]


@pytest.mark.parametrize("window", [Window(10, 50), Window(-10, 50), Window(0, 50)])
def test_outside_the_scan_the_picture_is_black_under_any_window(window):
    volume = Volume(np.full((4, 4, 4), 60, dtype=np.int16))
    shifted = np.eye(4)
    shifted[:3, 3] = (-20, 0.25, 1)
    assert (picture(volume, Plane(shifted, (3, 10)), window) == 0).all()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_picture_of_a_slice_is_made_of_its_voxels(axis):
    rng = np.random.default_rng(3)
    volume = Volume(rng.integers(-500, 500, (5, 6, 7)).astype(np.int16), np.diag([0.7, 0.8, 3.0, 1.0]))
    window = Window(350, 40)
    seen = picture(volume, slice_plane(volume, axis, 2), window)
    assert seen.dtype == np.uint8
    assert np.array_equal(seen, through(np.take(volume.voxels, 2, axis=axis), window))


def test_the_scan_is_not_changed_by_looking_at_it():
    voxels = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)
    before = voxels.copy()
    volume = Volume(voxels)
    picture(volume, slice_plane(volume, 0, 1), Window(1, 0))
    assert np.array_equal(voxels, before)


def test_a_window_of_a_scan_leaves_its_usual_values_apart():
    rng = np.random.default_rng(1)
    voxels = rng.normal(100, 20, (20, 20, 20)).astype(np.float32)
    voxels[0, 0, 0] = 1e6
    window = window_of(Volume(voxels))
    assert 80 < window.width < 140
    assert 90 < window.level < 110


def test_ct_is_seen_through_the_soft_tissue_window():
    assert window_of(Volume(np.zeros((2, 2, 2), np.int16), modality="CT")) == Window(400, 40)


def test_a_window_that_is_no_number_is_refused():
    with pytest.raises(InputError, match="not a pair of numbers"):
        Window(float("nan"), 40)
