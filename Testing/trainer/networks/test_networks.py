"""Networks of the trainer: sizes as published, features behind one face, peers that mean what they say."""

from __future__ import annotations

import pytest
import torch

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.inference.predictors import compile_for_cpu
from SSLSegmentationLib.models.nets.slices import from_slices, into_slices
from SSLSegmentationLib.models.nets.ws_resunet import StandardisedConv3d
from SSLSegmentationLib.models.networks import outline
from trainer.networks import Peers, build, build_peers, divisors

TINY = {
    "BasicUNet": {"features": [4, 4, 4, 8, 8, 6]},
    "FoldedVNet3D": {"widths": [4, 8], "convolutions": [1, 1], "feat": 4},
    "ResVNet3D": {"widths": [4, 8, 8], "blocks": [1, 2], "convolutions": [1, 1]},
    "SliceBasicUNet": {"features": [4, 4, 4, 8, 8, 6]},
    "SliceUNet": {"widths": [4, 8, 8]},
    "VNet3D": {"widths": [4, 8, 8], "convolutions": [1, 1, 1]},
    "WSResUNet3D": {"widths": [8, 16, 16], "blocks": [1, 1, 1], "dilated_blocks": 1},
}


def tiny(name, classes=3, **more):
    return {"_target_": name, "out_channels": classes, **TINY[name], **more}


@pytest.mark.parametrize(
    ("name", "classes", "numbers"),
    [
        ("VNet3D", 2, 9_448_866),  # published as 9.45 million
        ("ResVNet3D", 2, 17_930_354),  # 17.9 million
        # 18.97 million are published with the projector 256 → 32 on the bottleneck, which is a head here
        ("WSResUNet3D", 1, 18_966_113 - (256 * 32 + 32)),
        ("SliceUNet", 1, 1_962_337),  # 1.96 million
    ],
)
def test_the_published_networks_have_their_published_size(name, classes, numbers):
    network = build({"_target_": name, "out_channels": classes}).network
    assert sum(parameter.numel() for parameter in network.parameters()) == numbers


