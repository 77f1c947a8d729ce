"""A residual U-Net with standardised weights, which trains with a single scan in a batch: 18.96 million numbers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

_GROUPS = 8


class StandardisedConv3d(nn.Conv3d):
    """A convolution whose kernels have mean 0 and variance 1, one by one, whatever the optimiser makes of them."""

    def forward(self, x: Tensor) -> Tensor:
        kernels = self.weight.flatten(1)
        kernels = kernels - kernels.mean(dim=1, keepdim=True)
        kernels = kernels / torch.sqrt(kernels.var(dim=1, keepdim=True) + 1e-12)
        return self._conv_forward(x, kernels.view_as(self.weight), self.bias)


def activated(channels_in: int, channels: int, stride: int = 1, dilation: int = 1, kernel: int = 3) -> list[nn.Module]:
    """Normalisation, ReLU, convolution: in this order."""
    padding = dilation * (kernel // 2)
    return [
        nn.GroupNorm(_GROUPS, channels_in),
        nn.ReLU(inplace=True),
        StandardisedConv3d(channels_in, channels, kernel, stride, padding, dilation, bias=False),
    ]


class PreactivatedBlock(nn.Module):
    def __init__(self, channels_in: int, channels: int, dilation: int = 1) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            *activated(channels_in, channels, dilation=dilation), *activated(channels, channels, dilation=dilation)
        )
        # The residual's first ReLU works in place on the output of a normalisation, so x itself is left alone.
        self.shortcut = nn.Identity()
        if channels_in != channels:
            self.shortcut = nn.Sequential(*activated(channels_in, channels, kernel=1))

    def forward(self, x: Tensor) -> Tensor:
        return self.residual(x) + self.shortcut(x)


class WSResUNet3D(nn.Module):
    """Four levels and a dilated stage at the coarsest, skips that are added, group normalisation before each ReLU.

    Sides have to be multiples of 8, and widths of 8.
    """

    def __init__(
        self,
        out_channels: int,
        in_channels: int = 1,
        widths: Sequence[int] = (32, 64, 128, 256),
        blocks: Sequence[int] = (1, 2, 2, 2),
        dilated_blocks: int = 2,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if len(widths) != len(blocks):
            raise ValueError(f"{len(widths)} widths, but {len(blocks)} numbers of blocks")
        self.stem = StandardisedConv3d(in_channels, widths[0], 3, padding=1, bias=False)
        self.stages, self.downs = nn.ModuleList(), nn.ModuleList()
        for level, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            if level:
                self.downs.append(nn.Sequential(*activated(widths[level - 1], width, stride=2)))
            self.stages.append(nn.Sequential(*(PreactivatedBlock(width, width) for _ in range(count))))
        dilated = (PreactivatedBlock(widths[-1], widths[-1], dilation=2) for _ in range(dilated_blocks))
        self.dilated = nn.Sequential(*dilated)
        before, activation, convolution = activated(widths[-1], widths[-2])
        self.narrow = nn.Sequential(before, activation, nn.Dropout3d(dropout), convolution)
        self.enlarge = nn.Upsample(scale_factor=2, mode="nearest")
        steps = (*reversed(widths[:-1]), widths[0])
        self.decoder = nn.ModuleList(PreactivatedBlock(width, narrower) for width, narrower in pairwise(steps))
        self.finish = nn.Sequential(nn.GroupNorm(_GROUPS, widths[0]), nn.ReLU(inplace=True))
        self.classifier = nn.Conv3d(widths[0], out_channels, 1)
        self.channels = {"feat": widths[0], "bottleneck": widths[-1]}

    def bottleneck(self, image: Tensor) -> Tensor:
        return self._encode(image)[-1]

    def features(self, image: Tensor) -> dict[str, Tensor | list[Tensor]]:
        skips = self._encode(image)
        bottleneck = skips.pop()
        x = self.narrow(bottleneck)
        for block, skip in zip(self.decoder, reversed(skips), strict=True):
            x = block(self.enlarge(x) + skip)
        feat = self.finish(x)
        return {"logits": self.classifier(feat), "feat": feat, "bottleneck": bottleneck, "skips": skips}

    def forward(self, image: Tensor) -> Tensor:
        return self.features(image)["logits"]

    def _encode(self, image: Tensor) -> list[Tensor]:
        """The levels of the encoder, from fine on."""
        levels = [self.stages[0](self.stem(image))]
        for down, stage in zip(self.downs, self.stages[1:], strict=True):
            levels.append(stage(down(levels[-1])))
        levels[-1] = self.dilated(levels[-1])
        return levels
