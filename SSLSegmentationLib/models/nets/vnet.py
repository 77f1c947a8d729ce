"""V-Net as semi-supervised segmentation uses it: 9.45 million numbers with its usual widths."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from SSLSegmentationLib.models.nets.layers import AddingDecoder, Convolutions, initialise, normalisation


class VNet3D(nn.Module):
    """Plain convolutions, strided ones between the levels, skips that are added.

    Sides have to be multiples of 2 for every level but the first: of 16 with five.
    """

    def __init__(
        self,
        out_channels: int,
        in_channels: int = 1,
        widths: Sequence[int] = (16, 32, 64, 128, 256),
        convolutions: Sequence[int] = (1, 2, 3, 3, 3),
        dropout: float = 0.5,
        norm: str = "batch",
    ) -> None:
        super().__init__()
        if len(widths) != len(convolutions):
            raise ValueError(f"{len(widths)} widths, but {len(convolutions)} numbers of convolutions")
        widths, convolutions = tuple(widths), tuple(convolutions)
        self.blocks, self.downs = nn.ModuleList(), nn.ModuleList()
        for level, (count, width) in enumerate(zip(convolutions, widths, strict=True)):
            self.blocks.append(Convolutions(count, width if level else in_channels, width, norm))
            if level:
                down = nn.Conv3d(widths[level - 1], width, 2, stride=2)
                self.downs.append(nn.Sequential(down, normalisation(norm)(width), nn.ReLU(inplace=True)))
        self.bottleneck_dropout = nn.Dropout3d(dropout)
        self.decoder = AddingDecoder(widths, convolutions, norm)
        self.dropout = nn.Dropout3d(dropout)
        self.classifier = nn.Conv3d(widths[0], out_channels, 1)
        initialise(self)
        self.channels = {"feat": widths[0], "bottleneck": widths[-1]}

    def bottleneck(self, image: Tensor) -> Tensor:
        return self._encode(image)[-1]

    def features(self, image: Tensor) -> dict[str, Tensor | list[Tensor]]:
        skips = self._encode(image)
        bottleneck = skips.pop()
        feat = self.decoder(self.bottleneck_dropout(bottleneck), skips)
        logits = self.classifier(self.dropout(feat))
        return {"logits": logits, "feat": feat, "bottleneck": bottleneck, "skips": skips}

    def forward(self, image: Tensor) -> Tensor:
        return self.features(image)["logits"]

    def _encode(self, image: Tensor) -> list[Tensor]:
        """The levels of the encoder, from fine on."""
        levels = [self.blocks[0](image)]
        for down, block in zip(self.downs, self.blocks[1:], strict=True):
            levels.append(block(down(levels[-1])))
        return levels
