from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from SSLSegmentationLib.inference.resample import AxisMap, axis_map, interpolation_matrix, resample
from SSLSegmentationLib.models.package import Preprocessing
from SSLSegmentationLib.volume import Volume
from Testing.strategies import directions_of, numbers, orientations, rotations


@st.composite
def boxes(draw: st.DrawFn, size: int) -> slice:
    first = draw(st.integers(0, size - 1))
    return slice(first, draw(st.integers(first + 1, size)))


@st.composite
def axis_maps(draw: st.DrawFn, most: int = 40) -> AxisMap:
    size = draw(st.integers(1, most))
    grid_spacing = draw(st.one_of(st.none(), numbers(0.3, 6.0)))
    return axis_map(size, draw(numbers(0.3, 6.0)), grid_spacing, draw(boxes(size)))


def resampled_line(values: np.ndarray, axis: AxisMap, antialias: bool) -> np.ndarray:
    still = axis_map(1, 1.0, None)
    return resample(values.reshape(-1, 1, 1), (axis, still, still), antialias)[:, 0, 0]


@given(axis_maps(), st.booleans(), numbers(-5.0, 5.0), numbers(-100.0, 100.0))
def test_a_ramp_stays_the_same_ramp_away_from_the_ends(axis: AxisMap, antialias: bool, slope: float, height: float):
    positions = axis.scan_positions()
    result = resampled_line(slope * np.arange(axis.scan_size) + height, axis, antialias)
    reach = np.ceil(axis.step) if antialias else 1.0
    interior = (positions >= reach) & (positions <= axis.scan_size - 1 - reach)
    np.testing.assert_allclose(result[interior], (slope * positions + height)[interior], atol=2e-3)


@given(axis_maps(), st.booleans(), numbers(-1000.0, 1000.0))
def test_a_constant_stays_what_it_is_to_the_very_ends(axis: AxisMap, antialias: bool, value: float):
    result = resampled_line(np.full(axis.scan_size, value), axis, antialias)
    np.testing.assert_allclose(result, value, atol=1e-3)


@given(axis_maps())
def test_positions_on_the_scan_and_on_the_grid_are_the_inverse_of_each_other(axis: AxisMap):
    def to_grid(scan: np.ndarray) -> np.ndarray:
        first = axis.grid_positions()[0]
        return first + scan / axis.step

    np.testing.assert_allclose(to_grid(axis.scan_positions()), np.arange(axis.size), atol=1e-6)
    np.testing.assert_allclose(to_grid(np.arange(axis.scan_size)), axis.grid_positions(), atol=1e-6)


@given(st.integers(1, 60), numbers(0.3, 6.0), st.one_of(st.none(), numbers(0.3, 6.0)), st.data())
def test_the_part_covers_the_whole_box_that_was_asked_for(
    size: int, scan_spacing: float, grid_spacing: float | None, data: st.DataObject
):
    box = data.draw(boxes(size))
    axis = axis_map(size, scan_spacing, grid_spacing, box)
    covered = axis.covered()
    assert covered.start <= box.start
    assert covered.stop >= box.stop
    assert 0 <= covered.start < covered.stop <= size
    assert 0 <= axis.start < axis.stop <= axis.grid_size


def test_the_outermost_voxels_belong_to_the_part_where_the_grid_is_a_little_smaller_than_the_scan():
    axis = axis_map(10, 1.0, 4.0)  # two voxels of 4 mm on 10 mm
    assert axis.size == 2
    assert axis.covered() == slice(0, 10)


@given(st.integers(1, 50), numbers(0.3, 6.0), st.one_of(st.none(), numbers(0.3, 6.0)), st.booleans(), st.data())
def test_a_mirrored_scan_gives_the_mirrored_result(
    size: int, scan_spacing: float, grid_spacing: float | None, antialias: bool, data: st.DataObject
):
    box = data.draw(boxes(size))
    axis = axis_map(size, scan_spacing, grid_spacing, box)
    # Where an edge lies exactly between two voxels of the grid, rounding may choose another one in the mirror.
    other = axis_map(size, scan_spacing, grid_spacing, slice(size - box.stop, size - box.start))
    assume((other.start, other.stop) == (axis.grid_size - axis.stop, axis.grid_size - axis.start))
    values = np.random.default_rng(size).normal(size=size)
    forth = resampled_line(values, axis, antialias)
    back = resampled_line(values[::-1], other, antialias)
    np.testing.assert_allclose(forth, back[::-1], atol=1e-4)


@given(st.integers(8, 40), numbers(0.5, 3.0), numbers(0.3, 1.0))
def test_a_finer_grid_and_back_leaves_everything_in_its_place(size: int, scan_spacing: float, part: float):
    """The centre of mass of a smooth bump does not move, on the grid or on the way back."""
    axis = axis_map(size, scan_spacing, scan_spacing * part)
    scan = np.arange(size)
    bump = np.exp(-(((scan - 0.4 * size) / (0.1 * size + 1)) ** 2))
    fine = resampled_line(bump, axis, antialias=True)
    back = interpolation_matrix(axis.size, axis.grid_positions()) @ fine
    at = (fine * axis.scan_positions()).sum() / fine.sum()
    assert abs(at - (bump * scan).sum() / bump.sum()) < 0.05
    assert abs((back * scan).sum() / back.sum() - (bump * scan).sum() / bump.sum()) < 0.05
    assert np.abs(back - bump).max() < 0.25


