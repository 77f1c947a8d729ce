from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from SSLSegmentationLib.inference.uncertainty import entropy, entropy_of_logits, fit_temperature, mutual_information
from Testing.strategies import numbers


@pytest.mark.parametrize("classes", [2, 3, 14, 118])
def test_all_classes_equally_likely_is_one_and_a_certain_class_is_zero(classes: int):
    uniform = torch.full((classes, 4), 1 / classes)
    torch.testing.assert_close(entropy(uniform), torch.ones(4))
    certain = torch.eye(classes)
    assert (entropy(certain) == 0).all()
    torch.testing.assert_close(entropy_of_logits(torch.full((classes, 4), -3.0)), torch.ones(4))
    torch.testing.assert_close(entropy_of_logits(1000 * torch.eye(classes)), torch.zeros(classes))


@pytest.mark.parametrize("classes", [2, 3, 14])
def test_two_certain_members_that_disagree_share_all_their_doubt(classes: int):
    members = torch.zeros(2, classes, 1)
    members[0, 0] = members[1, 1] = 1.0
    expected = torch.tensor([math.log(2) / math.log(classes)])
    torch.testing.assert_close(entropy(members.mean(dim=0)), expected)
    torch.testing.assert_close(mutual_information(members), expected)


@given(st.integers(2, 6), st.integers(1, 5), st.integers(0, 100))
def test_members_that_agree_have_no_mutual_information_however_unsure_they_are(classes: int, count: int, seed: int):
    one = torch.randn(classes, 7, generator=torch.Generator().manual_seed(seed)).softmax(dim=0)
    torch.testing.assert_close(mutual_information(one.repeat(count, 1, 1)), torch.zeros(7), atol=1e-6, rtol=0)


@given(st.integers(2, 5), st.integers(2, 6), st.integers(0, 100))
def test_mutual_information_lies_between_nothing_and_the_entropy(members: int, classes: int, seed: int):
    random = torch.Generator().manual_seed(seed)
    opinions = (4 * torch.randn(members, classes, 50, generator=random)).softmax(dim=1)
    information = mutual_information(opinions)
    assert (information >= 0).all()
    assert (information <= entropy(opinions.mean(dim=0)) + 1e-6).all()


@given(st.lists(numbers(-1e4, 1e4), min_size=2, max_size=6), st.sampled_from([0.1, 1.0, 2.5]))
def test_entropy_of_logits_is_that_of_their_softmax_also_where_logits_are_extreme(values: list[float], heat: float):
    logits = torch.tensor(values)[:, None]
    expected = entropy((logits.double() / heat).softmax(dim=0)).float()
    result = entropy_of_logits(logits.clone(), heat)
    assert torch.isfinite(result).all()
    torch.testing.assert_close(result, expected, atol=2e-5, rtol=1e-4)


def test_a_higher_temperature_means_more_doubt():
    logits = torch.tensor([[2.0], [0.5], [-1.0]])
    doubts = [entropy_of_logits(logits.clone(), heat).item() for heat in (0.2, 0.5, 1.0, 3.0, 50.0)]
    assert doubts == sorted(doubts)
    assert doubts[-1] == pytest.approx(1.0, abs=1e-2)


def overconfident(heat: float, count: int = 40_000) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits that are `heat` times too large, with labels drawn from what they should have said: a known error rate."""
    random = torch.Generator().manual_seed(0)
    honest = 1.5 * torch.randn(4, count, generator=random)
    labels = torch.multinomial(honest.softmax(dim=0).T, 1, generator=random)[:, 0]
    return honest * heat, labels


def calibration_error(logits: torch.Tensor, labels: torch.Tensor, heat: float) -> float:
    """Expected calibration error over fifteen bins of confidence."""
    confidence, winner = (logits / heat).softmax(dim=0).max(dim=0)
    right = (winner == labels).float()
    bins = (confidence * 15).long().clamp(max=14)
    gaps = [(confidence[bins == b].mean() - right[bins == b].mean()).abs() * (bins == b).sum() for b in bins.unique()]
    return float(sum(gaps) / labels.numel())


@pytest.mark.parametrize("heat", [0.4, 1.0, 2.0, 6.0])
def test_the_temperature_of_data_with_a_known_error_rate_is_found(heat: float):
    assert fit_temperature(*overconfident(heat)) == pytest.approx(heat, rel=0.03)


@pytest.mark.parametrize("heat", [0.4, 2.0, 6.0])
def test_the_fitted_temperature_makes_confidence_equal_the_rate_of_being_right(heat: float):
    logits, labels = overconfident(heat)
    before = calibration_error(logits, labels, 1.0)
    after = calibration_error(logits, labels, fit_temperature(logits, labels))
    assert after < 0.01 < before
