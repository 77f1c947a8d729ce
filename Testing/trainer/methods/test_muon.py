"""Muon: matrices are made orthogonal whatever their shape, the rest gets AdamW's step, and it goes on exactly."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from trainer.methods.muon import Muon, orthogonal
from trainer.methods.optimiser import Optimiser


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(3, 50), (50, 3), (8, 8), (4, 1)])
def test_all_directions_of_a_matrix_come_out_about_as_long(shape: tuple[int, int], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    lengths = torch.linalg.svdvals(orthogonal(torch.randn(shape).to(dtype)).float())
    assert lengths.min() > 0.5
    assert lengths.max() < 1.3


def test_an_orthogonal_step_keeps_the_directions_of_the_gradient() -> None:
    torch.manual_seed(0)
    u, s, vh = torch.linalg.svd(torch.randn(6, 40), full_matrices=False)
    found = u.T @ orthogonal(u @ torch.diag(s) @ vh) @ vh.T
    assert (found - torch.diag(found.diagonal())).abs().max() < 1e-3


def test_a_gradient_of_nothing_changes_nothing() -> None:
    weight = nn.Parameter(torch.ones(4, 4))
    weight.grad = torch.zeros(4, 4)
    Muon([{"params": [weight]}], lr=0.1).step()
    assert torch.equal(weight, torch.ones(4, 4))


def test_a_step_is_about_as_long_for_a_kernel_as_for_a_bias() -> None:
    torch.manual_seed(0)
    layer = nn.Conv3d(8, 16, 3)
    before = copy.deepcopy(layer)
    optimiser = Muon([{"params": list(layer.parameters())}], lr=0.01)
    layer(torch.randn(2, 8, 6, 6, 6)).square().mean().backward()
    optimiser.step()
    moved = {
        name: float((a - b).detach().square().mean().sqrt())
        for (name, a), b in zip(layer.named_parameters(), before.parameters(), strict=True)
    }
    assert 0.001 < moved["weight"] < 0.003  # a fifth of the rate
    assert moved["bias"] == pytest.approx(0.01, rel=0.05)


def test_it_learns_what_directions_of_very_different_strength_tell() -> None:
    """Where plain gradient descent crawls along the weak ones."""
    torch.manual_seed(0)
    net = nn.Linear(10, 10)
    x = torch.randn(256, 10) * torch.logspace(-1, 1, 10)
    y = x @ torch.randn(10, 10)
    optimiser = Optimiser("muon", 0.3)([{"params": list(net.parameters())}])
    first = float((net(x) - y).square().mean().detach())
    for step in range(200):
        optimiser.param_groups[0]["lr"] = 0.3 * (1 - step / 200)
        optimiser.zero_grad()
        loss = (net(x) - y).square().mean()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 1e-3 * first


def test_it_goes_on_from_its_state_as_if_it_had_not_stopped() -> None:
    def stepped(layer: nn.Module, optimiser: Muon, count: int) -> None:
        for _ in range(count):
            optimiser.zero_grad()
            layer(torch.ones(2, 3)).square().sum().backward()
            optimiser.step()

    torch.manual_seed(0)
    one = nn.Linear(3, 4)
    first = Muon([{"params": list(one.parameters())}], lr=0.01, weight_decay=0.1)
    stepped(one, first, 3)
    two = copy.deepcopy(one)
    second = Muon([{"params": list(two.parameters())}], lr=0.01, weight_decay=0.1)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    stepped(one, first, 3)
    stepped(two, second, 3)
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)
