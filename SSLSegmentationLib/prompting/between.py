"""The slices between two that are known, by the distance to the outline."""

from __future__ import annotations

import numpy as np


def between(first: np.ndarray, last: np.ndarray, part: float, spacing: tuple[float, float] = (1.0, 1.0)) -> np.ndarray:
    """Signed distance to the outline of what lies `part` (0 to 1) of the way between two masks, positive inside.

    In millimetres, where `spacing` is that of rows and columns. A shape moves, grows or changes steadily into another;
    where one mask is empty, so is everything up to it.
    """
    if not (first.any() and last.any()):
        return np.full(first.shape, -np.inf, dtype=np.float32)
    return (1 - part) * inside_distance(first, spacing) + part * inside_distance(last, spacing)


def inside_distance(mask: np.ndarray, spacing: tuple[float, float] = (1.0, 1.0)) -> np.ndarray:
    """Distance to the outline, positive inside and negative outside, as float32; 0 lies between two pixels."""
    from scipy.ndimage import distance_transform_edt

    # A mask that fills the picture has no outline but the picture's.
    padded = np.pad(mask, 1)
    half = min(spacing) / 2
    inside = np.maximum(distance_transform_edt(padded, spacing) - half, 0)
    outside = np.maximum(distance_transform_edt(~padded, spacing) - half, 0)
    return (inside - outside)[1:-1, 1:-1].astype(np.float32)
