"""Learning rates at the steps that papers list, and what a group's own rate does."""

from __future__ import annotations

import pytest
import torch

from trainer.methods.optimiser import Optimiser, Schedule


def test_the_rate_falls_at_the_milestones() -> None:
    schedule = Schedule("step", milestones=(2500, 5000), factor=0.1, of=6000)
    factors = [schedule(step, 6000) for step in (0, 2499, 2500, 4999, 5000, 5999)]
    assert factors == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_milestones_are_stretched_with_the_training_only_where_it_is_said_what_they_are_for() -> None:
    stretched, fixed = Schedule("step", milestones=(2500,), of=6000), Schedule("step", milestones=(2500,))
    assert [stretched(step, 600) for step in (249, 250)] == pytest.approx([1, 0.1])
    assert [fixed(step, 600) for step in (250, 599)] == [1, 1]


def test_poly_is_what_its_formula_says() -> None:
    schedule = Schedule("poly", power=0.9)
    assert [schedule(step, 100) for step in (0, 50, 99)] == pytest.approx([1, 0.5**0.9, 0.01**0.9])


def test_the_cosine_begins_after_the_warm_up_and_ends_near_zero() -> None:
    schedule = Schedule("cosine", warm_up=10)
    assert [schedule(step, 110) for step in (0, 9, 10, 60)] == pytest.approx([1 / 11, 10 / 11, 1, 0.5])
    assert 0 < schedule(109, 110) < 1e-3
    assert schedule(500, 110) == pytest.approx(0)


def test_restarts_begin_again_every_period() -> None:
    schedule = Schedule("restarts", period=10)
    assert [schedule(step, 100) for step in (0, 5, 10, 15, 20)] == pytest.approx([1, 0.5, 1, 0.5, 1])


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "muon"])
def test_a_group_scales_its_own_rate(name: str) -> None:
    weights = [torch.nn.Parameter(torch.ones(1)) for _ in range(2)]
    record = Optimiser(name, lr=0.1, schedule=Schedule("step", milestones=(5,)))
    optimiser = record([{"params": weights[:1]}, {"params": weights[1:], "rate": 0.1}])
    assert record.set_rate(optimiser, 5, 10) == pytest.approx(0.01)
    assert [group["lr"] for group in optimiser.param_groups] == pytest.approx([0.01, 0.001])


def test_a_group_may_be_slowed_for_the_first_part_of_the_training() -> None:
    record = Optimiser("adamw", 0.01)
    weights = [torch.nn.Parameter(torch.zeros(2)) for _ in range(2)]
    optimiser = record([{"params": weights[:1], "rate": 0.1, "until": 0.1}, {"params": weights[1:]}])
    rates = []
    for step in (0, 9, 10, 99):
        record.set_rate(optimiser, step, 100)
        rates.append([group["lr"] for group in optimiser.param_groups])
    assert rates == [pytest.approx(expected) for expected in ([1e-3, 0.01], [1e-3, 0.01], [0.01, 0.01], [0.01, 0.01])]
