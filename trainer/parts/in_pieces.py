"""Cross-entropy and Dice loss of the same softmax, with their common gradient written out.

Autograd keeps a dozen tensors as large as all voxels times all classes, and most of a training step of a small network
on a processor goes into moving them through memory. Here the voxels are gone through in pieces that stay in its cache,
and nothing is kept but the scores; with p the softmax and a = ∂Dice/∂p along the classes, a voxel's gradient is

    p · (a − Σ p a) · ∂L/∂Dice + (p − y) / voxels · ∂L/∂CE
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

_VOXELS = 8192
"""In a piece: with twenty classes its numbers fill half a megabyte or so."""


def cross_entropy_and_dice(logits: Tensor, labels: Tensor, counts: Tensor, smooth: float) -> tuple[Tensor, Tensor]:
    """Of logits (L, C, i, j, k) and labels (L, 1, i, j, k); `counts` (C,) says how much the Dice of a class weighs."""
    return _Losses.apply(logits, labels, counts, smooth)


class _Losses(Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, counts: Tensor, smooth: float) -> tuple[Tensor, Tensor]:
        classes = logits.shape[1]
        sums = logits.new_zeros(4, classes, dtype=torch.float32)
        for rows, truth in _pieces(_rows(logits), labels.flatten()):
            scores = _by_class(rows)
            log_p = scores.log_softmax(dim=0)
            p = log_p.exp()
            there = torch.zeros_like(p).scatter_(0, truth[None], 1.0)
            sums += torch.stack([(log_p * there).sum(1), (p * there).sum(1), p.square().sum(1), there.sum(1)])
        log_likelihood, overlap, square, volume = sums
        numerator, size = 2 * overlap + smooth, square + volume + smooth
        ctx.save_for_backward(logits, labels)
        # Of a class: ∂Dice/∂p is `everywhere` times p, and `there` on top where it is the label.
        ctx.everywhere, ctx.there = 2 * counts * numerator / size.square(), -2 * counts / size
        return -log_likelihood.sum() / labels.numel(), (counts * (1 - numerator / size)).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_cross_entropy: Tensor, of_dice: Tensor) -> tuple[Tensor | None, ...]:
        logits, labels = ctx.saved_tensors
        gradient = torch.empty_like(_rows(logits))
        everywhere, there = (ctx.everywhere * of_dice)[:, None], ctx.there * of_dice
        each = of_cross_entropy / labels.numel()
        for rows, truth, out in _pieces(_rows(logits), labels.flatten(), gradient):
            p = _by_class(rows).softmax(dim=0)
            along = (p * everywhere).scatter_add_(0, truth[None], there[truth][None])
            found = along.sub_((along * p).sum(dim=0)).add_(each).mul_(p)
            out.copy_(found.scatter_add_(0, truth[None], -each.expand_as(truth)[None]).T)
        return gradient.view(*logits.movedim(1, -1).shape).movedim(-1, 1), None, None, None


def _rows(logits: Tensor) -> Tensor:
    """(voxels, classes): a view where channels come last."""
    return logits.movedim(1, -1).reshape(-1, logits.shape[1])


def _by_class(rows: Tensor) -> Tensor:
    """(classes, voxels) in full: a softmax along a short last axis takes fifteen times as long."""
    return rows.float().T.contiguous()


def _pieces(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """An accelerator takes all at once."""
    count = _VOXELS if tensors[0].device.type == "cpu" else max(1, len(tensors[0]))
    return zip(*(tensor.split(count) for tensor in tensors), strict=True)
