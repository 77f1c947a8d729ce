"""Prototypes: means of enough voxels, remembered, and drawn to by unsure voxels."""

from __future__ import annotations

import pytest
import torch

from trainer.parts.prototypes import (
    FEWEST_VOXELS,
    PrototypeMemory,
    class_means,
    draw_voxels,
    prototype_contrast,
    prototype_distance,
)

SIDES = (6, 5, 4)


@pytest.fixture
def scene():
    random = torch.Generator().manual_seed(0)
    feat = torch.randn(2, 3, *SIDES, generator=random)
    target = torch.randint(2, (2, *SIDES), generator=random)
    where = torch.rand(2, *SIDES, generator=random) > 0.3
    return feat, target, where


def test_means_are_those_of_the_chosen_voxels_of_each_class(scene):
    feat, target, where = scene
    means, enough = class_means(feat, target, where, 3)
    for group in range(2):
        torch.testing.assert_close(means[group], feat.movedim(1, -1)[where & (target == group)].mean(0))
    assert enough.tolist() == [True, True, False]
    assert (means[2] == 0).all()


@pytest.mark.parametrize(("voxels", "enough"), [(0, False), (FEWEST_VOXELS - 1, False), (FEWEST_VOXELS, True)])
def test_a_class_with_too_few_voxels_has_no_mean(scene, voxels, enough):
    feat, target, _ = scene
    where = torch.zeros_like(target, dtype=torch.bool)
    where.view(-1)[(target.view(-1) == 1).nonzero()[:voxels, 0]] = True
    assert class_means(feat, target, where, 2)[1].tolist() == [False, enough]


def test_means_are_exact_where_networks_compute_in_half(scene):
    feat, target, where = scene
    with torch.autocast("cpu", torch.bfloat16):
        means, _ = class_means(feat, target, where, 2)
    torch.testing.assert_close(means, class_means(feat, target, where, 2)[0])


def test_the_memory_takes_the_first_mean_and_then_moves_slowly():
    memory = PrototypeMemory(2, 1, momentum=0.9)
    both, first = torch.tensor([True, True]), torch.tensor([True, False])
    memory.update(torch.tensor([[1.0], [7.0]]), first)
    assert memory.seen.tolist() == [True, False]
    assert memory.means.flatten().tolist() == [1, 0]
    for _ in range(5):
        memory.update(torch.tensor([[2.0], [7.0]]), both)
    assert memory.means[0].item() == pytest.approx(2 - 0.9**5)
    assert memory.means[1].item() == pytest.approx(7)
    assert memory.seen.tolist() == [True, True]


def test_so_many_voxels_of_each_class_are_drawn_and_none_twice(scene):
    _, target, where = scene
    torch.manual_seed(0)
    drawn = draw_voxels(where, target, 20)
    assert len(drawn) == len(drawn.unique()) == 40
    assert where.flatten()[drawn].all()
    assert target.flatten()[drawn].bincount().tolist() == [20, 20]
    assert len(draw_voxels(where, target, 10**6)) == int(where.sum())
    assert len(draw_voxels(torch.zeros_like(where), target, 20)) == 0


def test_contrast_is_the_formula(scene):
    feat, target, where = scene
    means = torch.randn(2, 3, generator=torch.Generator().manual_seed(1))
    voxels = where.flatten().nonzero()[:, 0]
    rows = torch.nn.functional.normalize(feat.movedim(1, -1).reshape(-1, 3)[voxels])
    prototypes = torch.nn.functional.normalize(means)
    scores = -(torch.cdist(rows, prototypes) ** 2) / 0.1
    wanted = target.flatten()[voxels]
    losses = torch.nn.functional.cross_entropy(scores, wanted, reduction="none")
    expected = torch.stack([losses[wanted == c].mean() for c in (0, 1)]).mean()
    ours = prototype_contrast(feat, target, voxels, means, torch.ones(2, dtype=torch.bool), 0.1)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def test_descending_the_contrast_brings_voxels_to_their_class(scene):
    feat, target, where = scene
    feat = feat.clone().requires_grad_(True)
    means = torch.eye(3)[:2]
    voxels = where.flatten().nonzero()[:, 0]
    for _ in range(50):
        loss = prototype_contrast(feat, target, voxels, means, torch.ones(2, dtype=torch.bool), 0.1)
        (gradient,) = torch.autograd.grad(loss, feat)
        feat = (feat - 20 * gradient).detach().requires_grad_(True)
    rows = torch.nn.functional.normalize(feat.movedim(1, -1).reshape(-1, 3)[voxels])
    assert ((rows @ means.T).argmax(1) == target.flatten()[voxels]).float().mean() > 0.95
    untouched = (~where).flatten()
    assert torch.equal(feat.movedim(1, -1).reshape(-1, 3)[untouched], scene[0].movedim(1, -1).reshape(-1, 3)[untouched])