def test_a_coarser_voxel_is_the_mean_of_what_it_covers_only_with_antialias():
    axis = axis_map(64, 1.0, 4.0)
    stripes = np.tile([0.0, 1.0], 32)
    averaged = resampled_line(stripes, axis, antialias=True)[1:-1]
    np.testing.assert_allclose(averaged, 0.5, atol=1e-6)
    picked = resampled_line(np.tile([0.0, 0.0, 1.0, 0.0], 16), axis_map(64, 1.0, 2.0), antialias=False)
    assert set(np.unique(picked)) == {0.0, 0.5}


@pytest.mark.parametrize("width", [1.0, 1.3, 2.0, 3.7])
def test_weights_are_positive_and_sum_to_one_also_beyond_the_ends(width: float):
    matrix = interpolation_matrix(6, np.linspace(-3, 9, 50), width)
    assert matrix.shape == (50, 6)
    assert matrix.data.min() > 0
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<i2", ">i2", "u1", "<f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_on_the_same_grid_voxels_are_copied_exactly_and_never_shared(dtype: str, order: str):
    array = np.asarray(np.arange(24).reshape(2, 3, 4), dtype=dtype, order=order)
    maps = (axis_map(2, 1.0, None), axis_map(3, 1.0, None, slice(1, 3)), axis_map(4, 1.0, None, slice(0, 3)))
    for antialias in (True, False):
        result = resample(array, maps, antialias)
        np.testing.assert_array_equal(result, array[0:2, 1:3, 0:3])
        assert result.dtype == np.float32
        assert result.dtype.isnative
        assert result.flags.c_contiguous
        assert result.flags.writeable
        assert not np.shares_memory(result, array)
    whole = tuple(axis_map(size, 1.0, 1.0) for size in (2, 3, 4))
    assert all(axis.same for axis in whole)
    assert not np.shares_memory(resample(array, whole, True), array)


def test_a_spacing_that_differs_by_the_rounding_of_a_header_is_the_same_grid():
    assert axis_map(512, 0.7031249, 0.703125).same
    assert not axis_map(512, 0.70, 0.703125).same


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [">i2", "u1", ">f8"])
def test_every_kind_of_array_is_interpolated_alike(order: str, dtype: str):
    values = np.random.default_rng(1).integers(0, 200, (5, 6, 7))
    maps = (axis_map(5, 1.0, 1.4), axis_map(6, 1.0, None), axis_map(7, 2.0, 1.3))
    expected = resample(values.astype(np.float32), maps, True)
    array = np.asarray(values, dtype=dtype, order=order)
    array.setflags(write=False)
    np.testing.assert_allclose(resample(array, maps, True), expected, atol=1e-4)
    turned = resample(array[::-1, :, ::-1], maps, True)
    np.testing.assert_allclose(turned, expected[::-1, :, ::-1], atol=1e-3)


@given(orientations(), rotations(), st.tuples(*[numbers(0.6, 3.0)] * 3), st.tuples(*[numbers(0.8, 4.0)] * 3))
def test_a_point_in_ras_names_the_same_place_before_and_after(orientation, rotation, spacing, grid_spacing):
    """A scan whose value is a linear function of RAS has that function's value at every voxel of the model's grid."""
    from SSLSegmentationLib.inference.preprocess import prepare

    matrix = np.eye(4)
    matrix[:3, :3] = rotation @ directions_of(orientation) * spacing
    matrix[:3, 3] = (30.0, -20.0, 10.0)
    empty = Volume(np.zeros((9, 10, 11)), matrix)
    slope = np.array([0.7, -0.4, 1.1])
    indices = np.stack(np.meshgrid(*map(np.arange, empty.shape[::-1]), indexing="ij"), axis=-1)
    scan = empty.with_voxels((empty.to_ras(indices) @ slope).transpose(2, 1, 0))

    prepared = prepare(scan, Preprocessing("LPS", grid_spacing, crop_to_body=False))

    turned = scan.reoriented("LPS")
    positions = [axis.scan_positions() for axis in prepared.maps]
    interior = [
        (p >= np.ceil(max(1, axis.step))) & (p <= axis.scan_size - 1 - np.ceil(max(1, axis.step)))
        for p, axis in zip(positions, prepared.maps, strict=True)
    ]
    places = turned.to_ras(np.stack(np.meshgrid(*positions, indexing="ij"), axis=-1))
    inside = np.ix_(*interior)
    np.testing.assert_allclose(prepared.array[inside], (places @ slope)[inside], atol=5e-3)
    for axis, wanted in zip(prepared.maps, grid_spacing, strict=True):
        millimetres = turned.spacing[prepared.maps.index(axis)] * axis.step
        assert axis.same or millimetres == pytest.approx(wanted)
