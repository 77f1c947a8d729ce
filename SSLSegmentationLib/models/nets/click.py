"""A small network that answers clicks, boxes and masks on pictures, and how these are drawn for it.

A picture is encoded once; what was placed on it meets the features on the way back up, at every level, so an answer
costs about two thirds of a whole pass. Pictures are (batch, 1, rows, columns) from 0 (black) to 1 (white).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from SSLSegmentationLib.models.nets.slices import DoubleConvolution, encoder_of_slices

HINTS = 5
"""Channels that tell what was placed: positive points, negative points, inside the box, inside the mask, and whether
there is a mask at all."""

_RADIUS = 2.5  # pixels of the disc that a point is drawn as


class ClickNet(nn.Module):
    """The encoder is that of SliceUNet, by the same names, so that what was learnt without labels can be put into it.

    Rows and columns have to be multiples of `divisor`.
    """

    def __init__(
        self,
        out_channels: int = 1,
        in_channels: int = 1,
        widths: Sequence[int] = (16, 32, 64, 96, 128),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        widths = tuple(widths)
        self.encoder = encoder_of_slices(in_channels, widths, dropout)
        self.meeting = DoubleConvolution(widths[-1] + HINTS, widths[-1], dropout)
        self.decoder = nn.ModuleList(
            DoubleConvolution(widths[level] + widths[level + 1] + HINTS, widths[level], dropout)
            for level in reversed(range(len(widths) - 1))
        )
        self.shrink = nn.MaxPool2d(2)
        self.enlarge = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.classifier = nn.Conv2d(widths[0], out_channels, 1)
        self.divisor = 2 ** (len(widths) - 1)

    def encode(self, picture: Tensor) -> list[Tensor]:
        """The features of every level, from fine on."""
        levels = [self.encoder[0](picture)]
        for block in self.encoder[1:]:
            levels.append(block(self.shrink(levels[-1])))
        return levels

    def decode(self, levels: Sequence[Tensor], hints: Tensor) -> Tensor:
        """(batch, 1, rows, columns) logits for (batch, HINTS, rows, columns) hints."""
        told = [hints]
        for _ in levels[1:]:
            told.append(self.shrink(told[-1]))
        x = self.meeting(torch.cat([levels[-1], told[-1]], dim=1))
        for block, level, hint in zip(self.decoder, reversed(levels[:-1]), reversed(told[:-1]), strict=True):
            x = block(torch.cat([level, self.enlarge(x), hint], dim=1))
        return self.classifier(x)

    def forward(self, picture: Tensor, hints: Tensor) -> Tensor:
        return self.decode(self.encode(picture), hints)


def draw(
    shape: tuple[int, int],
    points: np.ndarray,
    positive: np.ndarray,
    box: tuple[float, float, float, float] | None = None,
    mask: np.ndarray | None = None,
) -> np.ndarray:
    """float32 (HINTS, rows, columns). Points are (n, 2) columns and rows; a box is the least and greatest of these."""
    hints = np.zeros((HINTS, *shape), dtype=np.float32)
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    for (column, row), sign in zip(np.asarray(points).reshape(-1, 2), positive, strict=True):
        hints[0 if sign else 1][(rows - row) ** 2 + (columns - column) ** 2 <= _RADIUS**2] = 1
    if box is not None:
        left, top, right, bottom = box
        hints[2][(rows >= top) & (rows <= bottom) & (columns >= left) & (columns <= right)] = 1
    if mask is not None:
        hints[3], hints[4] = mask, 1
    return hints
