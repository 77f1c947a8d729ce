"""The weighted mean of overlapping tiles, for as many rows at a time as a tile is deep."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


_ROWS_AT_ONCE = 8  # handed on together: few, because whoever takes them needs as much memory again


@dataclass(frozen=True, eq=False)
class Slab:
    """Finished rows of the grid: from `start` on, (scores, rows, j, k)."""

    start: int
    scores: Tensor


class SlabMean:
    """Adds tiles up while they come in the order of their first axis, and lets go of rows no tile will touch again.

    The slabs it gives follow each other without a gap. Voxels that no tile has covered are background: `unseen` is the
    score of class 0 there, and that of all others is zero.
    """

    def __init__(self, weight: Tensor, grid: tuple[int, int, int], unseen: float) -> None:
        self._weight = weight
        self._grid = grid
        self._unseen = unseen
        self._rows = weight.shape[0]
        self._base = 0  # the row of the grid that the buffers begin with
        self._sums: Tensor | None = None
        self._factor = weight
        self._weights: Tensor | None = None

    def add(self, scores: Tensor, corner: tuple[int, int, int]) -> Iterator[Slab]:
        """Give what is finished before the tile's first row, then add the tile (scores, i, j, k)."""
        import torch

        if self._sums is None:
            device = self._weight.device
            # Sums in the precision of the scores: half of it is more than a network that computes in half gives.
            self._sums = torch.zeros((scores.shape[0], self._rows, *self._grid[1:]), device=device, dtype=scores.dtype)
            self._factor = self._weight.to(scores.dtype)
            self._weights = torch.zeros((self._rows, *self._grid[1:]), device=device)
        yield from self._finished_before(corner[0])
        place = tuple(slice(c, c + side) for c, side in zip(corner[1:], self._weight.shape[1:], strict=True))
        self._sums[(slice(None), slice(None), *place)].addcmul_(scores.to(self._sums.device), self._factor)
        self._weights[(slice(None), *place)] += self._weight

    def rest(self) -> Iterator[Slab]:
        """Give all that is left, to the end of the grid; nothing if no tile ever came."""
        if self._sums is not None:
            yield from self._finished_before(self._grid[0])

    def _finished_before(self, row: int) -> Iterator[Slab]:
        while self._base < row:
            done = min(row - self._base, self._rows)
            for first in range(0, done, _ROWS_AT_ONCE):
                part = slice(first, min(first + _ROWS_AT_ONCE, done))
                weights = self._weights[part]
                scores = self._sums[:, part] / weights.clamp(min=1e-9)
                scores[0].masked_fill_(weights == 0, self._unseen)
                yield Slab(self._base + first, scores)
            self._drop(done)

    def _drop(self, rows: int) -> None:
        """Make room at the end for as many rows as are dropped from the front, without a copy of the whole."""
        kept = self._rows - rows
        for first in range(0, kept, rows):
            last = min(first + rows, kept)
            self._sums[:, first:last] = self._sums[:, first + rows : last + rows]
            self._weights[first:last] = self._weights[first + rows : last + rows]
        self._sums[:, kept:] = 0
        self._weights[kept:] = 0
        self._base += rows
