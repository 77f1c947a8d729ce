"""Dealing patients out: nobody is on both sides, and the same seed deals the same way."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from SSLSegmentationLib.errors import InputError
from trainer.data.cases import CaseFiles
from trainer.data.splits import Split, make_split, read_split, write_split


def cases(patients: list[int], unlabelled: int = 0) -> list[CaseFiles]:
    """One labelled case for every entry, of that patient, and unlabelled ones of the first patients."""
    here = Path("x.nii.gz")
    known = [CaseFiles(f"case_{n:02d}", f"p{p}", here, here) for n, p in enumerate(patients)]
    return known + [CaseFiles(f"more_{n:02d}", f"p{n}", here) for n in range(unlabelled)]


MANY = cases([n // 2 for n in range(40)], unlabelled=30)


@settings(deadline=None)
@given(st.lists(st.integers(0, 12), min_size=20, max_size=30), st.integers(0, 9), st.integers(2, 3), st.data())
def test_no_patient_is_on_both_sides(patients: list[int], seed: int, folds: int, data: st.DataObject) -> None:
    every = cases(patients, unlabelled=14)
    if len(set(patients)) < 6:
        return
    split = make_split(every, seed=seed, folds=folds, fold=data.draw(st.integers(0, folds - 1)), test=0.2)
    patient = {case.name: case.patient for case in every}
    sides = [
        {patient[name] for name in side}
        for side in (split.labelled + split.unlabelled, split.validation, split.test)
    ]  # fmt: skip
    assert not sides[0] & sides[1]
    assert not (sides[0] | sides[1]) & sides[2]
    labelled = {case.name for case in every if case.labels}
    assert {*split.labelled, *split.validation, *split.test} == labelled
    assert {name for name in split.unlabelled if name in labelled} == set()


def test_the_folds_validate_every_case_once() -> None:
    folds = [make_split(MANY, folds=4, fold=fold) for fold in range(4)]
    validated = [name for split in folds for name in split.validation]
    assert sorted(validated) == [case.name for case in MANY if case.labels]


def test_the_same_seed_deals_the_same_way_and_another_does_not() -> None:
    assert make_split(MANY, seed=3) == make_split(MANY, seed=3)
    assert make_split(MANY, seed=3).validation != make_split(MANY, seed=4).validation


def test_few_labels_are_a_part_of_more_and_the_rest_trains_without() -> None:
    whole, sixteen, eight = (make_split(MANY, labelled=n) for n in (None, 16, 8))
    assert (len(eight.labelled), len(sixteen.labelled)) == (8, 16)
    assert set(eight.labelled) < set(sixteen.labelled) < set(whole.labelled)
    assert eight.validation == whole.validation
    assert set(eight.labelled + eight.unlabelled) == set(whole.labelled + whole.unlabelled)


def test_the_first_cases_by_name_and_none_to_validate() -> None:
    split = make_split(MANY, folds=0, labelled=8, first=True)
    assert split.labelled == tuple(f"case_{n:02d}" for n in range(8))
    assert split.validation == split.test == ()
    assert len(split.unlabelled) == 62


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        ({"fold": 5}, "fold 5 of 5 does not exist"),
        ({"folds": 1}, "two folds or more"),
        ({"folds": 30}, "too few for 30 folds"),
        ({"labelled": 90}, "90 labelled cases were asked for, but 32 are there"),
        ({"labelled": 0}, "0 labelled cases"),
        ({"test": 1.0}, "1 of the patients"),
    ],
)
def test_what_cannot_be_dealt_is_refused(wish: dict, told: str) -> None:
    with pytest.raises(InputError, match=told):
        make_split(MANY, **wish)


def test_a_split_comes_back_from_its_file(tmp_path: Path) -> None:
    split = make_split(MANY, labelled=8, test=0.1)
    write_split(tmp_path / "split.json", split)
    assert read_split(tmp_path / "split.json", [case.name for case in MANY]) == split


@pytest.mark.parametrize(
    ("split", "told"),
    [
        (Split(("a", "b"), (), ("b",)), '"b" twice'),
        (Split(("a",), (), ("stranger",)), '"stranger", which is not among the cases'),
    ],
)
def test_a_split_that_was_edited_wrongly_is_refused(tmp_path: Path, split: Split, told: str) -> None:
    write_split(tmp_path / "split.json", split)
    with pytest.raises(InputError, match=told):
        read_split(tmp_path / "split.json", ["a", "b"])
