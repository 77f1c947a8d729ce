"""Masks from one grid to another: voxel by voxel where the grids agree, by the nearest voxel where they do not."""

from __future__ import annotations

import numpy as np

from SSLSegmentationLib.plane import Box
from SSLSegmentationLib.proposal import NOTHING, Cropped
from SSLSegmentationLib.volume import transform_points

_AGREES = 1e-3  # voxels, over the whole mask


def carried(mask: Cropped, to_target: np.ndarray) -> Cropped:
    """A mask on another grid, whose (i, j, k) indices are `to_target` applied to those of the mask's own.

    Grids that differ only in the order and direction of their axes and in their first voxel, as Slicer makes them when
    it turns a left-handed scan round, carry every voxel to exactly one. On any other grid a voxel takes what the one
    has in which its centre lies. Instead of bits there may be label values.
    """
    if mask.bits.size == 0:
        return Cropped(NOTHING.box, mask.bits[:0, :0, :0])
    steps = np.rint(to_target[:3, :3])
    corners = np.array(np.meshgrid(*[(s.start, s.stop - 1) for s in reversed(mask.box)], indexing="ij"))
    corners = corners.reshape(3, -1).T
    exact = transform_points(to_target, corners)
    near = corners @ steps.T + np.rint(to_target[:3, 3])
    if np.abs(exact - near).max() <= _AGREES and (np.abs(steps).sum(axis=0) == 1).all():
        return _turned(mask, steps.astype(int), near)
    return _looked_up(mask, to_target)


def _turned(mask: Cropped, steps: np.ndarray, corners: np.ndarray) -> Cropped:
    # Target axis t runs along source axis source_of[t]; arrays count their axes the other way round, k first.
    source_of = np.argmax(np.abs(steps), axis=1)
    bits = mask.bits.transpose([2 - source_of[2 - axis] for axis in range(3)])
    flips = [steps[2 - axis, source_of[2 - axis]] < 0 for axis in range(3)]
    bits = bits[tuple(slice(None, None, -1 if flip else 1) for flip in flips)]
    return Cropped(_box(corners.min(axis=0), corners.max(axis=0)), bits)


def _looked_up(mask: Cropped, to_target: np.ndarray) -> Cropped:
    sides = [(s.start - 0.5, s.stop - 0.5) for s in reversed(mask.box)]
    reach = transform_points(to_target, np.array(np.meshgrid(*sides)).reshape(3, -1).T)
    box = _box(np.ceil(reach.min(axis=0) - 1e-6), np.floor(reach.max(axis=0) + 1e-6))
    steps = np.meshgrid(*(np.arange(s.start, s.stop) for s in reversed(box)), indexing="ij")
    if steps[0].size == 0:
        return Cropped(NOTHING.box, mask.bits[:0, :0, :0])
    at = transform_points(np.linalg.inv(to_target), np.stack(steps, axis=-1))
    at = np.floor(at + 0.5 + 1e-6).astype(int)[..., ::-1] - [s.start for s in mask.box]
    inside = ((at >= 0) & (at < mask.bits.shape)).all(axis=-1)
    bits = np.zeros(inside.shape, dtype=mask.bits.dtype)
    bits[inside] = mask.bits[tuple(at[inside].T)]
    return Cropped(box, bits.transpose(2, 1, 0))


def _box(low: np.ndarray, high: np.ndarray) -> Box:
    """The (k, j, i) box from a lowest to a highest (i, j, k) index, both in it."""
    return tuple(slice(int(a), max(int(a), int(b) + 1)) for a, b in zip(low[::-1], high[::-1], strict=True))
