from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from SSLSegmentationLib.inference.predictors import CannotConvert, OpenVinoPredictor, TorchPredictor, best_precision
from SSLSegmentationLib.models.networks import build, check_network
from Testing.inference.networks import small_network

COMMON = {"spatial_dims": 3, "in_channels": 1, "out_channels": 3}
UNET = COMMON | {"_target_": "UNet", "channels": [4, 8, 8], "strides": [2, 2], "num_res_units": 1}
NETWORKS = {
    "DynUNet": COMMON
    | {
        "_target_": "DynUNet",
        "kernel_size": [3, 3, 3],
        "strides": [1, 2, 2],
        "upsample_kernel_size": [2, 2],
        "filters": [4, 8, 8],
    },
    "UNet": UNET,
    "BasicUNet": COMMON | {"_target_": "BasicUNet", "features": [4, 4, 8, 8, 8, 4]},
    "SegResNet": COMMON | {"_target_": "SegResNet", "init_filters": 8, "blocks_down": [1, 1, 1], "blocks_up": [1, 1]},
    "AttentionUnet": COMMON | {"_target_": "AttentionUnet", "channels": [4, 8, 8], "strides": [2, 2]},
    "VNet": COMMON | {"_target_": "VNet"},
}
PATCHES = {name: [(20, 12, 28)] for name in NETWORKS} | {
    "DynUNet": [(16, 16, 16), (20, 12, 28)],
    "BasicUNet": [(48, 16, 16)],
    "VNet": [(48, 16, 16)],
}


def network_of(definition: dict) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build(check_network(definition, "test"), "test").eval()


def tiles(count: int, patch: tuple[int, int, int]) -> list[Tensor]:
    return [torch.randn(patch, generator=torch.Generator().manual_seed(seed)) for seed in range(count)]


def eagerly(network: nn.Module, given: list[Tensor]) -> list[Tensor]:
    with torch.inference_mode():
        return [network(tile[None, None])[0].clone() for tile in given]


def collected(predictor: TorchPredictor | OpenVinoPredictor, given: list[Tensor], batch: int = 1) -> list[Tensor]:
    """Copies, since predictors use the memory of a result again."""
    return [logits.clone() for logits in predictor.run(given, batch)]


@pytest.mark.parametrize(
    ("name", "patch"),
    [(name, patch) for name in NETWORKS for patch in PATCHES[name]],
)
def test_openvino_gives_what_torch_gives(name: str, patch: tuple[int, int, int]):
    network, given = network_of(NETWORKS[name]), tiles(3, patch)
    expected = eagerly(network, given)
    results = collected(OpenVinoPredictor(network, patch, "f32", 2), given)
    for result, wanted in zip(results, expected, strict=True):
        torch.testing.assert_close(result, wanted, atol=1e-3, rtol=1e-3)


