"""A 3D ResNet-34 as the encoder of V-Net's decoder: 17.9 million numbers with its usual widths."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from SSLSegmentationLib.models.nets.layers import AddingDecoder, initialise, normalisation


class BasicBlock(nn.Module):
    """Two convolutions and a shortcut around them, which is a 1×1×1 convolution where the size changes."""

    def __init__(self, channels_in: int, channels: int, stride: int, norm: str) -> None:
        super().__init__()
        normalise = normalisation(norm)
        self.residual = nn.Sequential(
            nn.Conv3d(channels_in, channels, 3, stride, padding=1, bias=False),
            normalise(channels),
            nn.ReLU(inplace=True),
            nn.Conv3d(channels, channels, 3, padding=1, bias=False),
            normalise(channels),
        )
        self.shortcut = nn.Identity()
        if stride != 1 or channels_in != channels:
            self.shortcut = nn.Sequential(nn.Conv3d(channels_in, channels, 1, stride, bias=False), normalise(channels))
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.residual(x) + self.shortcut(x))


class ResVNet3D(nn.Module):
    """A stem of 7×7×7 at full resolution, then stages of residual blocks that each begin with a stride of 2.

    Sides have to be multiples of 2 for every stage: of 16 with four.
    """

    def __init__(
        self,
        out_channels: int,
        in_channels: int = 1,
        widths: Sequence[int] = (16, 32, 64, 128, 256),
        blocks: Sequence[int] = (3, 4, 6, 3),
        convolutions: Sequence[int] = (1, 2, 3, 3),
        dropout: float = 0.5,
        norm: str = "batch",
    ) -> None:
        super().__init__()
        if not len(widths) - 1 == len(blocks) == len(convolutions):
            raise ValueError(f"{len(widths)} widths need {len(widths) - 1} numbers of blocks and of convolutions")
        widths = tuple(widths)
        self.stem = nn.Sequential(
            nn.Conv3d(in_channels, widths[0], 7, padding=3, bias=False),
            normalisation(norm)(widths[0]),
            nn.ReLU(inplace=True),
        )
        self.stages = nn.ModuleList(
            nn.Sequential(
                *(BasicBlock(width if number else before, width, 1 if number else 2, norm) for number in range(count))
            )
            for before, width, count in zip(widths, widths[1:], blocks, strict=False)
        )
        self.decoder = AddingDecoder(widths, tuple(convolutions), norm)
        self.dropout = nn.Dropout3d(dropout)
        self.classifier = nn.Conv3d(widths[0], out_channels, 1)
        initialise(self)
        self.channels = {"feat": widths[0], "bottleneck": widths[-1]}

    def bottleneck(self, image: Tensor) -> Tensor:
        return self._encode(image)[-1]

    def features(self, image: Tensor) -> dict[str, Tensor | list[Tensor]]:
        skips = self._encode(image)
        bottleneck = skips.pop()
        feat = self.decoder(bottleneck, skips)
        logits = self.classifier(self.dropout(feat))
        return {"logits": logits, "feat": feat, "bottleneck": bottleneck, "skips": skips}

    def forward(self, image: Tensor) -> Tensor:
        return self.features(image)["logits"]

    def _encode(self, image: Tensor) -> list[Tensor]:
        """The levels of the encoder, from fine on."""
        levels = [self.stem(image)]
        for stage in self.stages:
            levels.append(stage(levels[-1]))
        return levels
