from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.inference.preprocess import normalise, prepare
from SSLSegmentationLib.models.package import IntensityRule, Preprocessing
from SSLSegmentationLib.volume import Volume
from Testing.strategies import numbers


def a_scan(seed: int = 0, shape: tuple[int, int, int] = (7, 8, 9)) -> np.ndarray:
    """Integers with an air of zeros around."""
    voxels = np.random.default_rng(seed).integers(-300, 900, shape).astype(np.int16)
    voxels[:2] = 0
    return voxels


def normalised(rule: IntensityRule, scan: np.ndarray) -> np.ndarray:
    array = scan.astype(np.float32)
    normalise(array, rule, scan)
    return array


@given(numbers(-500, 500), numbers(1, 2000), numbers(-2, 2), numbers(-2, 2), st.booleans())
def test_a_window_is_what_monai_makes_of_it(low: float, width: float, out_low: float, out_high: float, clip: bool):
    from monai.transforms import ScaleIntensityRange

    scan = a_scan()
    rule = IntensityRule("window", low, low + width, out_low, out_high, clip)
    ours = normalised(rule, scan)
    if out_low <= out_high:
        monai = ScaleIntensityRange(low, low + width, out_low, out_high, clip)(scan.astype(np.float32))
        np.testing.assert_allclose(ours, monai, atol=2e-3, rtol=1e-4)
    plain = (scan - low) / width * (out_high - out_low) + out_low
    expected = np.clip(plain, min(out_low, out_high), max(out_low, out_high)) if clip else plain
    np.testing.assert_allclose(ours, expected, atol=2e-3, rtol=1e-4)


@pytest.mark.parametrize(("low", "high"), [(0, 100), (0.5, 99.5), (5, 95)])
@pytest.mark.parametrize("clip", [True, False])
def test_percentiles_are_what_monai_makes_of_them(low: float, high: float, clip: bool):
    from monai.transforms import ScaleIntensityRangePercentiles

    scan = a_scan()
    monai = ScaleIntensityRangePercentiles(low, high, -1.0, 1.0, clip)(scan.astype(np.float32))
    ours = normalised(IntensityRule("percentile", low, high, -1.0, 1.0, clip), scan)
    np.testing.assert_allclose(ours, monai, atol=1e-4)


def test_percentiles_of_what_is_not_zero_leave_the_air_out():
    scan = a_scan()
    low, high = np.percentile(scan[scan != 0], (2, 98))
    ours = normalised(IntensityRule("percentile", 2, 98, nonzero=True), scan)
    np.testing.assert_allclose(ours, np.clip((scan - low) / (high - low), 0, 1), atol=1e-5)


@pytest.mark.parametrize("nonzero", [True, False])
def test_zscore_is_what_monai_makes_of_it(nonzero: bool):
    from monai.transforms import NormalizeIntensity

    scan = a_scan()
    monai = NormalizeIntensity(nonzero=nonzero)(scan.astype(np.float32)[None])[0]
    np.testing.assert_allclose(normalised(IntensityRule("zscore", nonzero=nonzero), scan), monai, atol=1e-4)


def test_zeros_stay_zero_where_only_the_others_count():
    scan = a_scan()
    assert (normalised(IntensityRule("zscore", nonzero=True), scan)[scan == 0] == 0).all()


def test_no_rule_leaves_values_as_they_are():
    scan = a_scan()
    np.testing.assert_array_equal(normalised(IntensityRule("none"), scan), scan)


@pytest.mark.parametrize("value", [0.0, -1000.0, 0.1, 1e5 + 0.3])
@pytest.mark.parametrize("nonzero", [True, False])
@pytest.mark.parametrize("kind", ["window", "percentile", "zscore", "none"])
def test_a_scan_of_one_value_becomes_one_finite_value(kind: str, nonzero: bool, value: float):
    scan = np.full((5, 6, 7), value)
    low, high = (1.0, 99.0) if kind == "percentile" else (0.0, 1.0)
    result = normalised(IntensityRule(kind, low, high, nonzero=nonzero), scan)
    assert np.isfinite(result).all()
    assert np.ptp(result) == 0
    if kind in ("percentile", "zscore"):
        assert abs(result.flat[0]) <= 1


