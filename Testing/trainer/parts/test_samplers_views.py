from __future__ import annotations

import numpy as np
import pytest
import torch

from Testing.trainer.methods.tiny import FLAT, tiny_plan
from Testing.trainer.parts.cases import cases
from trainer.parts.looks import Look, change
from trainer.parts.samplers_views import Crops, TwoViews
from trainer.parts.views import in_other_view, is_inside, match_places

PLAIN = Look(0.0, 0.0, 0.0)


def _views(sides: tuple[int, int, int] = (8, 8, 8), crops: Crops | None = None, store: object = None) -> TwoViews:
    plan = tiny_plan(3, FLAT, sides) if sides[2] == 1 else tiny_plan(sides=sides)
    store = store or cases()
    return TwoViews(plan, store, sorted(store), steps=10, seed=1, crops=crops)


@pytest.mark.parametrize("sides", [(8, 8, 8), (16, 16, 1), (24, 24, 16)])
def test_batches_hold_two_views_and_where_they_lie(sides: tuple[int, int, int]) -> None:
    batch = _views(sides)[2]
    assert batch["view_a"].shape == batch["view_b"].shape == (4, 1, *sides)
    assert batch["view_a"].dtype == torch.float32
    assert batch["affine_a"].shape == batch["affine_b"].shape == (4, 3, 4)
    assert all(torch.isfinite(value).all() for value in batch.values())


@pytest.mark.parametrize("sides", [(12, 12, 8), (16, 16, 1)])
@pytest.mark.parametrize("flips", [(), (0, 1)])
def test_the_affines_tell_the_truth_about_the_views(sides: tuple[int, int, int], flips: tuple[int, ...]) -> None:
    """On an image that changes evenly, what one view shows is what the other shows at the place it is mapped to."""
    store = cases(4, (40, 40, 40))
    i, j, k = np.meshgrid(*map(np.arange, (40, 40, 40)), indexing="ij")
    for case in store.values():
        case.image[:] = i + 2 * j - k
    for step in range(4):
        batch = _views(sides, Crops(first=PLAIN, second=PLAIN, flips=flips), store)[step]
        matches = match_places(batch["view_b"], batch["affine_a"], batch["affine_b"], sides, 10**6)
        assert len(matches.cell) > 0
        assert torch.allclose(matches.rows(batch["view_a"]), matches.target, atol=1e-3)


@pytest.mark.parametrize("sides", [(16, 16, 8), (16, 16, 1)])
def test_views_share_at_least_thirty_percent(sides: tuple[int, int, int]) -> None:
    views = _views(sides)
    for step in range(8):
        batch = views[step]
        for here, there in (("affine_a", "affine_b"), ("affine_b", "affine_a")):
            positions = in_other_view(batch[here], batch[there], (64, 64, 1 if sides[2] == 1 else 64))
            shared = is_inside(positions, (10**6, 10**6, 1 if sides[2] == 1 else 10**6)).float().flatten(1).mean(1)
            assert (shared >= 0.28).all()  # counted on a grid


def test_no_case_comes_twice_before_all_have_come() -> None:
    store = cases(6)
    for number, case in enumerate(store.values()):
        case.image[:] = number
    views = _views((8, 8, 8), Crops(first=PLAIN, second=PLAIN), store)
    seen = [round(float(value)) for step in range(3) for value in views[step]["view_a"].amax((1, 2, 3, 4))]
    assert sorted(seen[:6]) == sorted(seen[6:]) == list(range(6))


def test_a_step_always_gives_the_same_views_and_another_gives_others() -> None:
    first, again, other = _views()[3], _views()[3], _views()[4]
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["view_a"], other["view_a"])


def test_a_constant_image_gives_finite_views() -> None:
    store = cases(2)
    for case in store.values():
        case.image[:] = 5.0
    assert torch.isfinite(_views(store=store)[0]["view_a"]).all()


@pytest.mark.parametrize("shape", [(12, 10, 8), (16, 16, 1)])
def test_a_changed_look_keeps_the_range_but_for_noise(shape: tuple[int, int, int]) -> None:
    view = np.random.default_rng(0).normal(100, 30, shape).astype(np.float32)
    for seed in range(20):
        changed = change(view, Look(tone=1.0, blur=0.5, noise=0.0), np.random.default_rng(seed))
        assert changed.shape == shape
        assert changed.dtype == np.float32
        assert not np.allclose(changed, view)
        assert changed.min() >= view.min() - 1e-3
        assert changed.max() <= view.max() + 1e-3
    assert np.allclose(change(view, PLAIN, np.random.default_rng(0)), view, atol=1e-4)
