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
        feat = self._decode(self.bottleneck_dropout(bottleneck), skips)
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

    def _decode(self, bottleneck: Tensor, skips: list[Tensor]) -> Tensor:
        return self.decoder(bottleneck, skips)


class FoldedVNet3D(VNet3D):
    """A V-Net on half the grid: blocks of 2×2×2 voxels are folded into channels first and unfolded last.

    Layers at full resolution are most of what a small network costs on a processor; here there is one that folds, one
    that unfolds, and the classifier. Sides have to be multiples of 2 for every level: of 16 with four.
    """

    def __init__(
        self,
        out_channels: int,
        in_channels: int = 1,
        widths: Sequence[int] = (16, 32, 64, 128),
        convolutions: Sequence[int] = (2, 2, 2, 2),
        feat: int = 8,
        dropout: float = 0.1,
        norm: str = "instance",
    ) -> None:
        widest = widths[0]
        super().__init__(out_channels, widest, widths, convolutions, dropout, norm)
        normalise = normalisation(norm)
        fold, unfold = nn.Conv3d(in_channels, widest, 2, stride=2), nn.ConvTranspose3d(widest, feat, 2, stride=2)
        self.fold = nn.Sequential(fold, normalise(widest), nn.ReLU(inplace=True))
        self.unfold = nn.Sequential(unfold, normalise(feat), nn.ReLU(inplace=True))
        self.classifier = nn.Conv3d(feat, out_channels, 1)
        initialise(self)
        self.channels = {"feat": feat, "bottleneck": widths[-1]}

    def _encode(self, image: Tensor) -> list[Tensor]:
        return super()._encode(self.fold(image))

    def _decode(self, bottleneck: Tensor, skips: list[Tensor]) -> Tensor:
        return self.unfold(super()._decode(bottleneck, skips))
