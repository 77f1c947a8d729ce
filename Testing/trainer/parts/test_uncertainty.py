"""Doubt: entropy, which voxels are sure, where confident networks disagree, and random passes."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.parts.uncertainty import (
    confident_disagreement,
    entropy,
    mean_of_passes,
    most_certain,
    noisy,
)


def test_entropy_is_zero_where_sure_and_largest_where_all_is_alike():
    p = torch.zeros(1, 4, 2, 1, 1)
    p[0, 2, 0] = 1.0
    p[0, :, 1] = 0.25
    torch.testing.assert_close(entropy(p).flatten(), torch.tensor([0.0, math.log(4)]))


@given(keep=st.floats(0.01, 0.99), seed=st.integers(0, 100))
def test_the_part_with_the_least_doubt_is_kept(keep, seed):
    doubt = torch.rand(2, 5, 5, 4, generator=torch.Generator().manual_seed(seed))
    kept = most_certain(doubt, keep)
    assert int(kept.sum()) == max(1, math.ceil(keep * 200))
    assert doubt[kept].max() <= doubt[~kept].min() if (~kept).any() else True


@given(keep=st.floats(0.05, 0.95), seed=st.integers(0, 100))
def test_the_part_is_kept_of_every_class_however_rare(keep, seed):
    random = torch.Generator().manual_seed(seed)
    doubt = torch.rand(2, 5, 5, 4, generator=random)
    groups = torch.zeros(2, 5, 5, 4, dtype=torch.long)
    groups[0, 0] = 1
    groups[1, 0, 0, 0] = 2
    doubt[groups > 0] += 10  # the rare classes are the doubtful ones
    kept = most_certain(doubt, keep, groups)
    for group in range(3):
        members = int((groups == group).sum())
        assert int((kept & (groups == group)).sum()) == max(1, math.ceil(keep * members))


def test_equal_doubt_everywhere_and_keeping_all_keep_all():
    doubt = torch.full((1, 3, 3, 3), 0.4)
    assert most_certain(doubt, 0.2).all()
    assert most_certain(torch.rand(1, 3, 3, 3), 1.0).all()


def test_confident_disagreement_of_two_classes_is_the_published_exclusive_or():
    random = torch.Generator().manual_seed(0)
    p, q = (2 * torch.randn(2, 2, 4, 4, 4, generator=random) for _ in range(2))
    p, q = p.softmax(1), q.softmax(1)
    sure = [(each.argmax(1) == 1) & (each.amax(1) >= 0.6) for each in (p, q)]
    assert torch.equal(confident_disagreement(p, q), sure[0] ^ sure[1])


def test_several_classes_disagree_where_their_confident_foreground_differs():
    certain = torch.eye(3)[None, :, :, None, None]  # three voxels, of class 0, 1 and 2
    unsure = torch.full((1, 3, 3, 1, 1), 1 / 3)
    assert confident_disagreement(certain, unsure).flatten().tolist() == [False, True, True]
    assert confident_disagreement(certain, certain.flip(1)).flatten().tolist() == [True, False, True]
    assert not confident_disagreement(certain, certain).any()


def test_noise_is_bounded_and_passes_are_averaged_without_gradient():
    torch.manual_seed(0)
    image = torch.zeros(1, 1, 8, 8, 8)
    seen = noisy(image, 0.1)
    assert seen.abs().max() <= 0.2
    assert seen.std() == pytest.approx(0.09, abs=0.01)
    weight = torch.ones((), requires_grad=True)
    passes = []

    def network(image):
        passes.append(image)
        return weight * torch.cat([image, -image], dim=1)

    mean = mean_of_passes(network, image, 4, 0.1)
    assert not mean.requires_grad
    assert len({float(one.sum()) for one in passes}) == 4
    expected = torch.stack([torch.cat([one, -one], 1).softmax(1) for one in passes]).mean(0)
    torch.testing.assert_close(mean, expected)
