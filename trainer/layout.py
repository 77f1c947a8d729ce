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
    return _Normalised.apply(x, norm.weight, norm.bias, norm.eps)


class _Normalised(Function):
    """Batch normalisation of every image by itself. torch's knows the layout, and sums up in f32 what comes in half."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
        normalise = torch.ops.aten.native_batch_norm
        found = [normalise(image, weight, bias, None, None, True, 0.0, eps) for image in x.split(1)]
        images, means, scales = zip(*found, strict=True)
        ctx.save_for_backward(x, weight, *means, *scales)
        ctx.eps = eps
        return torch.cat(images)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, *statistics = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=_FORMATS[gradient.dim()])
        means, scales = statistics[: len(x)], statistics[len(x) :]
        asked = [True, weight is not None, weight is not None]
        differentiate = torch.ops.aten.native_batch_norm_backward
        found = [
            differentiate(of_image, image, weight, None, None, mean, scale, True, ctx.eps, asked)
            for of_image, image, mean, scale in zip(gradient.split(1), x.split(1), means, scales, strict=True)
        ]
        of_images, of_weights, of_biases = zip(*found, strict=True)
        return torch.cat(of_images), *(None if weight is None else sum(one) for one in (of_weights, of_biases)), None
