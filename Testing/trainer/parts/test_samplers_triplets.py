from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from SSLSegmentationLib.errors import InputError
from Testing.trainer.methods.tiny import FLAT, tiny_plan
from Testing.trainer.parts.cases import cases
from trainer.parts.samplers_triplets import Slices, TripletSlices, candidates, find_slices, fit_slice


@st.composite
def slices(draw: st.DrawFn) -> Slices:
    scan = np.array(sorted(draw(st.lists(st.integers(0, 3), min_size=2, max_size=20))))
    organ = np.array(draw(st.lists(st.booleans(), min_size=len(scan), max_size=len(scan))))
    return Slices(scan, np.arange(len(scan)), organ)


@settings(deadline=None, max_examples=200)
@given(slices(), st.data(), st.sampled_from(["S", "O", "M"]), st.sampled_from(["same", "other", "any"]))
def test_triplets_fulfil_the_conditions_of_their_variant_or_the_looser_one(
    found: Slices, data: st.DataObject, variant: str, scope: str
) -> None:
    s = data.draw(st.integers(0, len(found.scan) - 1))
    positives, negatives = candidates(found, s, variant, scope)
    n = range(len(found.scan))

    def those(condition) -> list[int]:
        return [r for r in n if r != s and condition(r)]

    def same(r: int) -> bool:
        return found.scan[r] == found.scan[s]

    def alike(r: int) -> bool:
        return found.organ[r] == found.organ[s]

    scoped = {"same": same, "other": lambda r: not same(r), "any": lambda r: True}[scope]
    wanted_positives = {
        "S": [those(same)],
        "O": [those(alike)],
        "M": [those(lambda r: same(r) and alike(r)), those(alike)],
    }[variant]
    wanted_negatives = {
        "S": [those(lambda r: not same(r))],
        "O": [those(lambda r: not alike(r))],
        "M": [those(lambda r: not alike(r) and scoped(r)), those(lambda r: not alike(r))],
    }[variant]
    for chosen, wanted in ((positives, wanted_positives), (negatives, wanted_negatives)):
        expected = next((rows for rows in wanted if rows), those(lambda r: True))
        assert np.flatnonzero(chosen).tolist() == expected
        assert not chosen[s]


def _sampler(variant: str, **changes: object) -> TripletSlices:
    store = changes.pop("store", cases())
    plan = tiny_plan(3, FLAT, (16, 16, 1))
    return TripletSlices(plan, store, sorted(store), steps=10, seed=3, variant=variant, **changes)


@pytest.mark.parametrize("variant", ["S", "O", "M"])
def test_batches_hold_slices_as_the_variant_wants_them(variant: str) -> None:
    store = cases(4)
    for number, case in enumerate(store.values()):  # every pixel says which scan and slice it is of, and what it shows
        organ = (case.labels > 0).any((0, 1))
        case.image[:] = 1000 * organ + 100 * number + np.arange(12)
    sampler = _sampler(variant, store=store, negatives=2, batch=6)
    batch = sampler[4]
    assert batch["anchor"].shape == batch["positive"].shape == (6, 1, 16, 16, 1)
    assert batch["negative"].shape == (6, 2, 1, 16, 16, 1)
    s, near = (batch[name][:, 0, 8, 8, 0].round().int() for name in ("anchor", "positive"))
    far = batch["negative"][:, :, 0, 8, 8, 0].round().int()
    assert (s != near).all()
    assert len(s.unique()) == 6
    if variant in "SM":
        assert (s // 100 % 10 == near // 100 % 10).all()
    if variant in "OM":
        assert (s // 1000 == near // 1000).all()
        assert (s[:, None] // 1000 != far // 1000).all()
    if variant == "S":
        assert (s[:, None] // 100 % 10 != far // 100 % 10).all()
    if variant == "M":  # in the same scan, by default
        assert (s[:, None] // 100 % 10 == far // 100 % 10).all()


def test_a_step_always_gives_the_same_triplets_and_another_gives_others() -> None:
    first, again, other = _sampler("S")[3], _sampler("S")[3], _sampler("S")[4]
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["anchor"], other["anchor"])


def test_variant_s_never_looks_at_labels() -> None:
    assert len(_sampler("S", store=cases(3, labelled=0)).names) == 3


def test_the_others_use_only_scans_that_tell_where_the_organ_is() -> None:
    store = cases(4, labelled=3)
    store["case1"] = replace(store["case1"], annotated=np.array([True, True, False]))
    assert _sampler("M", store=store).names == ["case0", "case2"]
    assert _sampler("M", store=store, organ=(1,)).names == ["case0", "case1", "case2"]


def test_flags_are_those_of_the_organ_that_is_asked_for() -> None:
    store = cases(1)
    store["case0"].labels[:] = 0
    store["case0"].labels[3, 4, 5] = 1
    store["case0"].labels[3, 4, 7:9] = 2
    assert np.flatnonzero(find_slices(store, ["case0"], 1.0, (1,))[1].organ).tolist() == [5]
    assert np.flatnonzero(find_slices(store, ["case0"], 1.0, (2,))[1].organ).tolist() == [7, 8]
    assert np.flatnonzero(find_slices(store, ["case0"], 1.0, ())[1].organ).tolist() == [5, 7, 8]


@pytest.mark.parametrize(
    ("central", "expected"), [(1.0, list(range(12))), (0.5, list(range(3, 9))), (0.0, [6]), (7.0, list(range(12)))]
)
def test_only_the_central_slices_are_looked_at(central: float, expected: list[int]) -> None:
    assert find_slices(cases(1), ["case0"], central, None)[1].index.tolist() == expected


@pytest.mark.parametrize(
    ("variant", "store", "message"),
    [
        ("S", cases(1), "PolyCL-S contrasts different scans, but 1 is there"),
        ("O", cases(3, labelled=0), "no labelled case tells"),
        ("M", cases(3, radius=50.0), "every slice shows it"),
        ("O", cases(3, radius=-1.0), "no slice shows it"),
    ],
)
def test_data_without_a_contrast_is_refused_with_the_remedy(variant: str, store: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        _sampler(variant, store=store)


def test_a_slice_is_shrunk_to_the_canvas_or_padded_to_it_whole() -> None:
    image = np.ones((10, 40), dtype=np.float32)
    fitted = fit_slice(image, (16, 20))
    assert fitted.shape == (1, 16, 20, 1)
    assert fitted[0, 3:13].allclose(torch.ones(10, 20, 1))
    assert (fitted[0, :3] == 0).all()
    assert (fitted[0, 13:] == 0).all()
    assert torch.equal(fit_slice(image, (10, 40))[0, :, :, 0], torch.from_numpy(image))
