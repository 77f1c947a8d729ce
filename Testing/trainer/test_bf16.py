"""In bf16, networks have the gradients they have in full, however small a volume is, and whatever memory held."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trainer.bf16 import FullWhereSmallConv3d, mend_small_volumes


def leave_rubbish() -> None:
    """In memory that is handed out again: what is not written there shows."""
    for count in (1_000, 30_000, 1_000_000):
        for rubbish in [torch.full((count,), 1e6) for _ in range(8)]:
            rubbish.mul_(2)


def gradient(layer: nn.Module, x: torch.Tensor, of: torch.Tensor, half: bool) -> torch.Tensor:
    layer.zero_grad()
    leave_rubbish()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        found = layer(x)
    leave_rubbish()
    found.float().backward(of)
    return layer.weight.grad.clone()


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("kernel", [3, (3, 1, 1), 7])
@pytest.mark.parametrize(
    "size", [(1, 4, 4), (2, 2, 2), (2, 3, 2), (3, 3, 3), (4, 2, 2), (4, 6, 5), (7, 2, 2), (7, 7, 8)]
)
def test_kernels_have_their_gradient_in_small_volumes(
    memory_format: torch.memory_format, kernel: int | tuple[int, int, int], size: tuple[int, int, int]
) -> None:
    torch.manual_seed(0)
    layer = nn.Conv3d(16, 16, kernel, padding="same").to(memory_format=memory_format)
    mend_small_volumes(layer)
    x = torch.randn(2, 16, *size).contiguous(memory_format=memory_format)
    of = torch.randn(2, 16, *size)
    expected = gradient(layer, x, of, half=False)
    for _ in range(3):
        assert (gradient(layer, x, of, half=True) - expected).norm() < 0.01 * expected.norm()


def test_only_kernels_that_see_neighbours_are_replaced() -> None:
    network = nn.Sequential(nn.Conv3d(2, 2, 3), nn.Conv3d(2, 2, 1), nn.Conv3d(2, 2, 2, stride=2), nn.Conv2d(2, 2, 3))
    names = list(network.state_dict())
    mend_small_volumes(network)
    assert [type(one) for one in network] == [FullWhereSmallConv3d, nn.Conv3d, nn.Conv3d, nn.Conv2d]
    assert list(network.state_dict()) == names


def test_larger_volumes_stay_in_half_and_small_ones_are_computed_in_full() -> None:
    layer = nn.Conv3d(4, 4, 3, padding=1)
    mend_small_volumes(layer)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.ones(1, 4, 3, 3, 3)).dtype == torch.bfloat16
        assert layer(torch.ones(1, 4, 2, 3, 3, dtype=torch.bfloat16)).dtype == torch.float32
