"""Batches: made for their step alone, every case in its turn, labels where they belong."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.models.package import IntensityRule, Preprocessing
from Testing.trainer.data.folders import plan_for, write_folder
from trainer.data.augment import FLIPS_AND_TURNS, Augmentation
from trainer.data.batches import (
    LABELLED,
    Batches,
    Passes,
    SupervisedBatches,
    TwoStreamBatches,
    UnlabelledBatches,
    loader,
)
from trainer.data.cases import find_cases
from trainer.data.plan import Plan
from trainer.data.store import Store, prepare_all

Prepared = tuple[Plan, Store]
LABELS, OTHERS = tuple(f"case_{n:02d}" for n in range(5)), tuple(f"case_{n:02d}" for n in range(5, 8))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """Five labelled cases and three others, as they are stored: 0 around the boxes, 100 and 200 in them."""
    folder = write_folder(tmp_path_factory.mktemp("scans"), labelled=5, unlabelled=3)
    rule = Preprocessing("RAS", (1.0, 1.0, 1.0), IntensityRule("none"), crop_to_body=False)
    plan = plan_for(folder, preprocessing=rule, augmentation=Augmentation())
    cases = [replace(case, annotated=(1,)) if case.name == "case_04" else case for case in find_cases(folder)]
    return plan, prepare_all(plan, cases, folder / "store")


def makers(plan: Plan, store: Store, **given: object) -> dict[str, Batches]:
    settings = {"steps": 20, "seed": 5, **given}
    return {
        "supervised": SupervisedBatches(plan, store, LABELS, **settings),
        "two streams": TwoStreamBatches(plan, store, LABELS, OTHERS, **settings),
        "unlabelled": UnlabelledBatches(plan, store, LABELS + OTHERS, **settings),
    }


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def test_a_batch_is_made_of_the_tensors_that_methods_expect(prepared: Prepared) -> None:
    plan, store = prepared
    made = {name: batches[0] for name, batches in makers(plan, store).items()}
    for batch in made.values():
        assert batch["image"].shape == (4, 1, 8, 8, 8)
        assert batch["image"].dtype == torch.float32
    for name, count in (("supervised", 4), ("two streams", 2)):
        assert made[name]["labels"].shape == (count, 1, 8, 8, 8)
        assert made[name]["labels"].dtype == torch.int64
        assert made[name]["annotated"].shape == (count, 3)
        assert made[name]["annotated"].dtype == torch.bool
    assert set(made["unlabelled"]) == {"image"}


def test_a_batch_depends_on_seed_step_and_rank_alone(prepared: Prepared) -> None:
    fresh, used = makers(*prepared), makers(*prepared)
    for name, batches in used.items():
        for step in (9, 2, 2):
            assert batches[step]["image"].shape[0] == 4
        assert same(batches[7], fresh[name][7])
        others = [batches[8], makers(*prepared, seed=6)[name][7], makers(*prepared, rank=1, world=2)[name][7]]
        assert not any(torch.equal(batches[7]["image"], other["image"]) for other in others)


def test_what_torch_and_numpy_draw_elsewhere_is_neither_used_nor_changed(prepared: Prepared) -> None:
    batches = makers(*prepared)["two streams"]
    torch.manual_seed(1)
    expected, drawn = batches[3], torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(3), drawn)
    torch.manual_seed(2)
    assert same(batches[3], expected)


def test_workers_give_the_same_batches_in_order_from_any_step_on(prepared: Prepared) -> None:
    for batches in makers(*prepared).values():
        expected = [batches[step] for step in range(3, 7)]
        for workers in (0, 2):
            found = list(loader(batches, 3, 7, workers))
            assert len(found) == 4
            assert all(map(same, found, expected))
    assert len(makers(*prepared)["supervised"]) == 20


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(1, 5), st.integers(1, 3), st.integers(0, 50))
def test_every_case_comes_once_in_every_pass(cases: int, count: int, world: int, seed: int) -> None:
    passes = Passes([f"c{n}" for n in range(cases)], seed, LABELLED)
    steps = range(0, 3 * cases)
    order = [name for step in steps for rank in range(world) for name in passes.of_step(step, count, rank, world)]
    assert order == [passes[index] for index in range(len(order))]
    for first in range(0, len(order) - cases, cases):
        assert sorted(order[first : first + cases]) == sorted(passes.names)


def test_passes_differ_from_one_another_and_with_the_seed() -> None:
    names = [str(n) for n in range(12)]
    passes = Passes(names, 0, LABELLED)
    first, second = [passes[n] for n in range(12)], [passes[n] for n in range(12, 24)]
    assert first != second
    assert first != [Passes(names, 1, LABELLED)[n] for n in range(12)]
    assert first != names


def test_two_streams_take_two_labelled_and_two_unlabelled_cases(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    original = Store.__getitem__
    monkeypatch.setattr(Store, "__getitem__", lambda store, name: seen.append(name) or original(store, name))
    batches = makers(*prepared)["two streams"]
    for step in range(15):
        assert batches[step]["image"].shape[0] == 4
    groups = [seen[start : start + 4] for start in range(0, len(seen), 4)]
    assert all({*group[:2]} <= {*LABELS} and {*group[2:]} <= {*OTHERS} for group in groups)
    assert Counter(name for group in groups for name in group[:2]) == dict.fromkeys(LABELS, 6)
    assert Counter(name for group in groups for name in group[2:]) == dict.fromkeys(OTHERS, 10)
    assert TwoStreamBatches(*prepared, LABELS, OTHERS, steps=1, seed=0, per_batch=(1, 3))[0]["labels"].shape[0] == 1


def test_labels_lie_on_what_they_name(prepared: Prepared) -> None:
    plan, store = prepared
    batches = SupervisedBatches(plan, store, LABELS[:4], steps=20, seed=1, augmentation=FLIPS_AND_TURNS)
    for step in range(10):
        batch = batches[step]
        expected = torch.bucketize(batch["image"], torch.tensor([50.0, 150.0]))
        assert torch.equal(batch["labels"], expected)


def test_askew_patches_keep_image_and_labels_together(prepared: Prepared) -> None:
    plan, store = prepared
    askew = Augmentation(affine=1, noise=0, blur=0, brightness=0, contrast=0, gamma=0)
    batches = SupervisedBatches(plan, store, LABELS[:4], steps=20, seed=1, augmentation=askew)
    agreement = [
        (torch.bucketize(batch["image"], torch.tensor([50.0, 150.0])) == batch["labels"]).float().mean()
        for batch in map(batches.__getitem__, range(10))
    ]
    assert min(agreement) > 0.93


@pytest.mark.parametrize("part", [0.0, 0.5, 1.0])
def test_as_many_patches_show_a_structure_as_the_plan_asks_for(prepared: Prepared, part: float) -> None:
    plan, store = prepared
    small = replace(plan, patch=(2, 2, 2), foreground=part, augmentation=FLIPS_AND_TURNS)
    batches = SupervisedBatches(small, store, LABELS, steps=99, seed=0, batch=8)
    hits = np.mean([batches[step]["labels"].flatten(1).any(1).float().mean() for step in range(40)])
    chance = np.mean([SupervisedBatches(replace(small, foreground=0.0), store, LABELS, steps=9, seed=1, batch=200)[0][
        "labels"].flatten(1).any(1).float().mean()])  # fmt: skip
    assert hits == pytest.approx(part + (1 - part) * chance, abs=0.07)
    assert part < 1 or hits == 1.0


def test_patches_larger_than_the_case_have_background_around(prepared: Prepared) -> None:
    plan, store = prepared
    shape = store["case_00"].image.shape
    large = replace(plan, patch=(32, 32, 32), augmentation=FLIPS_AND_TURNS)
    batch = SupervisedBatches(large, store, LABELS[:4], steps=1, seed=0)[0]
    inside = int(np.prod(shape))
    assert ((batch["image"] != 0).flatten(1).sum(1) <= inside).all()
    everything = [int((store[name].labels > 0).sum()) for name in LABELS[:4]]
    assert sorted((batch["labels"] > 0).flatten(1).sum(1).tolist()) == sorted(everything)


def test_flat_patches_have_one_slice(prepared: Prepared) -> None:
    plan, store = prepared
    flat = replace(plan, patch=(8, 8, 1), dims=2, foreground=1.0, augmentation=Augmentation((0, 1), affine=1.0))
    batch = SupervisedBatches(flat, store, LABELS, steps=3, seed=0, batch=16)[1]
    assert batch["image"].shape == (16, 1, 8, 8, 1)
    assert batch["labels"].flatten(1).any(1).float().mean() > 0.9


def test_partial_labels_are_told_case_by_case(prepared: Prepared) -> None:
    plan, store = prepared
    batch = SupervisedBatches(plan, store, ("case_00", "case_04"), steps=1, seed=0)[0]
    assert sorted(batch["annotated"].tolist()) == [[True, True, False]] * 2 + [[True, True, True]] * 2
    partial = ~batch["annotated"][:, 2]
    assert not (batch["labels"][partial] == 2).any()


def test_a_case_without_labels_cannot_be_trained_on_with_them(prepared: Prepared) -> None:
    with pytest.raises(InputError, match='"case_06" has no labels'):
        SupervisedBatches(*prepared, ("case_06",), steps=1, seed=0)[0]


def test_a_stream_without_a_case_is_refused(prepared: Prepared) -> None:
    with pytest.raises(InputError, match="no case to draw patches from"):
        TwoStreamBatches(*prepared, LABELS, (), steps=1, seed=0)
