from __future__ import annotations

import pytest
import torch

from Testing.trainer.methods.tiny import FIRST, FLAT, SECOND
from trainer.networks import build
from trainer.parts.transfer import freeze_the_rest, state_behind

BASIC = {"_target_": "BasicUNet", "spatial_dims": 3, "features": [4, 4, 8, 8, 8, 4]}
RESIDUAL = {"_target_": "WSResUNet3D", "widths": [8, 16], "blocks": [1, 1], "dilated_blocks": 1}
BATCH_NORM = FIRST | {"norm": "batch"}
ALL = [FIRST, BATCH_NORM, SECOND, FLAT, BASIC, RESIDUAL]


def _build(network: dict) -> object:
    return build({**network, "in_channels": 1, "out_channels": 3})


@pytest.mark.parametrize("network", ALL, ids=lambda network: network["_target_"])
def test_all_but_the_classifier_is_behind_the_features(network: dict) -> None:
    backbone = _build(network)
    left = set(backbone.network.state_dict()) - set(state_behind(backbone, "feat"))
    classifier = "final_conv" if network is BASIC else "classifier"
    assert left == {f"{classifier}.weight", f"{classifier}.bias"}


@pytest.mark.parametrize("network", ALL, ids=lambda network: network["_target_"])
def test_only_the_encoder_is_behind_the_bottleneck(network: dict) -> None:
    backbone = _build(network)
    encoder, all_layers = state_behind(backbone, "bottleneck"), state_behind(backbone, "feat")
    assert encoder.keys() < all_layers.keys()
    assert not any(name.startswith(("decoder", "upcat", "narrow", "finish")) for name in encoder)


def test_running_statistics_of_trained_layers_come_along_and_are_not_disturbed() -> None:
    backbone = _build(BATCH_NORM)
    before = {name: value.clone() for name, value in backbone.network.state_dict().items()}
    state = state_behind(backbone, "bottleneck")
    assert any(name.endswith("running_mean") for name in state)
    assert not any(name.startswith("decoder") for name in state)
    assert all(torch.equal(before[name], value) for name, value in backbone.network.state_dict().items())
    assert backbone.network.training


def test_what_is_not_trained_is_frozen() -> None:
    backbone = _build(FIRST)
    freeze_the_rest(backbone, "bottleneck")
    free = {name for name, value in backbone.network.named_parameters() if value.requires_grad}
    assert free == set(state_behind(backbone, "bottleneck"))
