"""Flat networks that see a volume slice by slice (k), behind the same (batch, channel, i, j, k) as the others."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.nets.basic_unet import BasicUNet
from torch import Tensor, nn


def into_slices(volume: Tensor) -> Tensor:
    """(batch, channel, i, j, k) as (batch × k, channel, i, j)."""
    return volume.permute(0, 4, 1, 2, 3).flatten(0, 1)


def from_slices(slices: Tensor, depth: int) -> Tensor:
    """The way back."""
    return slices.unflatten(0, (-1, depth)).permute(0, 2, 3, 4, 1)


def features_of_volume(features: dict[str, Tensor | list[Tensor]], depth: int) -> dict[str, Tensor | list[Tensor]]:
    """Features of slices as features of the volume they were cut from."""
    return {
        name: [from_slices(item, depth) for item in value] if isinstance(value, list) else from_slices(value, depth)
        for name, value in features.items()
    }


class DoubleConvolution(nn.Sequential):
    def __init__(self, channels_in: int, channels: int, dropout: float) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels, 3, padding=1),
            nn.InstanceNorm2d(channels),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.InstanceNorm2d(channels),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Dropout(dropout),
        )


def encoder_of_slices(channels_in: int, widths: Sequence[int], dropout: float) -> nn.ModuleList:
    """The blocks of all levels, from fine on; between them sides are halved."""
    return nn.ModuleList(
        DoubleConvolution(before, width, dropout) for before, width in zip((channels_in, *widths), widths, strict=False)
    )


class SliceUNet(nn.Module):
    """PolyCL's U-Net: instance normalisation without numbers of its own, leaky ReLU; 1.96 million numbers.

    The sides i and j have to be multiples of 2 for every level but the first: of 16 with five.
    """

    def __init__(
        self,
        out_channels: int,
        in_channels: int = 1,
        widths: Sequence[int] = (16, 32, 64, 128, 256),
        dropout: float = 0.25,
    ) -> None:
        super().__init__()
        widths = tuple(widths)
        self.encoder = encoder_of_slices(in_channels, widths, dropout)
        self.decoder = nn.ModuleList(
            DoubleConvolution(widths[level] + widths[level + 1], widths[level], dropout)
            for level in reversed(range(len(widths) - 1))
        )
        self.shrink = nn.MaxPool2d(2)
        self.enlarge = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.classifier = nn.Conv2d(widths[0], out_channels, 1)
        self.channels = {"feat": widths[0], "bottleneck": widths[-1]}

    def bottleneck(self, image: Tensor) -> Tensor:
        return from_slices(self._encode(image)[-1], image.shape[-1])

    def features(self, image: Tensor) -> dict[str, Tensor | list[Tensor]]:
        skips = self._encode(image)
        x = bottleneck = skips.pop()
        for block, skip in zip(self.decoder, reversed(skips), strict=True):
            x = block(torch.cat([skip, self.enlarge(x)], dim=1))
        features = {"logits": self.classifier(x), "feat": x, "bottleneck": bottleneck, "skips": skips}
        return features_of_volume(features, image.shape[-1])

    def forward(self, image: Tensor) -> Tensor:
        return self.features(image)["logits"]

    def _encode(self, image: Tensor) -> list[Tensor]:
        """The levels of the encoder, from fine on, of every slice."""
        levels = [self.encoder[0](into_slices(image))]
        for block in self.encoder[1:]:
            levels.append(block(self.shrink(levels[-1])))
        return levels


class SliceBasicUNet(BasicUNet):
    """MONAI's BasicUNet for slices."""

    def __init__(
        self,
        out_channels: int,
        in_channels: int = 1,
        features: Sequence[int] = (32, 32, 64, 128, 256, 32),
        act: str | tuple = ("LeakyReLU", {"negative_slope": 0.1, "inplace": True}),
        norm: str | tuple = ("instance", {"affine": True}),
        dropout: float = 0.0,
    ) -> None:
        super().__init__(2, in_channels, out_channels, tuple(features), act, norm, dropout=dropout)

    def forward(self, image: Tensor) -> Tensor:
        return from_slices(super().forward(into_slices(image)), image.shape[-1])
