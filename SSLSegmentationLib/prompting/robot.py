"""A user who never tires, for the demo and for tables: clicks into the middle of the largest mistake."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from SSLSegmentationLib.regions import largest_region

Place = tuple[float, float]
"""Column and row."""
Ask = Callable[[Sequence[Place], Sequence[bool]], np.ndarray]
"""What is found for these clicks, of which these are positive."""


def click(meant: np.ndarray, found: np.ndarray) -> tuple[Place, bool]:
    """Where the next click goes, and whether it is positive. There has to be a mistake."""
    from scipy.ndimage import distance_transform_edt

    depth = distance_transform_edt(np.pad(largest_region(meant != found), 1))[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return (float(column), float(row)), bool(meant[row, column])


def clicked(meant: np.ndarray, ask: Ask, most: int) -> list[float]:
    """Dice after one click, after two, and so on, each correcting the answer before it."""
    places: list[Place] = []
    signs: list[bool] = []
    found, scores = np.zeros_like(meant), []
    for _ in range(most):
        if (meant != found).any():
            place, sign = click(meant, found)
            places.append(place)
            signs.append(sign)
            found = ask(places, signs)
        scores.append(dice(found, meant))
    return scores


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / max(1, one.sum() + other.sum()))
