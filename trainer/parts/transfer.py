"""What a pre-training trains, and leaves to the network that is trained next."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from trainer.networks import Backbone, divisors

Output = Literal["bottleneck", "feat"]
"""What a pre-training looks at: the encoder's output, or the decoder's."""


def freeze_the_rest(backbone: Backbone, output: Output) -> None:
    """Leave alone what an output is not made from: nothing trains it, and several processes would wait for its
    gradients."""
    reached = trained_by(backbone, output)
    for name, value in backbone.network.named_parameters():
        value.requires_grad_(name in reached)


def state_behind(backbone: Backbone, output: Output) -> dict[str, Tensor]:
    """The state of every layer that an output is made from, with running statistics; never the classifier."""
    network, reached = backbone.network, trained_by(backbone, output)
    parameters = {name for name, _ in network.named_parameters()}
    layers = {name.rpartition(".")[0] for name in reached}
    return {
        name: value.detach().clone()
        for name, value in network.state_dict().items()
        if name in reached or (name not in parameters and name.rpartition(".")[0] in layers)
    }


def trained_by(backbone: Backbone, output: Output) -> set[str]:
    """The parameters that an output is made from. Asked of the graph itself, so it holds for any network."""
    network = backbone.network
    was_training = network.training
    network.eval()  # nothing is counted into running statistics
    named = {name: value for name, value in network.named_parameters() if value.requires_grad}
    sides = [2 * side if side > 1 else 1 for side in divisors(backbone.definition)]
    try:
        with torch.enable_grad():
            image = torch.zeros(1, 1, *sides, device=next(network.parameters()).device)
            total = backbone.features(image)[output].sum()
            gradients = torch.autograd.grad(total, list(named.values()), allow_unused=True)
    finally:
        network.train(was_training)
    return {name for name, gradient in zip(named, gradients, strict=True) if gradient is not None}
