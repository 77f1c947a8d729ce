"""Losses without labels: what one network is taught by another, or by its own average. Teachers get no gradient.

Logits and probabilities are (U, C, i, j, k); targets and masks of voxels (U, i, j, k).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from trainer.parts.contrast import nothing


def pseudo_cross_entropy(
    logits: Tensor, target: Tensor, reliable: Tensor | None = None, largest_weight: float | None = 5.0
) -> Tensor:
    """(N / N_reliable) · mean over reliable voxels of CE(logits, target).

    The factor, at most `largest_weight`, is U2PL's. It is there because few reliable voxels are early in training or
    in hard scans, which then count more, and not less.
    """
    losses = functional.cross_entropy(logits.float(), target.detach(), reduction="none")
    if reliable is None:
        return losses.mean()
    count = int(reliable.sum())
    if count == 0:
        return nothing(logits)
    factor = reliable.numel() / count
    if largest_weight is not None:
        factor = min(factor, largest_weight)
    return factor * losses[reliable].mean()


def rectified_cross_entropy(
    student: Tensor, teacher: Tensor, *, soft: bool = False, temperature: float = 1.0
) -> Tensor:
    """mean_v( e^{−KL_v} · CE(s_v, argmax t_v) ) + mean_v(KL_v), with KL_v = Σ q (log q − log p), q = softmax(t).

    Where the two disagree much, the teacher's label counts little. `soft`: q = softmax(t / temperature), and the
    cross-entropy is against q.
    """
    log_p = student.float().log_softmax(dim=1)
    log_q = (teacher.detach().float() / (temperature if soft else 1.0)).log_softmax(dim=1)
    q = log_q.exp()
    divergence = (q * (log_q - log_p)).sum(dim=1)
    losses = -(q * log_p).sum(dim=1) if soft else functional.nll_loss(log_p, log_q.argmax(dim=1), reduction="none")
    return ((-divergence).exp() * losses).mean() + divergence.mean()


def cosine_distance(first: Tensor, second: Tensor) -> Tensor:
    """mean_v(1 − cos(p_A(v), p_B(v))) over the classes; both networks get its gradient."""
    p, q = first.float().softmax(dim=1), second.float().softmax(dim=1)
    return (1 - functional.cosine_similarity(p, q, dim=1)).mean()


def squared_difference(student: Tensor, target: Tensor, where: Tensor | None = None) -> Tensor:
    """Σ_v M_v Σ_c (p_c − q_c)² / (C Σ M + 1e-16) of the student's softmax p and a teacher's probabilities q."""
    differences = (student.float().softmax(dim=1) - target.detach()).square().mean(dim=1)
    if where is None:
        return differences.mean()
    return (differences * where).sum() / (where.sum() + 1e-16)


def pseudo_labels(logits: Tensor) -> Tensor:
    """The likeliest class of every voxel, without gradient."""
    return torch.argmax(logits.detach(), dim=1)
