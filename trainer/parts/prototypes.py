"""Contrast between unsure voxels and what the classes look like where a network is sure."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainer.parts.contrast import in_full, nothing, unit

FEWEST_VOXELS = 16
"""A mean of fewer voxels than this says little about a class, and that of none is not a number."""


def class_means(feat: Tensor, target: Tensor, where: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Mean feature (C, F) of the voxels `where` whose target is each class, and whether they were enough (C,).

    feat (U, F, i, j, k); target and where (U, i, j, k). The mean of a class without enough voxels is zero.
    """
    belongs = torch.nn.functional.one_hot(target, classes).flatten(1, -2) * where.flatten(1)[:, :, None]
    counts = belongs.sum(dim=(0, 1))
    enough = counts >= FEWEST_VOXELS
    with in_full(feat):
        sums = (feat.float().flatten(2) @ belongs.float()).sum(dim=0).T
    means = sums / counts.clamp(min=1)[:, None]
    return torch.where(enough[:, None], means, torch.zeros_like(means)), enough


class PrototypeMemory(nn.Module):
    """A running average of the classes' mean features, since one batch shows few voxels of a small class."""

    def __init__(self, classes: int, channels: int, momentum: float = 0.99) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("means", torch.zeros(classes, channels))
        self.register_buffer("seen", torch.zeros(classes, dtype=torch.bool))

    def update(self, means: Tensor, enough: Tensor) -> None:
        """c ← m c + (1 − m) c_batch for classes with enough voxels; the first mean of a class is taken as it is."""
        mixed = torch.where(self.seen[:, None], torch.lerp(means.detach(), self.means, self.momentum), means.detach())
        self.means.copy_(torch.where(enough[:, None], mixed, self.means))
        self.seen |= enough


def draw_voxels(candidates: Tensor, groups: Tensor, most: int) -> Tensor:
    """Indices into the flattened voxels: at most `most` of the candidates of each group, by chance."""
    chosen = []
    for group in groups[candidates].unique().tolist():
        voxels = (candidates & (groups == group)).flatten().nonzero()[:, 0]
        chosen.append(voxels[torch.randperm(len(voxels), device=voxels.device)[:most]])
    return torch.cat(chosen) if chosen else torch.zeros(0, dtype=torch.long, device=candidates.device)


def prototype_contrast(feat: Tensor, target: Tensor, voxels: Tensor, means: Tensor, seen: Tensor, tau: float) -> Tensor:
    """−log P(ŷ_v | v),  P(k | v) = softmax_k( −‖f̂_v − ĉ_k‖² / τ ), hats for vectors of length one.

    The mean of each class ŷ, and of these the mean: of the background there are many times more unsure voxels than of
    the others. `voxels` are flat indices into feat (U, F, i, j, k) and target (U, i, j, k). Only classes that have a
    prototype take part; with fewer than two of them there is nothing to contrast.
    """
    rows, wanted = _rows(feat, voxels), target.flatten()[voxels]
    usable = seen[wanted]
    if int(seen.sum()) < 2 or not bool(usable.any()):
        return nothing(feat)
    # −‖f̂ − ĉ‖² = 2 f̂·ĉ − ‖ĉ‖² − ‖f̂‖², and the last is the same for every class.
    with in_full(feat):
        prototypes = unit(means.detach())
        nearness = 2 * unit(rows[usable]) @ prototypes.T - prototypes.square().sum(dim=1)
    scores = (nearness / tau).masked_fill(~seen[None], -torch.inf)
    found = wanted[usable]
    counts = found.bincount(minlength=len(seen))
    weights = (1 / counts[found]) / (counts > 0).sum()
    return (weights * torch.nn.functional.cross_entropy(scores, found, reduction="none")).sum()


def prototype_distance(
    feat: Tensor, target: Tensor, voxels: Tensor, means: Tensor, seen: Tensor, margin: float = 1.0
) -> Tensor:
    """mean_v ‖f̂_v − ĉ_ŷ‖ + mean over pairs of classes of max(0, margin − ‖ĉ_i − ĉ_j‖).

    Voxels are drawn to their class, whose mean is held still; means, which have to come with their graph, are pushed
    apart.
    """
    rows, wanted = _rows(feat, voxels), target.flatten()[voxels]
    usable = seen[wanted]
    loss = nothing(feat)
    if bool(usable.any()):
        loss = loss + _length(unit(rows[usable]) - unit(means.detach())[wanted[usable]]).mean()
    present = unit(means[seen])
    if len(present) >= 2:
        first, second = torch.triu_indices(len(present), len(present), offset=1, device=feat.device)
        loss = loss + (margin - _length(present[first] - present[second])).clamp(min=0).mean()
    return loss


def _rows(feat: Tensor, voxels: Tensor) -> Tensor:
    return feat.float().movedim(1, -1).flatten(0, -2)[voxels]


def _length(vectors: Tensor) -> Tensor:
    """With a gradient of zero instead of none for the vector of zeros."""
    return (vectors.square().sum(dim=-1) + 1e-12).sqrt()
