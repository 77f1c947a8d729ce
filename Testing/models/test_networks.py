"""Networks from definitions of strangers: only known classes, plain arguments, and sizes that fit the weights."""

from __future__ import annotations

import pytest
import torch

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.models.networks import NETWORKS, build, check_network, network_name, outline, single_output

CHANNELS = {"in_channels": 1, "out_channels": 2}
DEFINITIONS = {
    "AttentionUnet": {"spatial_dims": 3, "channels": [2, 4], "strides": [2]},
    "BasicUNet": {"features": [2, 2, 4, 4, 4, 2]},
    "BasicUNetPlusPlus": {"features": [2, 2, 4, 4, 4, 2], "deep_supervision": True},
    "DynUNet": {
        "spatial_dims": 3,
        "kernel_size": [3, 3, 3],
        "strides": [1, 2, [2, 2, 2]],
        "upsample_kernel_size": [2, [2, 2, 2]],
        "filters": [2, 4, 4],
        "deep_supervision": True,
        "norm_name": ["INSTANCE", {"affine": True}],
    },
    "FlexibleUNet": {"spatial_dims": 3, "backbone": "resnet10", "pretrained": True,
        "decoder_channels": [8, 4, 4, 4, 2]},
    "HighResNet": {"layer_params": [
        {"name": "conv_0", "n_features": 2, "kernel_size": 3},
        {"name": "res_1", "n_features": 2, "kernels": [3, 3], "repeat": 1},
        {"name": "conv_1", "n_features": 2, "kernel_size": 1},
        {"name": "conv_2", "kernel_size": 1},
    ]},
    "MedNeXt": {"init_filters": 2, "kernel_size": 3, "deep_supervision": True},
    "SegResNet": {"init_filters": 8, "blocks_down": [1, 1], "blocks_up": [1]},
    "SegResNetDS": {"init_filters": 8, "blocks_down": [1, 1], "dsdepth": 2},
    "SwinUNETR": {"img_size": 32, "feature_size": 12, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 1, 1]},
    "UNETR": {"img_size": 32, "feature_size": 2, "hidden_size": 12, "mlp_dim": 8, "num_heads": 2},
    "UNet": {"spatial_dims": 3, "channels": [2, 4], "strides": [2]},
    "VNet": {"dropout_prob_down": None},
    "Peers": {
        "first": {"network": "VNet3D", "widths": [2, 4], "convolutions": [1, 1]},
        "second": {"network": "BasicUNet", "features": [2, 2, 4, 4, 4, 2]},
    },
    "ClickNet": {"widths": [2, 4]},
    "FoldedVNet3D": {"widths": [2, 4], "convolutions": [1, 1], "feat": 2},
    "ResVNet3D": {"widths": [2, 4, 4], "blocks": [1, 2], "convolutions": [1, 1]},
    "SliceBasicUNet": {"features": [2, 2, 4, 4, 4, 2]},
    "SliceUNet": {"widths": [2, 4, 4]},
    "VNet3D": {"widths": [2, 4, 4], "convolutions": [1, 2, 1], "norm": "instance"},
    "WSResUNet3D": {"widths": [8, 8, 16], "blocks": [1, 1, 2], "dilated_blocks": 1},
}  # fmt: skip
SIDES = {"SwinUNETR": 64, "VNet": 16}
ANSWER_PROMPTS = {"ClickNet"}  # and do not segment a scan alone
NEED_EINOPS = {"SwinUNETR", "UNETR"}


def definition_of(name, **changes):
    return check_network({"_target_": name, **CHANNELS, **DEFINITIONS[name], **changes}, "test")


def test_every_network_of_the_list_is_tried_here():
    assert set(DEFINITIONS) == set(NETWORKS)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_the_outline_is_that_of_the_real_network_which_gives_one_tensor_of_logits(name):
    if name in NEED_EINOPS:
        pytest.importorskip("einops", reason="MONAI builds its transformers with einops")
    definition = definition_of(name)
    network = build(definition, "test").eval()
    assert outline(definition, "test", 10**9) == {key: tuple(t.shape) for key, t in network.state_dict().items()}
    assert all(tensor.device.type == "cpu" for tensor in network.state_dict().values())
    if name in ANSWER_PROMPTS:
        return
    side = SIDES.get(name, 32)
    with torch.inference_mode():
        logits = single_output(network, name).eval()(torch.zeros(1, 1, side, side, side))
    assert isinstance(logits, torch.Tensor)
    assert logits.shape == (1, 2, side, side, side)


@pytest.mark.parametrize("target", ["UNet", "monai.networks.nets.UNet", "monai.networks.nets.unet.UNet"])
def test_a_class_is_known_by_its_short_and_its_full_name(target):
    assert network_name(target, "test") == "UNet"


@pytest.mark.parametrize(
    "target", ["os.system", "monai.networks.nets.DiNTS", "evil.UNet", "monai.networks.nets.vnet.UNet", "unet", None, 3]
)
def test_any_other_class_is_refused_with_the_list(target):
    with pytest.raises(InputError, match=r"one of those that packages may use .*UNETR"):
        check_network({"_target_": target}, "test")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"channels": [2, "$4"]}, r"\$4"),
        ({"act": {"_target_": "os.system"}}, "_target_"),
        ({"_mode_": "callable"}, "_mode_"),
        ({"channels": [2, 10**9]}, "1000000000, beyond"),
        ({"channels": [2, float("nan")]}, "nan, beyond"),
        ({"channels": [2] * 65}, "more values"),
        ({"norm": "x" * 100}, "more values"),
        ({"kernel_size": [[[3] * 60] * 60] * 60}, "more values"),
        ({"act": print}, "builtin_function_or_method"),
        ({"spatial_dims": 2}, "spatial_dims 2"),
        ({"in_channels": 4}, "in_channels 4"),
    ],
)
def test_arguments_that_are_not_plain_or_absurd_are_refused_with_their_key(changes, words):
    with pytest.raises(InputError, match=words):
        definition_of("UNet", **changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"chanels": [2]}, 'no argument "chanels"'),
        ({"strides": ["a"]}, "cannot be built"),
        ({"act": "no such act"}, "cannot be built"),
        ({"channels": []}, "cannot be built"),
    ],
)
def test_arguments_that_do_not_fit_the_class_are_refused(changes, words):
    with pytest.raises(InputError, match=words):
        build(definition_of("UNet", **changes), "test")


def test_a_missing_argument_is_named():
    with pytest.raises(InputError, match="'strides'"):
        build({key: value for key, value in definition_of("UNet").items() if key != "strides"}, "test")


def test_a_network_that_would_be_flat_by_default_is_refused():
    definition = definition_of("FlexibleUNet")
    del definition["spatial_dims"]
    with pytest.raises(InputError, match='add "spatial_dims": 3'):
        build(definition, "test")


def test_a_network_far_larger_than_its_weights_is_stopped_before_it_takes_memory():
    huge = definition_of("UNet", channels=[4096] * 20, strides=[1] * 19, kernel_size=51)
    with pytest.raises(InputError, match="far larger than its weights file"):
        outline(huge, "test", 10**6)
    many = definition_of("SegResNet", blocks_down=[4096, 4096], init_filters=8)
    with pytest.raises(InputError, match="far larger than its weights file"):
        outline(many, "test", 10**12)


def test_loading_does_not_disturb_what_the_caller_draws():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    build(definition_of("UNet"), "test")
    outline(definition_of("UNet"), "test", 10**6)
    assert torch.equal(torch.rand(3), expected)
