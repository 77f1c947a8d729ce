from __future__ import annotations

import pytest
import torch

from trainer.parts.collapse import spread
from trainer.parts.contrast import unit
from trainer.parts.heads import MLPProjector, Propagation, RestorationHead, Stabiliser, at_every_pixel, global_vector


def test_the_stabiliser_gives_the_mean_and_variance_of_its_passes() -> None:
    stabiliser = Stabiliser(6, 8)
    rows = torch.randn(5, 6)
    torch.manual_seed(0)
    mean, variance = stabiliser(rows, 4)
    torch.manual_seed(0)
    outputs = unit(stabiliser.layers(rows.repeat(4, 1))).reshape(4, 5, 6)
    assert torch.allclose(mean, outputs.mean(0))
    assert torch.allclose(variance, ((outputs - outputs.mean(0)) ** 2).mean(0).mean(-1), atol=1e-7)
    assert (variance > 0).all()
    assert (variance <= 1 / 6).all()


def test_without_dropout_the_stabiliser_has_no_doubt() -> None:
    mean, variance = Stabiliser(6, 8, dropout=0.0)(torch.randn(5, 6), 3)
    assert torch.allclose(variance, torch.zeros(5), atol=1e-8)
    assert torch.allclose(mean.norm(dim=1), torch.ones(5), atol=1e-4)


def test_propagation_equals_the_double_loop() -> None:
    propagation = Propagation(3)
    x = torch.randn(2, 3, 2, 2, 1)
    found, values = propagation(x).flatten(2), propagation.transform(x).flatten(2)
    rows = x.flatten(2)
    for b in range(2):
        for i in range(4):
            cosines = torch.cosine_similarity(rows[b, :, i, None], rows[b], dim=0).clamp(min=0)
            assert torch.allclose(found[b, :, i], (cosines**2 * values[b]).sum(1), atol=1e-4)


def test_propagation_is_as_exact_in_mixed_precision_as_what_it_propagates() -> None:
    torch.manual_seed(0)
    propagation, x = Propagation(3), torch.randn(2, 3, 3, 2, 1)
    with torch.autocast("cpu", torch.bfloat16):
        values, found = propagation.transform(x).float().flatten(2), propagation(x).flatten(2)
    rows = unit(x.flatten(2), dim=1)
    attention = (rows.transpose(1, 2) @ rows).clamp(min=0) ** 2
    assert torch.allclose(found, values @ attention.transpose(1, 2), atol=1e-5)


def test_a_projector_keeps_apart_what_differs_in_the_third_digit() -> None:
    """As what an encoder with instance normalisation gives; in half precision the rows would be rounded first."""
    torch.manual_seed(0)
    projector = MLPProjector(64, 32, 16)
    rows = torch.ones(1, 64) + 1e-3 * torch.randn(8, 64)
    expected = projector(rows)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.allclose(projector(rows), expected, atol=1e-6)
    assert spread(expected) > 100 * spread(rows)


def test_heads_have_the_layers_they_are_told_to() -> None:
    assert [tuple(p.shape) for p in MLPProjector(4, 6, 2, layers=3, norm=False).parameters() if p.dim() == 2] == [
        (6, 4),
        (6, 6),
        (2, 6),
    ]
    assert MLPProjector(4, 6, 2)(torch.randn(3, 4)).shape == (3, 2)


def test_a_head_for_rows_sees_every_pixel_of_a_map() -> None:
    head, features = torch.nn.Linear(4, 2), torch.randn(2, 4, 3, 5, 1)
    found = at_every_pixel(head, features)
    assert found.shape == (2, 2, 3, 5, 1)
    torch.testing.assert_close(found[1, :, 2, 4, 0], head(features[1, :, 2, 4, 0]))


@pytest.mark.parametrize("dims", [2, 3])
def test_restoration_gives_one_channel_of_the_same_size(dims: int) -> None:
    sides = (6, 5, 1 if dims == 2 else 4)
    assert RestorationHead(8, dims=dims)(torch.randn(2, 8, *sides)).shape == (2, 1, *sides)


def test_the_global_vector_is_the_mean_over_space() -> None:
    features = torch.arange(16.0).reshape(1, 2, 2, 2, 2)
    assert global_vector(features).tolist() == [[3.5, 11.5]]
