"""From finished slabs on the network's grid to labels and doubt on the scan's own grid.

Rows of the scan are made as soon as the slabs they lie between are there, a few at a time, so that the scores of all
classes at full size never exist together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from SSLSegmentationLib.inference.resample import AxisMap, interpolation_matrix
from SSLSegmentationLib.inference.slabs import Slab
from SSLSegmentationLib.inference.uncertainty import entropy, entropy_of_logits

if TYPE_CHECKING:
    from torch import Tensor

_CHUNK_BYTES = 96 * 2**20  # of scores at the scan's resolution; bounds the peak whatever the scan


@dataclass(frozen=True, eq=False)
class Targets:
    """Arrays (i, j, k) on the whole scan, in the network's orientation; all but labels only if they were asked for."""

    labels: np.ndarray
    uncertainty: np.ndarray | None = None
    disagreement: np.ndarray | None = None
    probabilities: tuple[np.ndarray, ...] = ()
    """One array for each class, or none."""


class Restorer:
    """Takes slabs in their order, without a gap, and fills the targets.

    Scores are either the mean logits of each class (`temperature` then applies to the doubt), or, with `averaged`, mean
    probabilities of several passes followed by their mean entropy.
    """

    def __init__(
        self,
        maps: tuple[AxisMap, AxisMap, AxisMap],
        targets: Targets,
        *,
        temperature: float = 1.0,
        averaged: bool = False,
        device: str = "cpu",
    ) -> None:
        self._maps = maps
        self._targets = targets
        self._temperature = temperature
        self._averaged = averaged
        self._device = device
        self._covered = [axis.covered() for axis in maps]
        self._positions = np.clip(maps[0].grid_positions(), 0, maps[0].size - 1)
        self._next_row = self._covered[0].start
        self._held: Slab | None = None
        self._matrices = [None if axis.same else self._matrix(axis) for axis in maps[1:]]

    def add(self, slab: Slab) -> None:
        """Make all rows of the scan that this slab completes."""
        import torch

        if self._held is not None:
            slab = Slab(self._held.start, torch.cat([self._held.scores, slab.scores], dim=1))
        available = slab.start + slab.scores.shape[1]
        while self._next_row < self._covered[0].stop:
            rows = self._rows_ready(available, slab.scores.shape[0])
            if not rows:
                break
            self._make(rows, slab)
            self._next_row = rows[-1] + 1
        # A copy, not a view: a view would keep the whole slab alive.
        self._held = Slab(available - 1, slab.scores[:, -1:].clone())

    def _rows_ready(self, available: int, channels: int) -> list[int]:
        """The next rows that lie between grid rows at hand, as many as a chunk may hold."""
        per_row = 4 * channels * self._shape()[0] * self._shape()[1]
        most = max(1, _CHUNK_BYTES // per_row)
        last = min(self._next_row + most, self._covered[0].stop)
        rows = range(self._next_row, last)
        return [row for row in rows if np.ceil(self._positions[row]) < available]

    def _shape(self) -> tuple[int, int]:
        return tuple(c.stop - c.start for c in self._covered[1:])

    def _matrix(self, axis: AxisMap) -> Tensor:
        import torch

        positions = axis.grid_positions()[axis.covered()]
        dense = interpolation_matrix(axis.size, positions).toarray()
        return torch.from_numpy(np.ascontiguousarray(dense)).to(self._device)

    def _make(self, rows: list[int], slab: Slab) -> None:
        scores = self._interpolated(rows, slab)
        classes = scores.shape[0] - int(self._averaged)
        place = (slice(rows[0], rows[-1] + 1), *self._covered[1:])
        targets = self._targets
        _write(targets.labels, place, _winners(scores[:classes]))
        if targets.probabilities:
            of_classes = scores[:classes] if self._averaged else (scores.float() / self._temperature).softmax(dim=0)
            for target, values in zip(targets.probabilities, of_classes, strict=True):
                _write(target, place, values)
        if targets.uncertainty is None:
            return
        if not self._averaged:
            _write(targets.uncertainty, place, entropy_of_logits(scores, self._temperature))
            return
        total = entropy(scores[:classes]).clamp_(0, 1)
        _write(targets.uncertainty, place, total)
        if targets.disagreement is not None:
            _write(targets.disagreement, place, (total - scores[classes]).clamp_(0, 1))

    def _interpolated(self, rows: list[int], slab: Slab) -> Tensor:
        """(scores, rows, j, k) at the places of the scan's voxels; always memory of its own."""
        import torch

        positions = torch.from_numpy(self._positions[rows] - slab.start)
        below = positions.floor().long()
        above = positions.ceil().long()
        part = (positions - below).float().to(slab.scores.device)[:, None, None]
        scores = slab.scores[:, below]
        if bool((above != below).any()):
            scores = scores.lerp_(slab.scores[:, above], part)
        scores = scores.to(self._device)
        along_j, along_k = self._matrices
        if along_k is not None:
            scores = scores @ along_k.T
        if along_j is not None:
            scores = torch.matmul(along_j, scores)
        return scores


def _winners(scores: Tensor) -> Tensor:
    """The class with the greatest score, as uint8; several times faster on a CPU than argmax along the first axis."""
    import torch

    best = scores[0].clone()
    winner = torch.zeros(best.shape, dtype=torch.uint8, device=best.device)
    for label in range(1, scores.shape[0]):
        winner.masked_fill_(scores[label] > best, label)
        torch.maximum(best, scores[label], out=best)
    return winner


def _write(target: np.ndarray, place: tuple[slice, ...], values: Tensor) -> None:
    target[place] = values.cpu().numpy()
