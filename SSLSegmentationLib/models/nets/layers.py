"""What several of the networks are made of."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn


def normalisation(kind: str) -> Callable[[int], nn.Module]:
    """A layer of normalisation by its name, to be made for a number of channels.

    "batch" is what the papers use; "instance" does not depend on what else is in a batch of few scans.
    """
    if kind == "batch":
        return nn.BatchNorm3d
    if kind == "instance":
        return lambda channels: nn.InstanceNorm3d(channels, affine=True)
    raise ValueError(f'norm is "{kind}", not "batch" or "instance"')


def initialise(network: nn.Module) -> None:
    """Kaiming's normal numbers for convolutions; normalisation begins as itself."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv3d):
            nn.init.kaiming_normal_(layer.weight)
        elif isinstance(layer, (nn.BatchNorm3d, nn.InstanceNorm3d)):
            nn.init.ones_(layer.weight)
            nn.init.zeros_(layer.bias)


class Convolutions(nn.Sequential):
    """A row of 3×3×3 convolutions, each with normalisation and ReLU."""

    def __init__(self, count: int, channels_in: int, channels: int, norm: str) -> None:
        layers: list[nn.Module] = []
        for number in range(count):
            layers += [
                nn.Conv3d(channels if number else channels_in, channels, 3, padding=1),
                normalisation(norm)(channels),
                nn.ReLU(inplace=True),
            ]
        super().__init__(*layers)


class AddingDecoder(nn.Module):
    """V-Net's decoder: double the resolution, add the encoder's features of that size, convolve."""

    def __init__(self, widths: tuple[int, ...], convolutions: tuple[int, ...], norm: str) -> None:
        super().__init__()
        self.ups, self.blocks = nn.ModuleList(), nn.ModuleList()
        for level in reversed(range(len(widths) - 1)):
            width = widths[level]
            up = nn.ConvTranspose3d(widths[level + 1], width, 2, stride=2)
            self.ups.append(nn.Sequential(up, normalisation(norm)(width), nn.ReLU(inplace=True)))
            self.blocks.append(Convolutions(convolutions[level], width, width, norm))

    def forward(self, bottleneck: Tensor, skips: list[Tensor]) -> Tensor:
        x = bottleneck
        for up, block, skip in zip(self.ups, self.blocks, reversed(skips), strict=True):
            x = block(up(x) + skip)
        return x
