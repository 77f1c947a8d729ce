from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from trainer.parts.contrast import byol_distance, nothing, nt_xent, triplet_infonce, unit


def _naive_nt_xent(vectors: Tensor, classes: Tensor, temperature: float) -> float:
    """The formula, written as two loops."""
    cosines = functional.cosine_similarity(vectors[:, None], vectors[None], dim=-1).tolist()
    losses = []
    for a in range(len(vectors)):
        others = [math.exp(cosines[a][n] / temperature) for n in range(len(vectors)) if classes[n] != classes[a]]
        for p in range(len(vectors)):
            if p != a and classes[p] == classes[a]:
                near = math.exp(cosines[a][p] / temperature)
                losses.append(-math.log(near / (near + sum(others))))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("temperature", [0.05, 0.5])
@pytest.mark.parametrize("classes", [[0, 1, 0, 1, 0, 2, 2], [1, 1, 1, 0], [0, 1, 2, 0, 1, 2]])
def test_nt_xent_equals_the_double_loop(classes: list[int], temperature: float) -> None:
    vectors = torch.randn(len(classes), 5, generator=torch.Generator().manual_seed(1))
    expected = _naive_nt_xent(vectors, torch.tensor(classes), temperature)
    assert nt_xent(vectors, torch.tensor(classes), temperature).item() == pytest.approx(expected, rel=1e-4)


def test_nt_xent_with_every_class_twice_is_cross_entropy_over_all_others() -> None:
    vectors = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))
    logits = (unit(vectors) @ unit(vectors).T / 0.2).fill_diagonal_(-torch.inf)
    expected = functional.cross_entropy(logits, torch.arange(8) ^ 1)
    assert nt_xent(vectors, torch.arange(8) // 2, 0.2).item() == pytest.approx(expected.item(), rel=1e-4)


def test_nt_xent_is_as_exact_in_mixed_precision() -> None:
    vectors, classes = torch.randn(6, 5, generator=torch.Generator().manual_seed(1)), torch.arange(6) % 2
    with torch.autocast("cpu", torch.bfloat16):
        found = nt_xent(vectors, classes, 0.05)
    assert found.item() == pytest.approx(nt_xent(vectors, classes, 0.05).item(), rel=1e-6)


def test_triplets_and_byol_are_as_exact_in_mixed_precision() -> None:
    a, b, negatives = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(1)).unbind()
    with torch.autocast("cpu", torch.bfloat16):
        found = triplet_infonce(a, b, negatives[:, None], 0.1), byol_distance(a, b)
    assert found[0].item() == pytest.approx(triplet_infonce(a, b, negatives[:, None], 0.1).item(), rel=1e-6)
    assert torch.allclose(found[1], byol_distance(a, b), rtol=1e-6)


@pytest.mark.parametrize("classes", [[], [0], [0, 1, 2], [1, 1, 1]])
def test_nt_xent_without_pairs_or_negatives_is_zero_without_nan(classes: list[int]) -> None:
    vectors = torch.randn(len(classes), 4, requires_grad=True)
    loss = nt_xent(vectors, torch.tensor(classes, dtype=torch.long), 0.05)
    loss.backward()
    assert loss.item() == 0
    assert (vectors.grad == 0).all()


def test_nt_xent_has_a_finite_gradient_where_one_class_has_no_negative_of_its_own() -> None:
    vectors = torch.zeros(4, 3, requires_grad=True)  # as of a constant image
    loss = nt_xent(vectors, torch.tensor([0, 0, 1, 1]), 0.05)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(vectors.grad).all()


def test_one_negative_is_the_softplus_of_the_difference_of_cosines() -> None:
    anchor, positive, negative = torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(0))
    near = functional.cosine_similarity(anchor, positive)
    far = functional.cosine_similarity(anchor, negative)
    expected = -torch.log((near / 0.5).exp() / ((near / 0.5).exp() + (far / 0.5).exp())).mean()
    found = triplet_infonce(anchor, positive, negative[:, None], 0.5)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_closer_positive_costs_less() -> None:
    anchor, negative = torch.tensor([[1.0, 0.0]]), torch.tensor([[[0.0, 1.0]]])
    near, far = torch.tensor([[1.0, 0.1]]), torch.tensor([[1.0, 1.0]])
    assert triplet_infonce(anchor, near, negative, 0.5) < triplet_infonce(anchor, far, negative, 0.5)


def test_byol_distance_is_zero_for_the_same_direction_and_four_for_the_opposite() -> None:
    q = torch.tensor([[1.0, 2.0], [1.0, 2.0], [0.0, 1.0]])
    z = torch.tensor([[2.0, 4.0], [-1.0, -2.0], [1.0, 0.0]])
    assert byol_distance(q, z).tolist() == pytest.approx([0, 4, 2], abs=1e-5)


def test_the_target_of_byol_gets_no_gradient() -> None:
    q, z = torch.randn(2, 3, 4).requires_grad_().unbind()
    q.retain_grad()
    z.retain_grad()
    byol_distance(q, z).sum().backward()
    assert q.grad.abs().sum() > 0
    assert z.grad is None


def test_vectors_of_zero_have_a_bounded_gradient() -> None:
    q = torch.zeros(2, 4, requires_grad=True)
    byol_distance(q, torch.ones(2, 4)).sum().backward()
    assert q.grad.abs().max() < 1e5


def test_nothing_is_zero_and_connected_even_to_values_that_are_not_finite() -> None:
    value = torch.tensor([math.inf, math.nan], requires_grad=True)
    loss = nothing(value)
    loss.backward()
    assert loss.item() == 0
    assert value.grad.tolist() == [0, 0]
