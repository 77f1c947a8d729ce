"""Networks that see slices run behind the same tensors as those that see volumes, in every number format."""

from __future__ import annotations

import pytest
import torch

from SSLSegmentationLib.inference.predictors import TorchPredictor, channels_last
from SSLSegmentationLib.models.nets.slices import SliceUNet


@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_a_network_of_slices_runs_on_tiles(precision: str) -> None:
    network = SliceUNet(out_channels=3, widths=(4, 8)).eval()
    tile = torch.randn(16, 16, 3)
    expected = network(tile[None, None])[0].detach()
    found = next(TorchPredictor(network, "cpu", precision).run([tile], 1))
    torch.testing.assert_close(found.float(), expected, rtol=0, atol=0.1 if precision == "bf16" else 1e-5)


def test_weights_of_flat_and_deep_convolutions_get_the_layout_of_their_kind() -> None:
    network = torch.nn.ModuleList([torch.nn.Conv2d(2, 4, 3), torch.nn.Conv3d(2, 4, 3), torch.nn.Linear(2, 2)])
    before = [weight.clone() for weight in network.parameters()]
    channels_last(network)
    assert network[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert network[1].weight.is_contiguous(memory_format=torch.channels_last_3d)
    for weight, old in zip(network.parameters(), before, strict=True):
        assert torch.equal(weight, old)


def test_only_the_weights_asked_for_are_laid_out_anew() -> None:
    network = torch.nn.ModuleList([torch.nn.Conv2d(2, 4, 3), torch.nn.Conv3d(2, 4, 3)])
    channels_last(network, axes=(5,))
    assert network[0].weight.is_contiguous()
    assert network[1].weight.is_contiguous(memory_format=torch.channels_last_3d)
