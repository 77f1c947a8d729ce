"""Users as a promptable network meets them in training: where they click, how they correct, and what they get wrong."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import binary_dilation, binary_erosion, distance_transform_edt

from SSLSegmentationLib.regions import largest_region

Point = tuple[float, float]
"""Column and row."""

_SLIPS = 0.04  # of all clicks miss what was meant by a few pixels


def click(area: np.ndarray, rng: np.random.Generator) -> Point:
    """A place well inside an area: users aim for the middle, and rarely hit it."""
    depth = distance_transform_edt(np.pad(area, 1))[1:-1, 1:-1]
    rows, columns = np.nonzero(depth >= rng.uniform(0.3, 0.9) * depth.max())
    chosen = rng.integers(len(rows))
    place = np.array([columns[chosen], rows[chosen]], dtype=float)
    if rng.random() < _SLIPS:
        place += rng.normal(0, 3, 2)
    rows, columns = area.shape
    return float(np.clip(place[0], 0, columns - 1)), float(np.clip(place[1], 0, rows - 1))


def correction(target: np.ndarray, found: np.ndarray, rng: np.random.Generator) -> tuple[Point, bool] | None:
    """A click into the largest mistake, and whether it is positive; None where there is none."""
    wrong = target != found
    if not wrong.any():
        return None
    place = click(largest_region(wrong), rng)
    column, row = (round(at) for at in place)
    return place, bool(target[row, column])


def box_around(target: np.ndarray, rng: np.random.Generator) -> tuple[float, float, float, float]:
    """A rectangle as a hurried user draws it: off by up to a tenth of its sides."""
    rows, columns = np.nonzero(target)
    low, high = np.array([columns.min(), rows.min()]), np.array([columns.max(), rows.max()])
    loose = np.maximum(0.1 * (high - low), 1.0)
    low, high = low + rng.uniform(-1, 0.5, 2) * loose, high + rng.uniform(-0.5, 1, 2) * loose
    bounds = np.array(target.shape[::-1]) - 1
    low, high = np.clip(np.minimum(low, high), 0, bounds), np.clip(np.maximum(low, high), 0, bounds)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def followed(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The mask of the slice before, as whoever follows from slice to slice has it: often off by a pixel already."""
    off = rng.integers(4)
    moved = binary_dilation(mask) if off == 0 else binary_erosion(mask) if off == 1 else mask
    return moved if moved.any() else mask


def spoilt(target: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A mask that needs correcting: too large, too small, cut off, or moved."""
    size = max(1, round(0.15 * float(np.sqrt(target.sum()))))
    kind = rng.integers(4)
    if kind == 0:
        return binary_dilation(target, iterations=int(rng.integers(1, size + 1)))
    if kind == 1:
        return binary_erosion(target, iterations=int(rng.integers(1, size + 1)))
    if kind == 2:
        rows, columns = np.indices(target.shape)
        middle = np.argwhere(target)[rng.integers(int(target.sum()))]
        angle = rng.uniform(0, 2 * np.pi)
        return target & ((rows - middle[0]) * np.sin(angle) + (columns - middle[1]) * np.cos(angle) > 0)
    return np.roll(target, rng.integers(-2 * size, 2 * size + 1, 2), axis=(0, 1))
