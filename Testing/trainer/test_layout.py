"""Layers for channels that come last give the values and gradients that torch's give in its own layout."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from trainer.layout import ChannelsLastNorm3d, PointwiseConv3d, keep_channels_last

FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}
STOCK = {4: nn.InstanceNorm2d, 5: nn.InstanceNorm3d}
SIZES = st.one_of(
    st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(2, 5), st.integers(1, 5)),
    st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(2, 5), st.integers(1, 5), st.integers(1, 5)),
)


def norm(shape: tuple[int, ...], affine: bool, ours: bool) -> nn.Module:
    made = STOCK[len(shape)](shape[1], affine=affine)
    if affine:
        made.weight.data, made.bias.data = torch.linspace(0.5, 1.5, shape[1]), torch.linspace(-1, 1, shape[1])
    if ours:
        keep_channels_last(made)
        assert type(made) is not STOCK[len(shape)]
    return made


def image(shape: tuple[int, ...], seed: int, offset: float = 0.0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 3 + offset


@settings(max_examples=60, deadline=None)
@given(SIZES, st.booleans(), st.floats(-50, 50), st.integers(0, 99), st.booleans(), st.booleans())
def test_values_and_gradients_are_right_in_every_layout(
    shape: tuple[int, ...], affine: bool, offset: float, seed: int, image_last: bool, gradient_last: bool
) -> None:
    def laid_out(tensor: torch.Tensor, last: bool) -> torch.Tensor:
        return tensor.contiguous(memory_format=FORMATS[len(shape)]) if last else tensor

    results = []
    for ours in (False, True):
        network = norm(shape, affine, ours)
        x = laid_out(image(shape, seed, offset), ours and image_last).requires_grad_()
        y = network(x)
        y.backward(laid_out(image(shape, seed + 1), ours and gradient_last))
        results.append((y.detach(), x.grad, *(weight.grad for weight in network.parameters())))
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=2e-3, atol=2e-3)


def test_the_layout_and_the_number_format_stay() -> None:
    shape = (2, 4, 3, 3, 3)
    x = image(shape, 0).contiguous(memory_format=torch.channels_last_3d)
    for dtype in (torch.float32, torch.bfloat16):
        y = norm(shape, True, ours=True)(x.to(dtype))
        assert y.is_contiguous(memory_format=torch.channels_last_3d)
        assert y.dtype == dtype


def test_a_single_voxel_is_refused_as_torch_refuses_it() -> None:
    with pytest.raises(ValueError, match="too small"):
        norm((1, 2, 1, 1, 1), False, ours=True)(torch.ones(1, 2, 1, 1, 1))


def test_weights_keep_their_names_and_those_that_keep_statistics_are_left_alone() -> None:
    network = nn.Sequential(nn.InstanceNorm3d(2, affine=True), nn.InstanceNorm3d(2, track_running_stats=True))
    names = list(network.state_dict())
    keep_channels_last(network)
    assert type(network[0]) is ChannelsLastNorm3d
    assert type(network[1]) is nn.InstanceNorm3d
    assert list(network.state_dict()) == names


def test_only_those_asked_for_are_replaced() -> None:
    network = nn.Sequential(nn.InstanceNorm2d(2), nn.InstanceNorm3d(2))
    keep_channels_last(network, axes=(5,))
    assert [type(one) for one in network] == [nn.InstanceNorm2d, ChannelsLastNorm3d]


@settings(max_examples=30, deadline=None)
@given(SIZES.filter(lambda shape: len(shape) == 5), st.integers(1, 4), st.booleans(), st.integers(0, 99))
def test_a_convolution_of_single_voxels_is_a_product_of_matrices(
    shape: tuple[int, ...], channels: int, bias: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    network = nn.Conv3d(shape[1], channels, 1, bias=bias)
    results = []
    for ours in (False, True):
        if ours:
            keep_channels_last(network)
            assert type(network) is PointwiseConv3d
        network.zero_grad()
        x = image(shape, seed).contiguous(memory_format=torch.channels_last_3d).requires_grad_()
        y = network(x)
        y.square().sum().backward()
        results.append((y.detach(), x.grad, *(weight.grad.clone() for weight in network.parameters())))
    assert y.is_contiguous(memory_format=torch.channels_last_3d)
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    "how", [{"kernel_size": 3, "padding": 1}, {"kernel_size": 1, "stride": 2}, {"kernel_size": 1, "groups": 2}]
)
def test_other_convolutions_stay_as_they_are(how: dict[str, int]) -> None:
    network = nn.Conv3d(2, 2, **how)
    keep_channels_last(network)
    assert type(network) is nn.Conv3d
