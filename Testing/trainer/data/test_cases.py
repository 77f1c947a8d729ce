"""Which cases a folder holds, and every mistake in it at once. Most files are empty: only names are looked at."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from SSLSegmentationLib.dataset.dataset import Dataset
from SSLSegmentationLib.errors import InputError
from Testing.dataset.cases import CYST, LIVER, SPLEEN, a_case
from trainer.data.cases import find_cases, patient_of
from trainer.data.fingerprint import inspect
from trainer.data.names import named_labels


def files(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def test_images_and_labels_are_paired_by_name(tmp_path: Path) -> None:
    files(tmp_path, "images/b.nii.gz", "images/a.nrrd", "labels/a.seg.nrrd", "labels/b_seg.nii.gz", "images/.a.nrrd")
    found = find_cases(tmp_path)
    assert [(case.name, case.image.name, case.labels.name) for case in found] == [
        ("a", "a.nrrd", "a.seg.nrrd"),
        ("b", "b.nii.gz", "b_seg.nii.gz"),
    ]


def test_raw_folders_of_nnunet_are_read(tmp_path: Path) -> None:
    files(tmp_path, "imagesTr/case_001_0000.nii.gz", "labelsTr/case_001.nii.gz", "imagesUn/case_002_0000.nii.gz")
    first, second = find_cases(tmp_path)
    assert (first.name, first.labels.name) == ("case_001", "case_001.nii.gz")
    assert (second.name, second.labels) == ("case_002", None)


def test_scans_without_labels_are_unlabelled_cases(tmp_path: Path) -> None:
    files(tmp_path, "images/a.nii.gz", "images/b.nii.gz", "labels/a.nii.gz", "unlabelled/c.nii")
    assert {case.name: case.labels is not None for case in find_cases(tmp_path)} == {"a": True, "b": False, "c": False}


def test_cases_numbered_with_four_digits_are_no_channels(tmp_path: Path) -> None:
    files(tmp_path, *(f"images/case_{n:04d}.nii.gz" for n in range(3)))
    assert [case.name for case in find_cases(tmp_path)] == ["case_0000", "case_0001", "case_0002"]
    files(tmp_path, "labels/case_0001.nii.gz")
    assert [case.name for case in find_cases(tmp_path) if case.labels] == ["case_0001"]


def test_all_mistakes_are_listed_at_once(tmp_path: Path) -> None:
    files(
        tmp_path,
        *("imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz", "imagesTr/b.nii.gz", "imagesTr/b.nrrd"),
        *("labelsTr/a.nii.gz", "labelsTr/lost.nii.gz", "imagesUn/a_0000.nii.gz"),
    )
    (tmp_path / "patients.csv").write_text("case,patient\nnobody,p1\n")
    (tmp_path / "dataset.json").write_text(
        json.dumps({"labels": {"background": 0, "liver": 1}, "annotated": {"a": ["live"], "x": [1]}})
    )
    with pytest.raises(InputError) as refusal:
        find_cases(tmp_path)
    message = str(refusal.value)
    assert "7 mistakes" in message
    for fact in (
        *("a has 2 channels", "b is there twice", "labelsTr/lost.nii.gz has no image", "a is in imagesTr and"),
        *('patients.csv names "nobody"', 'annotated for "live"', 'calls "x" annotated'),
    ):
        assert message.count(fact) == 1, fact


def test_one_mistake_is_one_sentence(tmp_path: Path) -> None:
    files(tmp_path / "scans", "images/a.nii.gz", "labels/b.nii.gz")
    with pytest.raises(InputError) as refusal:
        find_cases(tmp_path / "scans")
    assert str(refusal.value) == "scans: labels/b.nii.gz has no image: add it, or take the labels out."


@pytest.mark.parametrize("names", [(), ("scan.nii.gz",), ("images/readme.txt",)])
def test_a_folder_without_scans_says_what_is_expected(tmp_path: Path, names: tuple[str, ...]) -> None:
    files(tmp_path, *names)
    with pytest.raises(InputError, match="put the scans"):
        find_cases(tmp_path)


def test_a_path_that_is_no_folder_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere is not a folder"):
        find_cases(tmp_path / "nowhere")


def test_patients_come_from_the_table_or_from_the_name(tmp_path: Path) -> None:
    files(tmp_path, *(f"images/{n}.nii.gz" for n in ("sub-07_ses-1", "sub-07_ses-2", "x1", "x2", "x3")))
    (tmp_path / "patients.csv").write_text("case, patient\nx1,anna\nx2,anna\n")
    patients = {case.name: case.patient for case in find_cases(tmp_path)}
    assert patients == {"sub-07_ses-1": "sub-07", "sub-07_ses-2": "sub-07", "x1": "anna", "x2": "anna", "x3": "x3"}


@pytest.mark.parametrize(
    ("name", "patient"),
    [("patient012_frame01", "patient012"), ("hippocampus_001", "hippocampus_001"), ("case_00", "case_00")],
)
def test_only_names_that_say_so_share_a_patient(name: str, patient: str) -> None:
    assert patient_of(name) == patient


def test_what_a_case_annotates_is_given_by_names_or_values(tmp_path: Path) -> None:
    files(tmp_path, *(f"{kind}/{n}.nii.gz" for n in "abc" for kind in ("images", "labels")))
    (tmp_path / "labels.json").write_text('{"1": "liver", "2": "spleen"}')
    (tmp_path / "annotated.json").write_text('{"a": ["spleen", "liver"], "b": [2]}')
    assert [case.annotated for case in find_cases(tmp_path)] == [(1, 2), (2,), None]


def test_what_the_module_exports_is_read_with_its_labels_and_what_each_case_annotates(tmp_path: Path) -> None:
    dataset = Dataset(tmp_path / "export")
    for seed, names in enumerate([(LIVER, SPLEEN), (LIVER,), (LIVER, SPLEEN, CYST)]):
        dataset.add(a_case(seed, names))
    assert named_labels(tmp_path / "export") == dataset.labels
    value = {label.name: label.value for label in dataset.labels}
    found = inspect(tmp_path / "export")
    assert found.modality == "CT"
    assert found.labels == dataset.labels
    assert {case.annotated for case in found.cases} == {
        None,
        (value["liver"],),
        tuple(sorted((value["liver"], value["spleen"]))),
    }
