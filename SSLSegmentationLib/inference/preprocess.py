"""From a scan as it was acquired to the array a network was trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.inference.body import body_box
from SSLSegmentationLib.inference.resample import AxisMap, axis_map, resample
from SSLSegmentationLib.models.package import IntensityRule, Preprocessing
from SSLSegmentationLib.volume import Volume

_MOST_VOXELS = 2**31  # of the network's grid: beyond, a header is wrong or a scan is not what the model is for
_SAMPLED = 4_000_000  # voxels looked at for a percentile

Step = Callable[[np.ndarray], None]
"""Changes float32 values in place."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """What the network sees, and how it lies in the scan."""

    array: np.ndarray
    """float32 (i, j, k), normalised, on the network's grid."""
    maps: tuple[AxisMap, AxisMap, AxisMap]
    """For i, j and k of the scan in the network's orientation."""


def prepare(scan: Volume, rule: Preprocessing, *, crop_to_body: bool = True) -> Prepared:
    """Turn, crop, resample and normalise a scan as the package asks."""
    turned = scan.reoriented(rule.orientation)
    box = body_box(turned) if crop_to_body and rule.crop_to_body else (slice(None),) * 3
    spacing = rule.spacing or (None, None, None)
    maps = tuple(
        axis_map(turned.shape[2 - axis], turned.spacing[axis], spacing[axis], box[2 - axis]) for axis in range(3)
    )
    if np.prod([float(axis.size) for axis in maps]) > _MOST_VOXELS:
        size = " × ".join(str(axis.size) for axis in maps)
        raise InputError(f"{scan.name} would be {size} voxels on the model's grid: check the spacing in its header.")
    array = resample(turned.voxels.transpose(2, 1, 0), maps, rule.antialias)
    normalise(array, rule.intensity, scan.voxels)
    return Prepared(array, maps)


def normalise(array: np.ndarray, rule: IntensityRule | None, scan: np.ndarray) -> None:
    """Apply the rule, and those that follow, in place; statistics are those of the whole `scan`, whatever the crop."""
    before: list[Step] = []
    while rule is not None:
        step = _step(rule, scan, before)
        step(array)
        before.append(step)
        rule = rule.then


def _step(rule: IntensityRule, scan: np.ndarray, before: list[Step]) -> Step:
    """One rule without those that follow, with what it needs measured on the scan after the steps `before`."""
    if rule.kind == "none":
        return lambda array: None
    if rule.kind == "zscore":
        mean, deviation = _mean_and_deviation(scan, before, rule.nonzero)
        return partial(_standardise, mean=mean, deviation=deviation or 1.0, nonzero=rule.nonzero)
    low, high = rule.low, rule.high
    if rule.kind == "percentile":
        voxels = scan.ravel(order="K")[:: max(1, scan.size // _SAMPLED)]
        if before:
            voxels = _after(before, voxels)
        low, high = np.percentile(voxels[voxels != 0] if rule.nonzero and (voxels != 0).any() else voxels, (low, high))
    scale = (rule.out_high - rule.out_low) / ((high - low) or 1.0)
    ends = sorted((rule.out_low, rule.out_high)) if rule.clip else None
    return partial(_scale, scale=float(scale), offset=float(rule.out_low - low * scale), ends=ends)


def _standardise(array: np.ndarray, mean: float, deviation: float, nonzero: bool) -> None:
    if nonzero:
        array[array != 0] -= np.float32(mean)
    else:
        array -= np.float32(mean)
    array /= np.float32(deviation)


def _scale(array: np.ndarray, scale: float, offset: float, ends: list[float] | None) -> None:
    array *= np.float32(scale)
    array += np.float32(offset)
    if ends is not None:
        np.clip(array, *ends, out=array)


def _mean_and_deviation(scan: np.ndarray, before: list[Step], nonzero: bool) -> tuple[float, float]:
    """In float64, plane by plane, so that large integer scans need no large copy."""
    count, total, squares, origin = 0, 0.0, 0.0, None
    for plane in scan:
        values = _after(before, plane) if before else plane
        values = (values[values != 0] if nonzero else values).astype(np.float64).ravel()
        if not values.size:
            continue
        # Measured from the first value, so that equal values have no deviation at all, however large they are.
        origin = values[0] if origin is None else origin
        values -= origin
        count, total, squares = count + values.size, total + values.sum(), squares + np.square(values).sum()
    if origin is None:
        return 0.0, 1.0
    mean = total / count
    return float(origin + mean), float(np.sqrt(max(0.0, squares / count - mean * mean)))


def _after(steps: list[Step], voxels: np.ndarray) -> np.ndarray:
    values = voxels.astype(np.float32)
    for step in steps:
        step(values)
    return values
