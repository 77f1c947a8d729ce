"""From a scan as it was acquired to the array a network was trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.inference.body import body_box
from SSLSegmentationLib.inference.resample import AxisMap, axis_map, resample
from SSLSegmentationLib.models.package import IntensityRule, Preprocessing
from SSLSegmentationLib.volume import Volume

_MOST_VOXELS = 2**31  # of the network's grid: beyond, a header is wrong or a scan is not what the model is for
_SAMPLED = 4_000_000  # voxels looked at for a percentile


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


def normalise(array: np.ndarray, rule: IntensityRule, scan: np.ndarray) -> None:
    """Apply the rule in place; statistics are those of the whole `scan`, so a crop does not change them."""
    _apply(array, rule, scan)
    if rule.then is not None:
        normalise(array, rule.then, array)


def _apply(array: np.ndarray, rule: IntensityRule, scan: np.ndarray) -> None:
    if rule.kind == "none":
        return
    if rule.kind == "zscore":
        mean, deviation = _mean_and_deviation(scan, rule.nonzero)
        if rule.nonzero:
            array[array != 0] -= np.float32(mean)
        else:
            array -= np.float32(mean)
        array /= np.float32(deviation or 1.0)
        return
    low, high = rule.low, rule.high
    if rule.kind == "percentile":
        voxels = scan.reshape(-1)[:: max(1, scan.size // _SAMPLED)] if scan.flags.c_contiguous else scan
        low, high = np.percentile(voxels[voxels != 0] if rule.nonzero and (voxels != 0).any() else voxels, (low, high))
    scale = (rule.out_high - rule.out_low) / ((high - low) or 1.0)
    array *= np.float32(scale)
    array += np.float32(rule.out_low - low * scale)
    if rule.clip:
        np.clip(array, min(rule.out_low, rule.out_high), max(rule.out_low, rule.out_high), out=array)


def _mean_and_deviation(scan: np.ndarray, nonzero: bool) -> tuple[float, float]:
    """In float64, plane by plane, so that large integer scans need no large copy."""
    count, total, squares = 0, 0.0, 0.0
    for plane in scan:
        values = plane[plane != 0] if nonzero else plane
        values = values.astype(np.float64)
        count, total, squares = count + values.size, total + values.sum(), squares + np.square(values).sum()
    if not count:
        return 0.0, 1.0
    mean = total / count
    return mean, float(np.sqrt(max(0.0, squares / count - mean * mean)))
