"""Prepared cases: what they hold, and that nothing is prepared twice, forgotten, or left half done."""

from __future__ import annotations

import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from SSLSegmentationLib.errors import Cancelled, InputError
from SSLSegmentationLib.inference.preprocess import prepare
from SSLSegmentationLib.io.write import write_volume
from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.models.package import IntensityRule, Preprocessing
from Testing.trainer.data.folders import SHAPE, plan_for, scan_and_labels, write_case, write_folder
from trainer.data import store
from trainer.data.cases import find_cases
from trainer.data.store import Store, prepare_all


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "scans", labelled=2, unlabelled=1)


@pytest.fixture
def prepared_cases(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the cases that are really prepared, as it happens."""
    names: list[str] = []
    original = store.prepare_case

    def counting(files: store.CaseFiles, *rest: object) -> tuple:
        names.append(files.name)
        return original(files, *rest)

    monkeypatch.setattr(store, "prepare_case", counting)
    return names


def test_a_case_is_what_inference_would_show_the_network(folder: Path, tmp_path: Path) -> None:
    rule = Preprocessing("LPS", (1.5, 1.0, 2.0), IntensityRule("window", 0.0, 150.0), crop_to_body=False)
    plan = plan_for(folder, preprocessing=rule)
    case = prepare_all(plan, find_cases(folder), tmp_path / "store")["case_00"]
    expected = prepare(scan_and_labels(0)[0], rule).array
    np.testing.assert_array_equal(case.image, expected.astype(np.float16))
    assert case.image.dtype == np.float16
    assert case.labels.shape == case.image.shape
    assert case.spacing == pytest.approx((1.5, 1.0, 2.0))


def test_labels_are_classes_in_the_order_of_the_plan(folder: Path, tmp_path: Path) -> None:
    case = prepare_all(plan_for(folder), find_cases(folder), tmp_path / "store")["case_00"]
    truth = scan_and_labels(0)[1].voxels.transpose(2, 1, 0)
    np.testing.assert_array_equal(case.labels, np.array([0, 1, 0, 2])[truth])
    assert case.annotated.tolist() == [True, True, True]
    assert sorted(case.foreground) == [1, 2]
    for index, voxels in case.foreground.items():
        assert len(voxels) == (case.labels == index).sum()
        assert (case.labels[tuple(voxels.T)] == index).all()


def test_a_case_without_labels_has_none(folder: Path, tmp_path: Path) -> None:
    case = prepare_all(plan_for(folder), find_cases(folder), tmp_path / "store")["case_02"]
    assert case.labels is None
    assert case.foreground == {}
    assert not case.annotated.any()


def test_what_a_case_does_not_annotate_is_neither_shown_nor_called_annotated(folder: Path, tmp_path: Path) -> None:
    cases = [replace(case, annotated=(3,)) for case in find_cases(folder)]
    case = prepare_all(plan_for(folder), cases, tmp_path / "store")["case_00"]
    assert case.annotated.tolist() == [True, False, True]
    assert set(np.unique(case.labels)) == {0, 2}


def test_values_that_are_not_learnt_count_as_background(folder: Path, tmp_path: Path) -> None:
    one = plan_for(folder, labels=(Label(3, "small"),))
    with pytest.raises(
        InputError, match=r"(?s)2 mistakes.*case_00.nii.gz holds the label value 1.*case_01.nii.gz holds"
    ):
        prepare_all(one, find_cases(folder), tmp_path / "store")
    case = prepare_all(replace(one, background=(1,)), find_cases(folder), tmp_path / "store")["case_00"]
    assert set(np.unique(case.labels)) == {0, 1}


def test_of_large_structures_only_some_voxels_are_kept(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_MOST_VOXELS", 10)
    case = prepare_all(plan_for(folder), find_cases(folder), tmp_path / "store")["case_00"]
    assert {index: len(voxels) for index, voxels in case.foreground.items()} == {1: 10, 2: 10}


def test_nothing_is_prepared_twice(folder: Path, tmp_path: Path, prepared_cases: list[str]) -> None:
    plan, cases = plan_for(folder), find_cases(folder)
    prepare_all(plan, cases, tmp_path / "store")
    prepared_cases.clear()
    prepare_all(replace(plan, patch=(16, 16, 16), seed=4, batch=9), cases, tmp_path / "store")
    os.utime(folder / "images" / "case_00.nii.gz")  # only touched: its contents are the same
    prepare_all(plan, cases, tmp_path / "store")
    assert prepared_cases == []


def test_only_what_changed_is_prepared_anew(folder: Path, tmp_path: Path, prepared_cases: list[str]) -> None:
    plan, cases = plan_for(folder), find_cases(folder)
    prepare_all(plan, cases, tmp_path / "store")
    prepared_cases.clear()
    _, labels = scan_and_labels(1)
    write_volume(labels.with_voxels(labels.voxels * (labels.voxels == 1)), folder / "labels" / "case_01.nii.gz")
    assert sorted(prepare_all(plan, cases, tmp_path / "store")["case_01"].foreground) == [1]
    assert prepared_cases == ["case_01"]
    prepared_cases.clear()
    prepare_all(replace(plan, labels=(Label(1, "a"),), background=(3,)), cases, tmp_path / "store")
    assert "case_00" in prepared_cases
    prepared_cases.clear()
    finer = replace(plan.preprocessing, spacing=(0.5, 1.0, 1.0))
    found = prepare_all(replace(plan, preprocessing=finer), cases, tmp_path / "store")
    assert prepared_cases == ["case_00", "case_01", "case_02"]
    assert found["case_00"].image.shape == (2 * SHAPE[2], SHAPE[1], SHAPE[0])


def test_an_interrupted_preparing_goes_on_where_it_stopped(
    folder: Path, tmp_path: Path, prepared_cases: list[str]
) -> None:
    def stop(_stage: str, part: float) -> None:
        if part > 0.5:
            raise Cancelled

    plan, cases = plan_for(folder), find_cases(folder)
    with pytest.raises(Cancelled):
        prepare_all(plan, cases, tmp_path / "store", tick=stop)
    with pytest.raises(InputError, match="no completely prepared cases"):
        Store(tmp_path / "store")
    assert prepared_cases == ["case_00", "case_01"]
    assert prepare_all(plan, cases, tmp_path / "store").names == ("case_00", "case_01", "case_02")
    assert prepared_cases == ["case_00", "case_01", "case_02"]


def test_a_case_that_was_killed_while_written_is_not_taken_for_one(folder: Path, tmp_path: Path) -> None:
    plan, cases = plan_for(folder), find_cases(folder)
    whole = prepare_all(plan, cases, tmp_path / "store")["case_00"]
    left = tmp_path / "store" / "cases" / ".halfway"
    left.mkdir()
    (left / "image.npy").write_bytes(b"half")
    os.utime(left, (0, 0))
    (tmp_path / "store" / "cases" / "case_00" / "case.json").unlink()
    again = prepare_all(plan, cases, tmp_path / "store")["case_00"]
    np.testing.assert_array_equal(again.image, whole.image)
    assert not left.exists()
    assert sorted(p.name for p in (tmp_path / "store" / "cases").iterdir()) == ["case_00", "case_01", "case_02"]


def test_every_case_that_cannot_be_prepared_is_listed(folder: Path, tmp_path: Path) -> None:
    for name in ("case_00", "case_02"):
        (folder / "images" / f"{name}.nii.gz").write_bytes(b"broken")
    with pytest.raises(InputError, match=r"(?s)2 mistakes.*case_00.*case_02"):
        prepare_all(plan_for(folder), find_cases(folder), tmp_path / "store")


def test_processes_prepare_what_one_prepares(folder: Path, tmp_path: Path) -> None:
    plan, cases = plan_for(folder), find_cases(folder)
    alone, together = (prepare_all(plan, cases, tmp_path / str(n), processes=n) for n in (1, 2))
    assert alone.names == together.names
    for name in alone.names:
        np.testing.assert_array_equal(alone[name].image, together[name].image)


def test_a_store_travels_to_another_process_without_its_voxels(folder: Path, tmp_path: Path) -> None:
    found = prepare_all(plan_for(folder), find_cases(folder), tmp_path / "store")
    before = found["case_00"]
    data = pickle.dumps(found)
    assert len(data) < 1000
    np.testing.assert_array_equal(pickle.loads(data)["case_00"].image, before.image)  # noqa: S301 - our own bytes


def test_many_cases_do_not_stay_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_MOST_OPEN", 2)
    for index in range(4):
        write_case(tmp_path / "scans", f"case_{index}", index)
    found = prepare_all(plan_for(tmp_path / "scans"), find_cases(tmp_path / "scans"), tmp_path / "store")
    first = found["case_0"]
    for name in found.names:
        assert found[name].name == name
    assert len(found._open) == 2
    assert found["case_0"] is not first


def test_a_case_that_was_not_prepared_is_refused_with_its_name(folder: Path, tmp_path: Path) -> None:
    found = prepare_all(plan_for(folder), find_cases(folder)[:1], tmp_path / "store")
    assert "case_00" in found
    assert "case_01" not in found
    with pytest.raises(InputError, match='"case_01" is not among'):
        found["case_01"]


def test_a_folder_that_cannot_be_made_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be made"):
        prepare_all(plan_for(folder), find_cases(folder), tmp_path / "file" / "store")