@pytest.mark.parametrize("name", sorted(TINY))
def test_features_lead_to_the_logits_and_have_the_channels_that_are_told(name):
    torch.manual_seed(0)
    backbone = build(tiny(name)).eval()
    sides = (32, 16, 3) if name.startswith("Slice") else (32, 16, 16)
    image = torch.randn(2, 1, *sides)
    features, channels = backbone.features(image), backbone.channels()
    assert torch.equal(features["logits"], backbone(image))
    assert features["logits"].shape == (2, 3, *sides)
    assert features["feat"].shape == (2, channels["feat"], *sides)
    assert features["bottleneck"].shape[:2] == (2, channels["bottleneck"])
    assert torch.equal(backbone.bottleneck(image), features["bottleneck"])
    folds = 2 if name.startswith("Folded") else 1
    assert features["skips"][0].shape[2:] == tuple(side // folds for side in sides)
    sizes = [skip.shape[2] for skip in features["skips"]] + [features["bottleneck"].shape[2]]
    assert sizes == [32 // folds // 2**level for level in range(len(sizes))]
    assert divisors(backbone.definition)[0] == folds * 2 ** (len(sizes) - 1)


@pytest.mark.parametrize("name", sorted(TINY))
def test_every_number_of_a_network_is_trained(name):
    torch.manual_seed(0)
    backbone = build(tiny(name))
    backbone(torch.randn(2, 1, 32, 32, 32)).square().mean().backward()
    # A bias before a normalisation has no effect, so its gradient may be zero; but it has one.
    assert all(parameter.grad is not None for parameter in backbone.parameters())
    last = [parameter for parameter in backbone.parameters() if parameter.dim() > 1]
    assert all(parameter.grad.abs().max() > 0 for parameter in last)


@pytest.mark.parametrize("name", ["SliceUNet", "SliceBasicUNet"])
def test_slices_do_not_see_each_other(name):
    torch.manual_seed(0)
    backbone = build(tiny(name)).eval()
    image = torch.randn(2, 1, 16, 32, 4)
    together = backbone(image)
    one_by_one = torch.cat([backbone(image[..., k : k + 1]) for k in range(4)], dim=-1)
    torch.testing.assert_close(together, one_by_one)
    assert torch.equal(from_slices(into_slices(image), 4), image)


def test_features_are_those_before_drop_out():
    torch.manual_seed(0)
    backbone = build(tiny("VNet3D", dropout=0.9)).train()
    assert (backbone.features(torch.randn(1, 1, 16, 16, 16))["feat"] == 0).all(dim=(2, 3, 4)).sum() == 0


def test_standardised_kernels_have_mean_0_and_variance_1():
    torch.manual_seed(0)
    convolution = StandardisedConv3d(2, 3, 3, bias=False)
    image = torch.randn(1, 2, 5, 5, 5)
    scaled = StandardisedConv3d(2, 3, 3, bias=False)
    scaled.weight.data = 7 * convolution.weight.data + 2
    torch.testing.assert_close(scaled(image), convolution(image), rtol=1e-3, atol=1e-3)


def test_peers_segment_with_the_mean_of_their_softmaxes():
    torch.manual_seed(0)
    peers = build_peers(tiny("VNet3D"), tiny("ResVNet3D")).eval()
    image = torch.randn(2, 1, 16, 16, 16)
    opinions = [peers.first(image).softmax(1), peers.second(image).softmax(1)]
    torch.testing.assert_close(peers(image).exp(), sum(opinions) / 2)
    torch.testing.assert_close(peers(image).softmax(1), sum(opinions) / 2)


def test_peers_of_one_making_begin_differently_and_hold_their_weights_once():
    torch.manual_seed(0)
    peers = build_peers(tiny("VNet3D"), tiny("VNet3D"))
    first, second = peers.first.network, peers.second.network
    assert not torch.equal(first.classifier.weight, second.classifier.weight)
    assert len(list(peers.parameters())) == 2 * len(list(first.parameters()))
    assert len(peers.state_dict()) == 2 * len(first.state_dict())


def test_the_definition_of_peers_builds_the_same_for_a_package():
    definition = build_peers(tiny("VNet3D"), tiny("BasicUNet")).definition
    again = build(definition)
    assert isinstance(again, Peers)
    state = again.network.state_dict()
    assert outline(definition, "test", 10**6) == {name: tuple(tensor.shape) for name, tensor in state.items()}
    assert again.first.definition == {**tiny("VNet3D")}
    assert divisors(definition) == (16, 16, 16)


def test_a_network_without_known_features_is_refused_with_those_that_have_some():
    unet = build({"_target_": "UNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 2, "channels": [2, 4],
                  "strides": [2]})  # fmt: skip
    assert unet(torch.zeros(1, 1, 8, 8, 8)).shape == (1, 2, 8, 8, 8)
    with pytest.raises(InputError, match=r"UNet are not known.*choose BasicUNet"):
        unet.features(torch.zeros(1, 1, 8, 8, 8))
    with pytest.raises(InputError, match=r"UNet are not known.*choose BasicUNet"):
        unet.bottleneck(torch.zeros(1, 1, 8, 8, 8))


@pytest.mark.parametrize("name", ["FoldedVNet3D", "ResVNet3D", "SliceUNet", "VNet3D", "WSResUNet3D", "Peers"])
def test_openvino_computes_the_same(name):
    torch.manual_seed(0)
    backbone = build_peers(tiny("VNet3D"), tiny("SliceUNet")) if name == "Peers" else build(tiny(name))
    backbone.eval()
    image = torch.randn(1, 1, 16, 16, 8)
    compiled = compile_for_cpu(backbone.network, image, "f32")
    expected = backbone(image).detach()
    torch.testing.assert_close(torch.from_numpy(compiled(image.numpy())[0]), expected, rtol=1e-3, atol=1e-3)
