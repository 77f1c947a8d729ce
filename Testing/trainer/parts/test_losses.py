"""Losses against labels: MONAI's where every class is annotated, and background joined with what is not."""

from __future__ import annotations

from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.losses import DiceLoss

from trainer.parts import in_pieces
from trainer.parts.losses import (
    cross_entropy,
    dice_loss,
    known_labels,
    log_probabilities,
    squared_error_where,
    supervised,
)

SIDES = (5, 4, 3)


def random_case(classes=4, cases=3, seed=0):
    random = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(cases, classes, *SIDES, generator=random)
    labels = torch.randint(classes, (cases, 1, *SIDES), generator=random)
    return logits, labels


@given(seed=st.integers(0, 1000), classes=st.integers(2, 5))
def test_with_all_classes_annotated_they_are_those_of_monai_and_torch(seed, classes):
    logits, labels = random_case(classes, seed=seed)
    ce, dice = supervised(logits, labels, torch.ones(3, classes, dtype=torch.bool))
    theirs = DiceLoss(
        include_background=False, to_onehot_y=True, softmax=True, squared_pred=True, batch=True,
        smooth_nr=1e-5, smooth_dr=1e-5,
    )  # fmt: skip
    torch.testing.assert_close(dice, theirs(logits, labels))
    torch.testing.assert_close(ce, torch.nn.functional.cross_entropy(logits, labels[:, 0]))


@given(seed=st.integers(0, 1000), missing=st.sets(st.integers(1, 3), min_size=1, max_size=3))
def test_what_a_case_does_not_annotate_is_joined_with_its_background(seed, missing):
    logits, _ = random_case(seed=seed)
    annotated = torch.ones(3, 4, dtype=torch.bool)
    annotated[1, list(missing)] = False
    p, expected = log_probabilities(logits, annotated).exp(), logits.softmax(1)
    torch.testing.assert_close(p[[0, 2]], expected[[0, 2]])
    torch.testing.assert_close(p[1, 0], expected[1, [0, *missing]].sum(0))
    assert (p[1, list(missing)] == 0).all()
    torch.testing.assert_close(p.sum(1), torch.ones(3, *SIDES))


def test_labels_of_classes_that_a_case_does_not_annotate_are_background():
    logits, labels = random_case()
    annotated = torch.ones(3, 4, dtype=torch.bool)
    annotated[0, 2] = False
    known = known_labels(labels, annotated)
    assert torch.equal(known[1:], labels[1:])
    assert torch.equal(known[0], torch.where(labels[0] == 2, 0, labels[0]))
    assert all(torch.isfinite(loss) for loss in supervised(logits, labels, annotated))


def test_the_joined_losses_are_those_of_a_network_that_knows_fewer_classes():
    logits, labels = random_case(3)
    labels = labels.clamp(max=1)
    annotated = torch.tensor([[True, True, False]] * 3)
    joined = torch.stack([logits[:, [0, 2]].logsumexp(1), logits[:, 1]], dim=1)
    ours, theirs = supervised(logits, labels, annotated), supervised(joined, labels)
    torch.testing.assert_close(ours[0], theirs[0])
    torch.testing.assert_close(ours[1], theirs[1])


def test_a_voxel_of_background_does_not_lower_what_the_case_does_not_annotate():
    """All of the gradient goes to the sum of both: they gain together, at the cost of the annotated class."""
    logits = torch.zeros(1, 3, 1, 1, 1, requires_grad=True)
    log_p = log_probabilities(logits, torch.tensor([[True, True, False]]))
    cross_entropy(log_p, torch.zeros(1, 1, 1, 1, 1, dtype=torch.long)).backward()
    torch.testing.assert_close(logits.grad.flatten(), torch.tensor([-1 / 6, 1 / 3, -1 / 6]))


def test_a_class_that_no_case_annotates_is_left_out_of_the_dice_loss():
    logits, labels = random_case(3)
    annotated = torch.tensor([[True, True, False]] * 3)
    labels = labels.clamp(max=1)
    log_p = log_probabilities(logits, annotated)
    p = log_p.exp()
    torch.testing.assert_close(dice_loss(p, labels, annotated), dice_loss(p[:, :2], labels))
    nobody = torch.tensor([[True, False, False]] * 3)
    assert dice_loss(log_probabilities(logits, nobody).exp(), labels * 0, nobody) == 0


def test_perfect_probabilities_have_no_loss():
    _, labels = random_case(3)
    p = torch.nn.functional.one_hot(labels[:, 0], 3).movedim(-1, 1).float()
    assert dice_loss(p, labels) == pytest.approx(0, abs=1e-6)
    assert squared_error_where(p, labels, torch.ones(3, *SIDES, dtype=torch.bool)) == 0


def test_the_squared_error_of_two_classes_is_the_published_one():
    logits, labels = random_case(2)
    p = logits.softmax(1)
    where = torch.rand(3, *SIDES, generator=torch.Generator().manual_seed(0)) > 0.5
    published = (where * (p[:, 1] - labels[:, 0]) ** 2).sum() / (where.sum() + 1e-16)
    torch.testing.assert_close(squared_error_where(p, labels, where), published)
    assert squared_error_where(p, labels, torch.zeros_like(where)) == 0


def test_losses_of_half_precision_logits_are_computed_in_full():
    logits, labels = random_case()
    exact = supervised(logits.bfloat16().float(), labels)
    half = supervised(logits.bfloat16(), labels)
    assert half[0].dtype == half[1].dtype == torch.float32
    assert exact[0] == half[0]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    classes=st.integers(2, 5),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    last=st.booleans(),
    weights=st.tuples(st.floats(-2, 2), st.floats(-2, 2)),
    spread=st.sampled_from([0.1, 3.0, 50.0]),
)
def test_the_written_gradient_is_that_of_autograd(seed, classes, dtype, last, weights, spread):
    logits, labels = random_case(classes, seed=seed)
    results = []
    for voxels in (None, 7, 10_000):
        x = (spread * logits).to(dtype)
        x = (x.contiguous(memory_format=torch.channels_last_3d) if last else x).requires_grad_()
        if voxels is None:
            log_p = log_probabilities(x)
            ce, dice = cross_entropy(log_p, labels), dice_loss(log_p.exp(), labels)
        else:
            with mock.patch.object(in_pieces, "_VOXELS", voxels):
                ce, dice = supervised(x, labels)
        with mock.patch.object(in_pieces, "_VOXELS", voxels):
            (weights[0] * ce + weights[1] * dice).backward()
        results.append((ce.detach(), dice.detach(), x.grad.float()))
    tolerance = {"rtol": 1e-4, "atol": 1e-7} if dtype == torch.float32 else {"rtol": 1e-2, "atol": 1e-5}
    for expected, *found in zip(*results, strict=True):
        for one in found:
            torch.testing.assert_close(one, expected, **tolerance)


def test_only_one_of_the_losses_may_be_asked_for():
    logits, labels = random_case()
    for which in (0, 1):
        logits = logits.detach().requires_grad_()
        supervised(logits, labels)[which].backward()
        assert logits.grad.abs().sum() > 0
