"""Sliding window with a short memory.

Tiles are visited along the first axis, and only the slab of rows that tiles still to come can touch is kept: the scores
of all classes never exist for the whole grid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import TYPE_CHECKING, Literal

from SSLSegmentationLib.inference.slabs import Slab, SlabMean
from SSLSegmentationLib.models.package import Sliding
from SSLSegmentationLib.progress import Tick

if TYPE_CHECKING:
    from torch import Tensor

    from SSLSegmentationLib.inference.predictors import Predictor

Combine = Callable[["list[Tensor]"], "Tensor"]
"""Turns the passes over one tile (logits of (classes, i, j, k)) into the scores that are averaged."""


def tile_starts(size: int, patch: int, overlap: float) -> list[int]:
    """Where tiles begin along an axis: evenly, and the last one ends with the axis (as MONAI places them)."""
    if size <= patch:
        return [0]
    interval = max(1, int(patch * (1 - overlap)))
    count = -(-(size - patch) // interval) + 1
    return [min(n * interval, size - patch) for n in range(count)]


def importance(patch: tuple[int, ...], weighting: Literal["gaussian", "constant"]) -> Tensor:
    """How much each voxel of a tile counts: most in its middle, where the network sees all around it."""
    import torch

    if weighting == "constant":
        return torch.ones(patch)
    weight = torch.ones(())
    for size in patch:
        distance = (torch.arange(size) - (size - 1) / 2) / (size * 0.125)
        weight = weight[..., None] * torch.exp(-(distance**2) / 2)
    return weight.clamp(min=1e-3)


def slide(
    array: Tensor,
    predictors: list[Predictor],
    window: Sliding,
    *,
    combine: Combine,
    tick: Tick,
    flips: list[tuple[int, ...]] | None = None,
    passes: int = 1,
    skip_empty: bool = False,
    unseen: float = 20.0,
    keep_on: str = "cpu",
    at_once: int = 1,
) -> Iterator[Slab]:
    """Run the predictors over the (i, j, k) array and yield finished slabs from the first row to the last.

    Every predictor sees every tile `passes` times for each entry of `flips` (the axes to be mirrored; () for as it is).
    With `skip_empty`, tiles that show nothing at all (one value throughout, not the highest of the array) are left out:
    they are background, with the score `unseen`.
    """
    opinions = [axes for axes in flips or [()] for _ in range(passes)]
    padded, before = _padded(array, window)
    corners = _corners(padded, window, skip_empty)
    streams = [predictor.run(_tiles(padded, corners, window.patch, opinions), at_once) for predictor in predictors]
    mean = SlabMean(importance(window.patch, window.weighting).to(keep_on), padded.shape, unseen)
    several = len(streams) * len(opinions) > 1
    try:
        for number, corner in enumerate(corners):
            tick("Segmenting", number / len(corners))
            logits = [_as_seen(next(stream), axes, several) for stream in streams for axes in opinions]
            yield from _trimmed(mean.add(combine(logits), corner), before, array.shape)
        tick("Segmenting", 1.0)
        yield from _trimmed(mean.rest(), before, array.shape)
    finally:
        for stream in streams:
            stream.close()


def _corners(padded: Tensor, window: Sliding, skip_empty: bool) -> list[tuple[int, int, int]]:
    starts = [tile_starts(n, side, window.overlap) for n, side in zip(padded.shape, window.patch, strict=True)]
    corners = list(product(*starts))
    if not skip_empty:
        return corners
    lowest, highest = padded.aminmax()
    # A tile full of the highest value shows metal or contrast agent beyond the window, unless the whole scan is so.
    saturated = highest if highest > lowest else None
    return [c for c in corners if _shows_something(padded[_box(c, window.patch)], saturated)]


def _tiles(
    padded: Tensor, corners: list[tuple[int, int, int]], patch: tuple[int, int, int], opinions: list[tuple[int, ...]]
) -> Iterator[Tensor]:
    for corner in corners:
        tile = padded[_box(corner, patch)]
        for axes in opinions:
            yield tile.flip(axes) if axes else tile


def _as_seen(logits: Tensor, axes: tuple[int, ...], several: bool) -> Tensor:
    """Mirrored logits turned back; of several, each in memory of its own, since predictors use theirs again."""
    if axes:
        return logits.flip([axis + 1 for axis in axes])
    return logits.clone() if several else logits


def _trimmed(slabs: Iterator[Slab], before: list[int], shape: tuple[int, ...]) -> Iterator[Slab]:
    """Slabs of the padded grid as slabs of the grid itself."""
    inner = tuple(slice(b, b + size) for b, size in zip(before[1:], shape[1:], strict=True))
    for slab in slabs:
        first = max(0, before[0] - slab.start)
        last = max(0, before[0] + shape[0] - slab.start)
        scores = slab.scores[(slice(None), slice(first, last), *inner)]
        if scores.shape[1]:
            yield Slab(slab.start + first - before[0], scores)


def _padded(array: Tensor, window: Sliding) -> tuple[Tensor, list[int]]:
    """The array made as large as a tile where it is smaller, and how much of that lies before it on each axis."""
    import torch

    missing = [max(0, side - size) for size, side in zip(array.shape, window.patch, strict=True)]
    before = [m // 2 for m in missing]
    if not any(missing):
        return array, before
    pads = [n for m, b in zip(missing[::-1], before[::-1], strict=True) for n in (b, m - b)]
    mode = {"zero": "constant", "edge": "replicate"}[window.padding]
    return torch.nn.functional.pad(array[None, None], pads, mode=mode)[0, 0], before


def _box(corner: tuple[int, ...], patch: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(start, start + side) for start, side in zip(corner, patch, strict=True))


def _shows_something(tile: Tensor, saturated: Tensor | None) -> bool:
    low, high = tile.aminmax()
    return bool(high > low) or (saturated is not None and bool(low == saturated))
