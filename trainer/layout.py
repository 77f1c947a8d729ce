"""Layers for slices and volumes whose channels come last, where torch's own (2.12.1) leave that layout.

torch's instance normalisation copies them into the other layout and back, forwards and backwards: a fifth of a training
step. And on a processor its gradient is wrong where a batch has a single image and the gradient's channels come last.
Its convolution of single voxels does the same in volumes; it is a product of matrices, and needs no copy.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional

_FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}


class ChannelsLastNorm2d(nn.InstanceNorm2d):
    def forward(self, input: Tensor) -> Tensor:
        return _normalised(self, input)


class ChannelsLastNorm3d(nn.InstanceNorm3d):
    def forward(self, input: Tensor) -> Tensor:
        return _normalised(self, input)


class PointwiseConv3d(nn.Conv3d):
    """Of one voxel each: the same linear function of the channels everywhere."""

    def forward(self, input: Tensor) -> Tensor:
        return functional.linear(input.movedim(1, -1), self.weight.flatten(1), self.bias).movedim(-1, 1)


_OURS = {
    4: {nn.InstanceNorm2d: ChannelsLastNorm2d},
    5: {nn.InstanceNorm3d: ChannelsLastNorm3d, nn.Conv3d: PointwiseConv3d},
}


def keep_channels_last(network: nn.Module, axes: Collection[int] = (4, 5)) -> None:
    """Let the layers of data with so many axes be these. Weights and their names stay as they are."""
    ours = {stock: layer for count in axes for stock, layer in _OURS[count].items()}
    for module in network.modules():
        if type(module) in ours and _fits(module):
            module.__class__ = ours[type(module)]


def _fits(module: nn.Module) -> bool:
    """Whether ours computes what it does: of convolutions, those that look at every voxel and at nothing else."""
    if isinstance(module, nn.Conv3d):
        found = (module.kernel_size, module.stride, module.padding, module.groups)
        return found == ((1, 1, 1), (1, 1, 1), (0, 0, 0), 1)
    return not module.track_running_stats


def _normalised(norm: nn.InstanceNorm2d | nn.InstanceNorm3d, x: Tensor) -> Tensor:
    if x[0, 0].numel() < 2:
        raise ValueError(f"One voxel has no spread to be normalised by: {tuple(x.shape)} is too small.")
    x = x.contiguous(memory_format=_FORMATS[x.dim()])
    return _Normalised.apply(x.float(), norm.weight, norm.bias, norm.eps).to(x.dtype)


class _Normalised(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
        centred = x - _mean(x)
        scale = (_mean(centred * centred) + eps).rsqrt()
        ctx.save_for_backward(centred, scale, weight)
        factor = scale if weight is None else scale * _spread(weight, x)
        return centred * factor if bias is None else torch.addcmul(_spread(bias, x), centred, factor)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        centred, scale, weight = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=_FORMATS[gradient.dim()])
        mean, along = _mean(gradient), _mean(gradient * centred)
        factor = scale if weight is None else scale * _spread(weight, centred)
        of_input = torch.addcmul(gradient - mean, centred, -scale.square() * along).mul_(factor)
        if weight is None:
            return of_input, None, None, None
        voxels = centred[0, 0].numel()
        return of_input, (along * scale).sum(0).flatten() * voxels, mean.sum(0).flatten() * voxels, None


def _mean(x: Tensor) -> Tensor:
    """Of each channel, (batch, channels, 1, 1, …)."""
    rows = x.movedim(1, -1).flatten(1, -2)  # a view: sums along it are fastest
    return (rows.sum(dim=1) / rows.shape[1])[(..., *[None] * (x.dim() - 2))]


def _spread(of_channels: Tensor, x: Tensor) -> Tensor:
    return of_channels.view(1, -1, *[1] * (x.dim() - 2))
