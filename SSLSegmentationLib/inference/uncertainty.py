"""The measures of doubt: how undecided the model is at a voxel, and how far its opinions differ there.

Entropy is divided by the logarithm of the number of classes: 0 where one class is certain, 1 where all are equally
likely. Mutual information is the part of it that comes from disagreement between passes, members or mirrored copies.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def entropy(probabilities: Tensor) -> Tensor:
    """Normalised entropy of (classes, …) probabilities."""
    import torch

    return -torch.special.xlogy(probabilities, probabilities).sum(dim=0) / math.log(probabilities.shape[0])


def entropy_of_logits(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Normalised entropy of the softmax of (classes, …) logits; the logits are overwritten to save memory."""
    logits -= logits.amax(dim=0)
    if temperature != 1.0:
        logits /= temperature
    exponentials = logits.exp()
    total = exponentials.sum(dim=0)
    weighted = exponentials.mul_(logits).sum(dim=0)
    return total.log().sub_(weighted.div_(total)).div_(math.log(logits.shape[0])).clamp_(0.0, 1.0)


def mutual_information(members: Tensor) -> Tensor:
    """Normalised mutual information of (members, classes, …) probabilities."""
    import torch

    return (entropy(members.mean(dim=0)) - torch.stack([entropy(member) for member in members]).mean(dim=0)).clamp(0, 1)


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The one number by which (classes, n) logits are divided to make the likelihood of (n,) labels greatest."""
    import torch
    from scipy.optimize import minimize_scalar

    logits, labels = logits.double().T, labels.long()

    def loss(log_temperature: float) -> float:
        return float(torch.nn.functional.cross_entropy(logits / math.exp(log_temperature), labels))

    return math.exp(minimize_scalar(loss, bounds=(math.log(0.05), math.log(20.0)), method="bounded").x)
