"""Two networks that were trained together and segment together."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.models.networks import NETWORKS, check_network, construct


def mean_opinion(first: Tensor, second: Tensor) -> Tensor:
    """The logarithm of the mean of the softmaxes of two networks' logits, so that a softmax of it gives that mean."""
    return torch.logaddexp(first.float().log_softmax(dim=1), second.float().log_softmax(dim=1)) - math.log(2)


class Peers(nn.Module):
    """Each peer is told as {"network": name, and its arguments}; both see the same and tell the same classes."""

    def __init__(self, out_channels: int, first: dict[str, Any], second: dict[str, Any], in_channels: int = 1) -> None:
        super().__init__()
        channels = {"in_channels": in_channels, "out_channels": out_channels}
        self.first = _peer({**first, **channels}, "The first peer")
        self.second = _peer({**second, **channels}, "The second peer")

    def forward(self, image: Tensor) -> Tensor:
        return mean_opinion(self.first(image), self.second(image))


def _peer(told: dict[str, Any], where: str) -> nn.Module:
    definition = check_network({"_target_": told.pop("network", None), **told}, where)
    if NETWORKS[definition["_target_"]].output is not None:
        raise InputError(f"{where} gives several outputs: choose a network that gives one.")
    return construct(definition, where)