def test_a_class_of_a_few_voxels_counts_as_much_as_one_of_many(scene):
    feat, target, where = scene
    voxels = where.flatten().nonzero()[:, 0]
    few = target.flatten()[voxels] == 1
    kept = torch.cat([voxels[~few], voxels[few][:2]])
    means, seen = torch.randn(2, 3, generator=torch.Generator().manual_seed(1)), torch.ones(2, dtype=torch.bool)
    alone = [prototype_contrast(feat, target, part, means, seen, 0.5) for part in (kept[:-2], kept[-2:])]
    both = prototype_contrast(feat, target, kept, means, seen, 0.5)
    torch.testing.assert_close(both, torch.stack(alone).mean())


@pytest.mark.parametrize("seen", [[False, False], [True, False]])
def test_with_fewer_than_two_prototypes_there_is_nothing_to_contrast(scene, seen):
    feat, target, where = scene
    feat = feat.clone().requires_grad_(True)
    voxels = where.flatten().nonzero()[:, 0]
    loss = prototype_contrast(feat, target, voxels, torch.zeros(2, 3), torch.tensor(seen), 0.1)
    loss.backward()
    assert loss == 0
    assert (feat.grad == 0).all()


def test_a_class_without_prototype_takes_no_part(scene):
    feat, target, _ = scene
    target = target + (torch.rand(target.shape, generator=torch.Generator().manual_seed(2)) > 0.7)
    voxels = torch.arange(target.numel())
    seen = torch.tensor([True, True, False])
    means = torch.randn(3, 3, generator=torch.Generator().manual_seed(1))
    ours = prototype_contrast(feat, target, voxels, means, seen, 0.1)
    known = voxels[target.flatten() < 2]
    torch.testing.assert_close(ours, prototype_contrast(feat, target, known, means[:2], seen[:2], 0.1))


def test_distance_draws_voxels_in_and_pushes_means_apart():
    feat = torch.zeros(1, 2, 4, 1, 1)
    feat[0, 0] = 1.0  # all voxels point the same way, so the means are not apart at all
    target = torch.tensor([0, 0, 1, 1]).view(1, 4, 1, 1)
    means = torch.tensor([[1.0, 0.0], [1.0, 0.1]], requires_grad=True)
    seen = torch.tensor([True, True])
    loss = prototype_distance(feat, target, torch.arange(4), means, seen)
    away = float(torch.linalg.norm(torch.nn.functional.normalize(means.detach(), dim=1).diff(dim=0)))
    assert loss.item() == pytest.approx(away / 2 + 1 - away, abs=1e-4)
    loss.backward()
    assert means.grad[1, 1] < 0 < means.grad[0, 1]  # descending, they part


def test_distance_of_identical_means_has_a_finite_gradient():
    feat = torch.zeros(1, 2, 4, 1, 1, requires_grad=True)
    means = torch.zeros(2, 2, requires_grad=True)
    target = torch.zeros(1, 4, 1, 1, dtype=torch.long)
    prototype_distance(feat, target, torch.arange(4), means, torch.tensor([True, True])).backward()
    assert torch.isfinite(feat.grad).all()
    assert torch.isfinite(means.grad).all()
