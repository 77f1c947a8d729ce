from __future__ import annotations

import numpy as np

from trainer.evaluate.bootstrap import gain_of, mean_of


def test_the_interval_holds_the_mean_and_shrinks_with_the_number_of_cases() -> None:
    random = np.random.default_rng(0)
    few, many = mean_of(random.normal(0.8, 0.1, 10)), mean_of(random.normal(0.8, 0.1, 1000))
    assert few.low < few.value < few.high
    assert many.high - many.low < (few.high - few.low) / 3


def test_the_interval_is_near_that_of_the_normal_distribution() -> None:
    values = np.random.default_rng(1).normal(0.0, 1.0, 400)
    found = mean_of(values)
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert abs((found.high - found.low) / 2 - half) < 0.1 * half


def test_cases_that_are_not_scored_are_left_out() -> None:
    found = mean_of(np.array([0.5, np.nan, 0.7]))
    assert found.cases == 2
    assert np.isclose(found.value, 0.6)


def test_nothing_scored_has_no_mean() -> None:
    found = mean_of(np.array([np.nan]))
    assert found.cases == 0
    assert np.isnan(found.value)


def test_a_gain_in_every_case_is_certain_however_much_cases_differ() -> None:
    base = np.linspace(0.1, 0.9, 20)
    found = gain_of(base + 0.02, base)
    assert np.isclose(found.low, 0.02)
    assert np.isclose(found.high, 0.02)


def test_the_same_figures_give_the_same_interval() -> None:
    values = np.random.default_rng(2).random(20)
    assert mean_of(values) == mean_of(values)
