"""Scans in which it is known what a model should find, and the end of generators."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

import numpy as np

from SSLSegmentationLib.prompting.picture import Window
from SSLSegmentationLib.proposal import Cropped, Proposal
from SSLSegmentationLib.volume import Volume

WINDOW = Window(255, 127.5)
"""Shows values from 0 to 255 as they are."""

R = TypeVar("R")


def finished(steps: Generator[Proposal, None, R]) -> tuple[list[Proposal], R]:
    """What is yielded on the way, and the result."""
    partial = []
    while True:
        try:
            partial.append(next(steps))
        except StopIteration as end:
            return partial, end.value


def everywhere(volume: Volume) -> tuple[slice, slice, slice]:
    return tuple(slice(0, n) for n in volume.shape)


def after(volume: Volume, before: Cropped, proposal: Proposal) -> np.ndarray:
    """The segment on the whole grid once the proposal is accepted."""
    return proposal.accepted_into(before).within(everywhere(volume))


def oblique_matrix() -> np.ndarray:
    """Turned about two axes, with slices of 2.5 mm."""
    a, b = np.radians(17), np.radians(-23)
    first = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    second = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    matrix = np.eye(4)
    matrix[:3, :3] = first @ second * (0.8, 0.8, 2.5)
    matrix[:3, 3] = (-40, 25, 300)
    return matrix


def ellipsoid(shape: tuple[int, int, int] = (30, 90, 90), radii_mm: tuple[float, float, float] = (22, 18, 14)) -> tuple:
    """A bright ellipsoid in the middle of a dark oblique scan, and where it is."""
    matrix = oblique_matrix()
    k, j, i = np.ogrid[: shape[0], : shape[1], : shape[2]]
    steps = np.linalg.norm(matrix[:3, :3], axis=0)[::-1]
    parts = [((x - n // 2) * s / r) ** 2 for x, n, s, r in zip((k, j, i), shape, steps, radii_mm, strict=True)]
    bright = parts[0] + parts[1] + parts[2] <= 1
    return Volume(np.where(bright, 200, 0).astype(np.int16), matrix), bright


def within_a_voxel(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether no voxel of either mask is more than one voxel away from the other."""
    from scipy.ndimage import binary_dilation

    near = np.ones((3, 3, 3))
    return not (one & ~binary_dilation(other, near)).any() and not (other & ~binary_dilation(one, near)).any()
