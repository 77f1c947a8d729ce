"""Prepared cases in memory, which samplers take for a store."""

from __future__ import annotations

import numpy as np

from trainer.data.store import PreparedCase

Cases = dict[str, PreparedCase]


def ball(shape: tuple[int, int, int], radius: float) -> np.ndarray:
    centre = (np.array(shape) - 1) / 2
    places = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    return np.linalg.norm(places - centre, axis=-1) <= radius


def cases(
    count: int = 4,
    shape: tuple[int, int, int] = (20, 18, 12),
    *,
    classes: int = 3,
    radius: float = 4.0,
    labelled: int | None = None,
) -> Cases:
    """Noise with a ball of class 1 in the middle, and half of that of class 2; the last ones without labels."""
    found = {}
    for index in range(count):
        rng = np.random.default_rng(index)
        labels = ball(shape, radius).astype(np.uint8)
        if classes > 2:
            labels[: shape[0] // 2] *= 2
        image = (rng.normal(size=shape) + 3 * labels).astype(np.float16)
        known = labelled is None or index < labelled
        there = range(1, classes) if known else ()
        foreground = {c: np.argwhere(labels == c).astype(np.int32) for c in there if (labels == c).any()}
        found[f"case{index}"] = PreparedCase(
            f"case{index}", image, labels if known else None, np.full(classes, known), foreground, np.ones(3)
        )
    return found
