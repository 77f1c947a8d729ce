"""Where networks are unsure, and where they disagree. Nothing here has a gradient."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor


def entropy(p: Tensor) -> Tensor:
    """−Σ_c p_c log p_c of (batch, class, …) probabilities, in nats: 0 to log C."""
    p = p.detach().float()
    return -torch.special.xlogy(p, p).sum(dim=1)


def most_certain(doubt: Tensor, keep: float, groups: Tensor | None = None) -> Tensor:
    """Whether a voxel is among the part `keep` (0 to 1) with the least doubt.

    With `groups`, the class predicted at each voxel, that part is kept of every class: otherwise what is certain is
    nearly all background, of which there is most.
    """
    if keep >= 1:
        return torch.ones_like(doubt, dtype=torch.bool)
    if groups is None:
        return doubt <= _percentile(doubt, keep)
    kept = torch.zeros_like(doubt, dtype=torch.bool)
    for group in groups.unique().tolist():
        members = groups == group
        kept |= members & (doubt <= _percentile(doubt[members], keep))
    return kept


def confident_disagreement(first: Tensor, second: Tensor, confidence: float = 0.6) -> Tensor:
    """Voxels where the foreground that one network is confident of is not that of the other.

    With two classes: [argmax p_A = 1 ∧ max p_A ≥ confidence] XOR [the same of B].
    """
    return _confident_foreground(first, confidence) != _confident_foreground(second, confidence)


def mean_of_passes(network: Callable[[Tensor], Tensor], image: Tensor, passes: int, noise: float) -> Tensor:
    """Mean softmax of several passes, each with its own noise on the image, and its own drop-out where there is one."""
    with torch.no_grad():
        total = sum(network(noisy(image, noise)).float().softmax(dim=1) for _ in range(passes))
    return total / passes


def noisy(image: Tensor, deviation: float) -> Tensor:
    """Gaussian noise, nowhere more than twice its standard deviation."""
    noise = torch.randn_like(image) * deviation
    return image + noise.clamp_(-2 * deviation, 2 * deviation)


def _confident_foreground(p: Tensor, confidence: float) -> Tensor:
    """The likeliest class where its probability reaches `confidence`, else the background."""
    highest, chosen = p.detach().max(dim=1)
    return chosen * (highest >= confidence)


def _percentile(values: Tensor, part: float) -> Tensor:
    """The smallest of the values that at least this part of them does not exceed."""
    rank = min(max(math.ceil(part * values.numel()), 1), values.numel())
    return values.flatten().kthvalue(rank).values
