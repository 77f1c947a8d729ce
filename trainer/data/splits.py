"""Which cases are trained on with their labels, which without, and which only judge: by patient, and seeded."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.io.atomic import replacing
from SSLSegmentationLib.models.configs import read_data
from SSLSegmentationLib.models.read import from_plain
from trainer.data.cases import CaseFiles


@dataclass(frozen=True)
class Split:
    labelled: tuple[str, ...]
    unlabelled: tuple[str, ...]
    """Trained on without labels, also where there are some."""
    validation: tuple[str, ...]
    test: tuple[str, ...] = ()
    seed: int = 0
    fold: int = 0
    folds: int = 5


def make_split(
    cases: Sequence[CaseFiles],
    *,
    seed: int = 0,
    folds: int = 5,
    fold: int = 0,
    labelled: int | None = None,
    first: bool = False,
    test: float = 0.0,
) -> Split:
    """Deal the labelled patients out: a part to `test`, one of the `folds` to validation, the others to training.

    With `labelled`, only so many training cases keep their labels (drawn, or the `first` by name); the others become
    unlabelled. Fewer are always a part of more, so that numbers of labels can be compared. Without folds (0), nothing
    is held back for validation. Unlabelled scans of a patient who judges are left out.
    """
    if folds == 1 or folds < 0 or not 0 <= fold < max(folds, 1):
        raise InputError(f"fold {fold} of {folds} does not exist: give two folds or more, or 0 for no validation.")
    if not 0 <= test < 1:
        raise InputError(f"{test:g} of the patients cannot be held back for the test: give a part from 0 to below 1.")
    drawn = _drawn(cases, seed)
    held_back = round(test * len(drawn))
    for_test, others = set(drawn[:held_back]), drawn[held_back:]
    if len(others) < max(folds, 1):
        raise InputError(f"{len(others)} labelled patients are too few for {folds} folds: give fewer folds.")
    for_validation = set(others[fold::folds]) if folds else set()
    training = [case for case in cases if case.patient not in for_test | for_validation]
    with_labels = [case for case in training if case.labels is not None]
    if not first:
        place = {patient: index for index, patient in enumerate(others)}
        with_labels = sorted(with_labels, key=lambda case: (place[case.patient], case.name))
    if labelled is not None:
        if not 1 <= labelled <= len(with_labels):
            raise InputError(f"{labelled} labelled cases were asked for, but {len(with_labels)} are there: give fewer.")
        with_labels = with_labels[:labelled]
    kept = {case.name for case in with_labels}
    return Split(
        tuple(sorted(kept)),
        tuple(sorted(case.name for case in training if case.name not in kept)),
        _labelled_of(cases, for_validation),
        _labelled_of(cases, for_test),
        seed,
        fold,
        folds,
    )


def write_split(path: Path | str, split: Split) -> None:
    with replacing(Path(path)) as temporary:
        temporary.write_text(json.dumps(dataclasses.asdict(split), indent=2) + "\n", encoding="utf-8")


def read_split(path: Path | str, names: Collection[str] | None = None) -> Split:
    """Read a split; with `names`, every case in it has to be one of them."""
    path = Path(path).expanduser()
    split = from_plain(Split, read_data(path, path.name), path.name)
    parts = (*split.labelled, *split.unlabelled, *split.validation, *split.test)
    if twice := sorted({name for name in parts if parts.count(name) > 1}):
        raise InputError(f'{path.name} uses "{twice[0]}" twice: a case is either trained on or judged with.')
    if names is not None and (unknown := sorted(set(parts) - set(names))):
        raise InputError(f'{path.name} names "{unknown[0]}", which is not among the cases: correct it, or split anew.')
    return split


def _drawn(cases: Sequence[CaseFiles], seed: int) -> list[str]:
    """The patients with labels, shuffled."""
    patients = sorted({case.patient for case in cases if case.labels is not None})
    return [patients[index] for index in np.random.default_rng([seed, 7]).permutation(len(patients))]


def _labelled_of(cases: Sequence[CaseFiles], patients: Collection[str]) -> tuple[str, ...]:
    return tuple(sorted(case.name for case in cases if case.patient in patients and case.labels is not None))
