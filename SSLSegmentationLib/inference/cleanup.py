"""Small corrections of a label map that a package may ask for."""

from __future__ import annotations

import numpy as np


def keep_largest(labels: np.ndarray, values: tuple[int, ...]) -> int:
    """Turn all but the largest connected component of each value into background, in place; return how many voxels."""
    from scipy import ndimage

    if not values:
        return 0
    removed = 0
    boxes = ndimage.find_objects(labels, max(values))
    for value in values:
        box = boxes[value - 1]
        if box is None:
            continue
        part = labels[box]
        components, count = ndimage.label(part == value)
        if count < 2:
            continue
        sizes = np.bincount(components.ravel())
        sizes[0] = 0
        stray = (components > 0) & (components != sizes.argmax())
        part[stray] = 0
        removed += int(stray.sum())
    return removed
