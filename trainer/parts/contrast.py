"""Losses that compare vectors: pulled together, or pulled together and pushed apart. All in float32."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_SHORTEST = 1e-4
"""Vectors much shorter than this are not stretched to length one: a constant image has features of zero, and dividing
by their length would make the gradient explode."""
_NEVER = -1e4  # a similarity that no exponential notices, and finite, so that its gradient is zero and not undefined


def unit(vectors: Tensor, dim: int = -1) -> Tensor:
    """The vectors, in float32, divided by their length."""
    vectors = vectors.float()
    return vectors * torch.rsqrt(vectors.square().sum(dim, keepdim=True) + _SHORTEST**2)


def in_full(tensor: Tensor) -> torch.autocast:
    """Matrix products in float32, where networks compute in half: three digits are not enough for a similarity."""
    return torch.autocast(tensor.device.type, enabled=False)


def nothing(*tensors: Tensor) -> Tensor:
    """A loss of zero that is connected to the tensors, for batches that offer nothing to compare."""
    return sum((tensor.flatten()[:0].float().sum() for tensor in tensors), torch.zeros((), device=tensors[0].device))


def byol_distance(prediction: Tensor, target: Tensor) -> Tensor:
    """2 − 2 cos(q, z′) of each row: 0 where they point the same way, 4 where opposite. The target gets no gradient."""
    return 2 - 2 * (unit(prediction) * unit(target.detach())).sum(-1)


def nt_xent(vectors: Tensor, classes: Tensor, temperature: float) -> Tensor:
    """Contrast with class labels: every two vectors of one class are a positive pair, other classes are negatives.

        mean over pairs (a, p) of  −log( e^{s_ap/τ} / (e^{s_ap/τ} + Σ_n e^{s_an/τ}) ),   s = cosine, n of another class

    Other positives of `a` are not in the denominator, so a class is never pushed apart from itself. With every class
    twice (the two views of an image) this is SimCLR's loss. Without a pair, or without negatives, it is zero.
    """
    rows = unit(vectors)
    with in_full(rows):
        similarity = rows @ rows.T / temperature
    same = classes[:, None] == classes[None, :]
    pairs = same & ~torch.eye(len(classes), dtype=torch.bool, device=classes.device)
    if not pairs.any() or same.all():
        return nothing(vectors)
    negatives = similarity.masked_fill(same, _NEVER).logsumexp(1, keepdim=True)
    return functional.softplus(negatives - similarity)[pairs].mean()


def triplet_infonce(anchor: Tensor, positive: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    """One positive against n negatives (batch, n, d), mean over the batch.

    −log( e^{cos(z,z⁺)/τ} / (e^{cos(z,z⁺)/τ} + Σ e^{cos(z,z⁻)/τ}) );  with n = 1: softplus((cos⁻ − cos⁺)/τ)
    """
    anchor, positive, negatives = unit(anchor), unit(positive), unit(negatives)
    near = (anchor * positive).sum(-1, keepdim=True) / temperature
    far = (anchor[:, None] * negatives).sum(-1) / temperature
    return functional.softplus(far.logsumexp(1, keepdim=True) - near).mean()
