"""What all methods share: the weighted sum, the random numbers of a step, gradients that are not finite."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from SSLSegmentationLib.errors import InputError
from Testing.trainer.tiny import tiny_plan
from trainer.methods import METHODS, method_class
from trainer.methods.base import Method, seed_step
from trainer.methods.optimiser import Optimiser


@dataclass(frozen=True)
class Settings:
    optimiser: Optimiser = field(default_factory=Optimiser)


class TwoTerms(Method):
    Settings = Settings

    def __init__(self, counts: dict[str, float], second: float = 1.0) -> None:
        super().__init__(None, Settings(), steps=10, seed=0)
        self.layer = torch.nn.Linear(1, 1)
        self.counts, self.second = counts, second

    def terms(self, batch: Any, step: int) -> dict[str, Tensor]:
        found = self.layer(torch.rand(1))
        return {"one": found.square().sum(), "two": self.second * found.sum()}

    def weights(self, step: int) -> dict[str, float]:
        return self.counts


def test_the_loss_is_the_weighted_sum_of_the_terms() -> None:
    total, terms = TwoTerms({"one": 2.0, "two": 0.5}).loss({}, 3)
    assert total.item() == pytest.approx(2 * terms["one"].item() + 0.5 * terms["two"].item())
    assert not terms["one"].requires_grad


def test_a_term_that_counts_nothing_cannot_spoil_the_sum() -> None:
    method = TwoTerms({"one": 1.0, "two": 0.0}, second=float("nan"))
    total, terms = method.loss({}, 0)
    assert torch.isfinite(total)
    assert terms["two"].isnan()


def test_a_step_in_which_nothing_counts_changes_nothing() -> None:
    method = TwoTerms({"one": 0.0, "two": 0.0})
    total, _ = method.loss({}, 0)
    total.backward()
    assert all(parameter.grad.abs().sum() == 0 for parameter in method.parameters())


def test_terms_without_a_weight_are_a_mistake_of_the_method() -> None:
    with pytest.raises(RuntimeError, match="weighs"):
        TwoTerms({"one": 1.0}).loss({}, 0)


def test_random_numbers_belong_to_the_step_whatever_was_drawn_before() -> None:
    method = TwoTerms({"one": 1.0, "two": 1.0})
    first = method.loss({}, 5)[0].item()
    torch.rand(7)
    assert method.loss({}, 5)[0].item() == first
    assert method.loss({}, 6)[0].item() != first
    method.rank = 1
    assert method.loss({}, 5)[0].item() != first


def test_every_step_and_rank_has_its_own_seed() -> None:
    seen = set()
    for place in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 2)]:
        seed_step(*place)
        seen.add(torch.rand(1).item())
    assert len(seen) == 5


def give_gradient(method: Method, value: float) -> None:
    for parameter in method.parameters():
        parameter.grad = torch.full_like(parameter, value)


def test_gradients_are_bounded() -> None:
    method = TwoTerms({})
    optimiser = method.configure_optimizers()
    give_gradient(method, 30.0)
    method.clip = 1.0
    method.configure_gradient_clipping(optimiser)
    norm = torch.stack([parameter.grad.norm() for parameter in method.parameters()]).norm()
    assert norm.item() == pytest.approx(1.0, rel=1e-4)


def test_a_gradient_that_is_not_finite_moves_nothing() -> None:
    method = TwoTerms({})
    optimiser = method.configure_optimizers()
    before = method.layer.weight.item()
    give_gradient(method, float("inf"))
    method.configure_gradient_clipping(optimiser)
    optimiser.step()
    assert method.layer.weight.item() == before


def test_training_that_has_diverged_is_ended_with_a_remedy() -> None:
    method = TwoTerms({})
    optimiser = method.configure_optimizers()
    for _ in range(99):
        give_gradient(method, float("nan"))
        method.configure_gradient_clipping(optimiser)
    give_gradient(method, float("nan"))
    with pytest.raises(InputError, match=r"diverged.*lower learning rate"):
        method.configure_gradient_clipping(optimiser)


def test_one_good_gradient_ends_a_row_of_lost_ones() -> None:
    method = TwoTerms({})
    optimiser = method.configure_optimizers()
    for value in [float("nan")] * 99 + [1.0] + [float("nan")] * 99:
        give_gradient(method, value)
        method.configure_gradient_clipping(optimiser)


def test_an_unknown_method_is_told_with_those_there_are() -> None:
    with pytest.raises(InputError, match=r'no method "magic".*supervised'):
        method_class("magic")


@pytest.mark.parametrize("name", METHODS)
def test_every_method_of_the_list_is_there_with_its_settings(name: str) -> None:
    kind = method_class(name)
    assert issubclass(kind, Method)
    assert isinstance(kind.Settings().optimiser, Optimiser)


# Supervised: the smallest method, and what the others are measured against.


def supervised(tmp_path: Path, **settings: Any) -> Method:
    plan = tiny_plan(tmp_path / "data")
    kind = method_class("supervised")
    torch.manual_seed(0)
    return kind(plan, kind.Settings(**settings), 10, 0)


def batch_of(image: Tensor, labels: Tensor) -> dict[str, Tensor]:
    return {"image": image, "labels": labels, "annotated": torch.ones((len(labels), 3), dtype=torch.bool)}


@pytest.mark.parametrize("term", ["cross_entropy", "dice"])
def test_each_supervised_term_alone_moves_every_layer(tmp_path: Path, term: str) -> None:
    method = supervised(tmp_path)
    labels = torch.randint(0, 3, (2, 1, 16, 16, 2))
    terms = method.terms(batch_of(torch.randn(2, 1, 16, 16, 2), labels), 0)
    terms[term].backward()
    weights = {name: weight for name, weight in method.named_parameters() if name.endswith("weight")}
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in weights.values())


@pytest.mark.parametrize("image", [torch.zeros(2, 1, 16, 16, 2), torch.full((2, 1, 16, 16, 2), 1e4)])
@pytest.mark.parametrize("label", [0, 2])
def test_degenerate_patches_give_finite_losses(tmp_path: Path, image: Tensor, label: int) -> None:
    method = supervised(tmp_path)
    total, terms = method.loss(batch_of(image, torch.full((2, 1, 16, 16, 2), label)), 0)
    total.backward()
    assert all(torch.isfinite(term) for term in terms.values())
    assert all(torch.isfinite(weight.grad).all() for weight in method.parameters())


def test_the_network_of_the_settings_replaces_that_of_the_plan(tmp_path: Path) -> None:
    method = supervised(tmp_path, network={"_target_": "SliceUNet", "widths": [2, 4]})
    assert method.predictor().definition["widths"] == [2, 4]
    assert method.predictor()(torch.zeros(1, 1, 16, 16, 2)).shape == (1, 3, 16, 16, 2)


def test_batches_are_those_of_the_labelled_cases(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path / "data")
    kind, split = method_class("supervised"), SimpleNamespace(labelled=("a", "b"))
    common = {"steps": 5, "seed": 1, "rank": 0, "world": 1}
    assert kind.batches(plan, None, split, kind.Settings(), **common).batch == plan.batch
    batches = kind.batches(plan, None, split, kind.Settings(batch=7, augmentation="crop"), **common)
    assert (batches.batch, batches.cases.names, batches.augmentation.affine) == (7, ("a", "b"), 0.0)
