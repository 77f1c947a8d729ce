"""Losses against labels, for cases of which some annotate only some of the classes.

What a case does not annotate is not background: it may be there, unlabelled. For such a case the probabilities of
those classes are added to the background's, since "none of the annotated classes" is all that its labels say.

Shapes: logits (L, C, i, j, k); labels (L, 1, i, j, k), from 0 for the background to C - 1; annotated (L, C) of bool,
with True for the background. Everything is computed in float32.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from trainer.parts.in_pieces import cross_entropy_and_dice

_NEVER = float("-inf")
_SMOOTH = 1e-5


def log_probabilities(logits: Tensor, annotated: Tensor | None = None) -> Tensor:
    """Logarithm of the softmax, with the classes that a case does not annotate joined to its background.

    p'₀ = p₀ + Σ p_c over c not annotated,   p'_c = 0 for those c,   p'_c = p_c for the others
    """
    logs = logits.float().log_softmax(dim=1)
    if _whole(annotated):
        return logs
    known = annotated[:, :, None, None, None]
    joined = logs[:, 1:].masked_fill(known[:, 1:], _NEVER)
    background = torch.cat([logs[:, :1], joined], dim=1).logsumexp(dim=1, keepdim=True)
    return torch.cat([background, logs[:, 1:].masked_fill(~known[:, 1:], _NEVER)], dim=1)


def known_labels(labels: Tensor, annotated: Tensor | None = None) -> Tensor:
    """The labels, with those of classes that the case does not annotate as background, where their probability went."""
    if _whole(annotated):
        return labels
    known = annotated.gather(1, labels.flatten(1)).view_as(labels)
    return labels * known


def cross_entropy(log_p: Tensor, labels: Tensor) -> Tensor:
    """Mean over voxels of −log p(y)."""
    return functional.nll_loss(log_p, labels[:, 0])


def dice_loss(p: Tensor, labels: Tensor, annotated: Tensor | None = None, smooth: float = _SMOOTH) -> Tensor:
    """1 − (2 Σ p y + ε) / (Σ p² + Σ y² + ε), summed over the batch, mean over the classes that some case annotates.

    The background is no class of its own here.
    """
    target = _one_hot(labels, p.shape[1])[:, 1:]
    p = p[:, 1:]
    over = (0, *range(2, p.dim()))
    overlap = (p * target).sum(over)
    size = p.square().sum(over) + target.sum(over)
    losses = 1 - (2 * overlap + smooth) / (size + smooth)
    if annotated is None:
        return losses.mean()
    counts = annotated[:, 1:].any(dim=0).float()
    return (losses * counts).sum() / counts.sum().clamp(min=1)


def supervised(logits: Tensor, labels: Tensor, annotated: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Cross-entropy and Dice loss."""
    if _whole(annotated):
        classes = logits.shape[1]
        counts = torch.arange(classes, device=logits.device).clamp(max=1) / (classes - 1)
        return cross_entropy_and_dice(logits, labels, counts, _SMOOTH)
    log_p, labels = log_probabilities(logits, annotated), known_labels(labels, annotated)
    return cross_entropy(log_p, labels), dice_loss(log_p.exp(), labels, annotated)


def squared_error_where(p: Tensor, labels: Tensor, where: Tensor) -> Tensor:
    """Σ M Σ_c (p_c − y_c)² / (Σ M + 1e-16) over the foreground classes c, with M (L, i, j, k) of voxels that count."""
    target = _one_hot(labels, p.shape[1])[:, 1:]
    errors = (p[:, 1:] - target.float()).square().sum(dim=1)
    return (errors * where).sum() / (where.sum() + 1e-16)


def _whole(annotated: Tensor | None) -> bool:
    """Whether every case annotates all classes."""
    return annotated is None or bool(annotated.all())


def _one_hot(labels: Tensor, classes: int) -> Tensor:
    """(L, C, i, j, k) of bool."""
    return labels == torch.arange(classes, device=labels.device)[None, :, None, None, None]
