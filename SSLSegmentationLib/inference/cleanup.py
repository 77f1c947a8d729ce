"""Small corrections of a label map that a package may ask for: which of a label's pieces stay."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

_SIZABLE = 0.25
"""Of the largest piece: smaller ones do not say how sure a network can be of a label, and do not stay."""
_AS_SURE = 0.05
"""So much more doubt, of 0 to 1, a piece may have on average than the surest one."""


def keep_largest(labels: np.ndarray, values: tuple[int, ...]) -> int:
    """Turn all but the largest connected component of each value into background, in place; return how many voxels."""
    removed = 0
    for box, components, sizes in _pieces(labels, values):
        removed += _keep(labels[box], components, np.arange(len(sizes)) == sizes.argmax())
    return removed


def keep_surest(labels: np.ndarray, doubt: np.ndarray, values: tuple[int, ...]) -> int:
    """The same with all but the pieces that the network is about as sure of as of its surest one.

    Where an organ is unlike those it has learnt from, a network finds pieces of it in several places, and the largest
    is often the wrong one; but it doubts that one more.
    """
    from scipy import ndimage

    removed = 0
    for box, components, sizes in _pieces(labels, values):
        means = ndimage.mean(doubt[box], components, np.arange(1, len(sizes) + 1))
        sizable = sizes >= _SIZABLE * sizes.max()
        removed += _keep(labels[box], components, sizable & (means <= means[sizable].min() + _AS_SURE))
    return removed


def _pieces(labels: np.ndarray, values: tuple[int, ...]) -> Iterator[tuple[tuple[slice, ...], np.ndarray, np.ndarray]]:
    """Of every value in several pieces: where it lies, the numbers of the pieces there from 1 on, and their sizes."""
    from scipy import ndimage

    boxes = ndimage.find_objects(labels, max(values)) if values else []
    for value in values:
        box = boxes[value - 1]
        if box is None:
            continue
        components, count = ndimage.label(labels[box] == value)
        if count > 1:
            yield box, components, np.bincount(components.ravel())[1:]


def _keep(part: np.ndarray, components: np.ndarray, which: np.ndarray) -> int:
    """Turn the pieces into background that `which` does not name."""
    stray = np.concatenate([[False], ~which])[components]
    part[stray] = 0
    return int(stray.sum())