def test_openvino_gives_what_torch_gives_for_a_transformer():
    definition = COMMON | {
        "_target_": "SwinUNETR",
        "feature_size": 12,
        "depths": [1, 1, 1, 1],
        "num_heads": [1, 1, 2, 2],
    }
    network, given = network_of(definition), tiles(1, (64, 32, 32))
    (expected,) = eagerly(network, given)
    try:
        predictor = OpenVinoPredictor(network, (64, 32, 32), "f32", 1)
    except CannotConvert:
        pytest.fail("SwinUNETR is no longer understood by OpenVINO")
    (result,) = collected(predictor, given)
    torch.testing.assert_close(result, expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_results_come_in_the_order_of_the_tiles(batch: int):
    network, given = small_network(), tiles(7, (8, 8, 8))
    expected = eagerly(network, given)
    for predictor in (TorchPredictor(network, "cpu"), OpenVinoPredictor(network, (8, 8, 8), "f32", batch)):
        results = collected(predictor, given, batch)
        for result, wanted in zip(results, expected, strict=True):
            torch.testing.assert_close(result, wanted, atol=1e-4, rtol=1e-4)
        assert collected(predictor, [], batch) == []


@pytest.mark.parametrize("taken", [0, 1, 3])
@pytest.mark.parametrize("kind", ["torch", "openvino"])
def test_a_run_can_be_left_half_way_and_the_predictor_used_again(kind: str, taken: int):
    network, given = small_network(), tiles(6, (8, 8, 8))
    predictor = TorchPredictor(network, "cpu") if kind == "torch" else OpenVinoPredictor(network, (8, 8, 8), "f32", 3)
    for _ in range(3):
        stream = predictor.run(given, 3)
        for _ in range(taken):
            next(stream)
        stream.close()
    for result, wanted in zip(collected(predictor, given, 3), eagerly(network, given), strict=True):
        torch.testing.assert_close(result, wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["torch", "openvino"])
def test_an_error_while_tiles_are_made_comes_out_and_leaves_the_predictor_usable(kind: str):
    network, given = small_network(), tiles(4, (8, 8, 8))
    predictor = TorchPredictor(network, "cpu") if kind == "torch" else OpenVinoPredictor(network, (8, 8, 8), "f32", 2)

    def broken() -> Iterator[Tensor]:
        yield from given[:3]
        raise MemoryError("no room for a tile")

    with pytest.raises(MemoryError, match="no room"):
        collected(predictor, broken(), 2)
    assert len(collected(predictor, given, 2)) == 4


def test_mirrored_tiles_are_taken_as_they_look():
    network, (tile,) = small_network(), tiles(1, (8, 8, 8))
    mirrored = tile.flip((0, 2))
    (result,) = collected(OpenVinoPredictor(network, (8, 8, 8), "f32", 1), [mirrored])
    torch.testing.assert_close(result, eagerly(network, [mirrored])[0], atol=1e-4, rtol=1e-4)


def test_what_openvino_does_not_understand_is_said_and_not_hidden():
    class Whimsical(nn.Module):
        def forward(self, tiles: Tensor) -> Tensor:
            return tiles if tiles.sum().item() > 0 else -tiles

    with pytest.raises(CannotConvert, match="Whimsical cannot be converted"):
        OpenVinoPredictor(Whimsical(), (8, 8, 8), "f32", 1)


def test_random_passes_differ_and_are_the_same_with_the_same_seed():
    network = network_of(UNET | {"dropout": 0.4})
    given = tiles(1, (16, 16, 16)) * 3
    predictor = TorchPredictor(network, "cpu", dropout=True)
    torch.manual_seed(5)
    first, second, third = collected(predictor, given)
    assert not torch.equal(first, second)
    assert not torch.equal(second, third)
    torch.manual_seed(5)
    for again, before in zip(collected(predictor, given), (first, second, third), strict=True):
        assert torch.equal(again, before)


def test_without_dropout_asked_for_every_pass_is_the_same():
    predictor = TorchPredictor(network_of(UNET | {"dropout": 0.4}), "cpu")
    first, second = collected(predictor, tiles(1, (16, 16, 16)) * 2)
    assert torch.equal(first, second)


@pytest.mark.parametrize("kind", ["torch", "openvino"])
def test_half_precision_is_near_and_is_handed_on_in_half(kind: str):
    network, given = small_network(), tiles(1, (8, 8, 8))
    (expected,) = eagerly(network, given)
    precision = best_precision("cpu") if kind == "openvino" else "bf16"
    made = (
        TorchPredictor(network, "cpu", "bf16")
        if kind == "torch"
        else OpenVinoPredictor(network, (8, 8, 8), precision, 1)
    )
    (result,) = collected(made, given)
    assert result.dtype == (torch.float32 if precision == "f32" else torch.float16)
    torch.testing.assert_close(result.float(), expected, atol=3e-2, rtol=3e-2)


def test_the_precision_of_this_machine_is_one_it_can_use():
    assert best_precision("cpu") in ("f32", "bf16")


def test_openvino_tells_nobody_what_is_converted():
    """Its telemetry is not even imported, so nothing can leave the machine."""
    program = """
import sys, torch
from SSLSegmentationLib.inference.predictors import OpenVinoPredictor, best_precision
best_precision("cpu")
predictor = OpenVinoPredictor(torch.nn.Conv3d(1, 2, 1).eval(), (8, 8, 8), "f32", 1)
assert len(list(predictor.run([torch.zeros(8, 8, 8)], 1))) == 1
assert "openvino" in sys.modules
print([name for name, module in sys.modules.items() if name.startswith("openvino_telemetry") and module is not None])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"
