"""Networks for the tests, as small as they can be, and predictors around them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn


def small_network(classes: int = 3, seed: int = 0) -> nn.Module:
    """Random convolutions that see a neighbourhood of five voxels."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.Tanh(), nn.Conv3d(4, classes, 3, padding=1)).eval()


def pointwise_network(classes: int = 3, seed: int = 0) -> nn.Module:
    """Looks at one voxel at a time, so mirroring changes nothing."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv3d(1, 4, 1), nn.Tanh(), nn.Conv3d(4, classes, 1)).eval()


class Threshold(nn.Module):
    """Label 1 above a value, nothing below, with confidence that grows with the distance from it."""

    def __init__(self, value: float, steepness: float = 1.0, channels: int = 2) -> None:
        super().__init__()
        self.value = value
        self.steepness = steepness
        self.channels = channels

    def forward(self, tiles: Tensor) -> Tensor:
        above = (tiles - self.value) * self.steepness
        return above if self.channels == 1 else torch.cat([torch.zeros_like(above), above], dim=1)


class Eager:
    """The plainest predictor: one tile after the other."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.seen = 0

    def run(self, tiles: Iterable[Tensor], batch: int) -> Iterator[Tensor]:
        for tile in tiles:
            self.seen += 1
            with torch.inference_mode():
                logits = self.network(tile[None, None].contiguous())[0]
            yield logits  # outside: a generator that is left half-way would leave the mode on for the whole process
