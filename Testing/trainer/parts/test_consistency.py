"""Losses without labels, against their formulas written out."""

from __future__ import annotations

import math

import pytest
import torch

from trainer.parts.consistency import (
    cosine_distance,
    pseudo_cross_entropy,
    pseudo_labels,
    rectified_cross_entropy,
    squared_difference,
)

SIDES = (4, 3, 2)


@pytest.fixture
def logits():
    random = torch.Generator().manual_seed(0)
    return [2 * torch.randn(2, 3, *SIDES, generator=random) for _ in range(2)]


def test_pseudo_cross_entropy_is_weighted_by_how_few_voxels_are_reliable(logits):
    target = logits[1].argmax(1)
    voxelwise = torch.nn.functional.cross_entropy(logits[0], target, reduction="none")
    torch.testing.assert_close(pseudo_cross_entropy(logits[0], target), voxelwise.mean())
    reliable = torch.zeros_like(target, dtype=torch.bool)
    reliable[0] = True
    torch.testing.assert_close(pseudo_cross_entropy(logits[0], target, reliable), 2 * voxelwise[0].mean())
    reliable[0, 1:] = False
    torch.testing.assert_close(pseudo_cross_entropy(logits[0], target, reliable), 5 * voxelwise[0, 0].mean())
    torch.testing.assert_close(pseudo_cross_entropy(logits[0], target, reliable, None), 8 * voxelwise[0, 0].mean())


def test_without_a_reliable_voxel_there_is_no_loss_but_a_graph(logits):
    student = logits[0].requires_grad_(True)
    nothing = torch.zeros(2, *SIDES, dtype=torch.bool)
    loss = pseudo_cross_entropy(student, pseudo_labels(logits[1]), nothing)
    loss.backward()
    assert loss == 0
    assert (student.grad == 0).all()


def test_rectified_cross_entropy_is_the_formula(logits):
    s, t = logits
    expected = []
    for student, teacher in zip(s.movedim(1, -1).reshape(-1, 3), t.movedim(1, -1).reshape(-1, 3), strict=True):
        p, q = student.softmax(0), teacher.softmax(0)
        kl = float((q * (q / p).log()).sum())
        expected.append(math.exp(-kl) * -math.log(p[int(teacher.argmax())]) + kl)
    assert rectified_cross_entropy(s, t) == pytest.approx(sum(expected) / len(expected), rel=1e-5)


def test_rectified_cross_entropy_of_agreement_is_that_of_its_class_or_its_entropy(logits):
    p = logits[0].softmax(1)
    agreed = rectified_cross_entropy(logits[0], logits[0])
    torch.testing.assert_close(agreed, -p.amax(1).log().mean())
    entropy = -(p * p.log()).sum(1).mean()
    torch.testing.assert_close(rectified_cross_entropy(logits[0], logits[0], soft=True), entropy)
    # The temperature sharpens the teacher: with logits twice as large it is as if there were none of 2.
    torch.testing.assert_close(
        rectified_cross_entropy(logits[0], 2 * logits[1], soft=True, temperature=2.0),
        rectified_cross_entropy(logits[0], logits[1], soft=True),
    )


@pytest.mark.parametrize("soft", [False, True])
def test_the_teacher_gets_no_gradient(logits, soft):
    student, teacher = (each.requires_grad_(True) for each in logits)
    rectified_cross_entropy(student, teacher, soft=soft).backward()
    squared_difference(student, teacher).backward()
    assert teacher.grad is None
    assert (student.grad != 0).any()


def test_cosine_distance_is_zero_for_agreement_and_one_for_certain_disagreement(logits):
    assert cosine_distance(logits[0], logits[0]) == pytest.approx(0, abs=1e-6)
    one, other = torch.zeros(1, 2, *SIDES), torch.zeros(1, 2, *SIDES)
    one[:, 0], other[:, 1] = 50.0, 50.0
    assert cosine_distance(one, other) == pytest.approx(1)


def test_squared_difference_counts_the_voxels_of_the_mask(logits):
    p, q = logits[0].softmax(1), logits[1].softmax(1)
    torch.testing.assert_close(squared_difference(logits[0], q), (p - q).square().mean())
    where = torch.zeros(2, *SIDES, dtype=torch.bool)
    assert squared_difference(logits[0], q, where) == 0
    where[1, 2] = True
    torch.testing.assert_close(squared_difference(logits[0], q, where), (p - q).square()[1, :, 2].mean())
