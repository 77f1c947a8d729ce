"""Convolutions of volumes in bf16, with the gradients that torch's own (2.12.1 with oneDNN) lacks on processors.

Where a volume has fewer voxels along an axis than a kernel, as deep levels and thick slices do, its gradient of the
kernel holds what lay in memory before; with kernels of seven voxels it even writes where it must not. With three voxels
that are volumes of two. There is next to nothing to compute in these layers, so they compute in full.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FullWhereSmallConv3d(nn.Conv3d):
    def forward(self, input: Tensor) -> Tensor:
        half = torch.is_autocast_enabled(input.device.type)
        if not half or all(side >= kernel for side, kernel in zip(input.shape[2:], self.kernel_size, strict=True)):
            return super().forward(input)
        with torch.autocast(input.device.type, enabled=False):
            return super().forward(input.float())


def mend_small_volumes(network: nn.Module) -> None:
    """Let its convolutions of volumes be these. Weights and their names stay as they are."""
    for module in network.modules():
        if type(module) is nn.Conv3d and max(module.kernel_size) > 2:
            module.__class__ = FullWhereSmallConv3d