def test_a_scan_of_one_value_is_not_blown_up_to_noise_by_what_interpolation_rounds():
    scan = Volume(np.full((8, 9, 10), 1234.567), np.diag([1.0, 1.1, 1.2, 1.0]))
    for rule in (IntensityRule("zscore"), IntensityRule("percentile", 1, 99)):
        prepared = prepare(scan, Preprocessing(spacing=(1.7, 0.9, 1.3), intensity=rule))
        assert np.abs(prepared.array).max() < 1e-2


CHAINS = [
    IntensityRule("window", -100, 500),
    IntensityRule("percentile", 1, 99),
    IntensityRule("percentile", 1, 99, nonzero=True),
    IntensityRule("zscore"),
    IntensityRule("zscore", nonzero=True),
    IntensityRule("window", -100, 500, then=IntensityRule("zscore")),
    IntensityRule("window", 0, 500, then=IntensityRule("zscore", nonzero=True)),
    IntensityRule("zscore", then=IntensityRule("percentile", 5, 95, clip=True)),
    IntensityRule("none", then=IntensityRule("zscore")),
]


@pytest.mark.parametrize("rule", CHAINS)
def test_a_crop_to_the_body_does_not_change_any_value(rule: IntensityRule):
    voxels = np.zeros((20, 40, 40), dtype=np.int16)
    voxels[5:16, 12:28, 12:28] = np.random.default_rng(0).integers(100, 900, (11, 16, 16))
    scan = Volume(voxels, np.diag([3.0, 3.0, 5.0, 1.0]), modality="MR")
    whole = prepare(scan, Preprocessing(intensity=rule, crop_to_body=False))
    cropped = prepare(scan, Preprocessing(intensity=rule))
    assert cropped.array.size < whole.array.size
    part = tuple(slice(axis.start, axis.stop) for axis in cropped.maps)
    np.testing.assert_allclose(cropped.array, whole.array[part], atol=1e-5)


@pytest.mark.parametrize("rule", CHAINS)
def test_rules_that_follow_measure_what_the_first_has_left(rule: IntensityRule):
    scan = a_scan()
    result = normalised(rule, scan)
    expected = scan.astype(np.float64)
    step: IntensityRule | None = rule
    while step is not None:
        expected = plainly(expected, step)
        step = step.then
    np.testing.assert_allclose(result, expected, atol=1e-3)


def plainly(values: np.ndarray, rule: IntensityRule) -> np.ndarray:
    seen = values[values != 0] if rule.nonzero else values
    if rule.kind == "none":
        return values
    if rule.kind == "zscore":
        return np.where((values == 0) & rule.nonzero, 0.0, (values - seen.mean()) / seen.std())
    low, high = np.percentile(seen, (rule.low, rule.high)) if rule.kind == "percentile" else (rule.low, rule.high)
    return np.clip((values - low) / (high - low), 0, 1)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [">i2", "<i4", "u1", "<f8", ">f4"])
@pytest.mark.parametrize("rule", CHAINS[1:5])
def test_the_scan_itself_is_never_changed(rule: IntensityRule, dtype: str, order: str):
    voxels = np.asarray(np.random.default_rng(0).integers(0, 200, (4, 5, 6)), dtype=dtype, order=order)
    before = voxels.copy()
    voxels.setflags(write=False)
    for orientation in ("RAS", "SAR", "LPI"):
        prepared = prepare(Volume(voxels), Preprocessing(orientation, intensity=rule, crop_to_body=False))
        assert prepared.array.dtype == np.float32
        assert not np.shares_memory(prepared.array, voxels)
    np.testing.assert_array_equal(voxels, before)


def test_the_array_is_in_the_orientation_the_package_asks_for():
    voxels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    prepared = prepare(Volume(voxels), Preprocessing("LPS", crop_to_body=False))
    np.testing.assert_array_equal(prepared.array, voxels.transpose(2, 1, 0)[::-1, ::-1])


def test_a_scan_that_would_be_far_too_large_on_the_models_grid_is_refused_with_its_name():
    scan = Volume(np.zeros((10, 10, 10), dtype=np.int8), np.diag([1000.0, 1000.0, 1000.0, 1.0]), name="metres.nii")
    with pytest.raises(InputError, match=r"^metres\.nii would be 10000 × 10000 × 10000 voxels .*: check the spacing"):
        prepare(scan, Preprocessing(spacing=(1.0, 1.0, 1.0)))
