"""The trainer's networks through a model package and back: the same network, from a file that cannot run code."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from SSLSegmentationLib.models.read import read_package
from SSLSegmentationLib.models.weights import load_network
from SSLSegmentationLib.models.write import write_package
from Testing.trainer.methods.tiny import FIRST, FLAT, SECOND, tiny_plan
from trainer.networks import build, build_peers
from trainer.predict import as_package

CHANNELS = {"in_channels": 1, "out_channels": 3}
DEFINITIONS = {
    "V-Net": FIRST,
    "ResVNet": SECOND,
    "slices": FLAT,
    "slices of MONAI": {"_target_": "SliceBasicUNet", "features": [4, 4, 4, 4, 4, 4]},
    "standardised": {"_target_": "WSResUNet3D", "widths": [8, 8], "blocks": [1, 1], "dilated_blocks": 1},
}


def written(folder: Path, backbone):
    about = replace(as_package(tiny_plan(), backbone.definition), version="1", licence="CC0-1.0", id="tiny")
    write_package(folder / "tiny", about, [backbone.network.state_dict()], "Free.")
    return read_package(folder / "tiny")


@pytest.mark.parametrize("name", sorted(DEFINITIONS))
def test_a_packaged_network_computes_what_the_trained_one_computes(name, tmp_path):
    torch.manual_seed(0)
    backbone = build({**DEFINITIONS[name], **CHANNELS}).eval()
    package = written(tmp_path, backbone)
    image = torch.randn(1, 1, 32, 32, 8)
    assert torch.equal(load_network(package)(image), backbone(image))


def test_packaged_peers_compute_the_mean_of_both(tmp_path):
    torch.manual_seed(0)
    peers = build_peers({**FIRST, **CHANNELS}, {**SECOND, **CHANNELS}).eval()
    package = written(tmp_path, peers)
    image = torch.randn(1, 1, 16, 16, 8)
    mean = (peers.first(image).softmax(1) + peers.second(image).softmax(1)) / 2
    torch.testing.assert_close(load_network(package)(image).softmax(1), mean)
