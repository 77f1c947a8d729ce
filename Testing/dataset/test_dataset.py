from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from SSLSegmentationLib.dataset.dataset import Case, Dataset
from SSLSegmentationLib.dataset.provenance import Provenance, read_provenance
from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.identity import digest
from SSLSegmentationLib.io.locks import locked
from SSLSegmentationLib.io.read import read_volume
from SSLSegmentationLib.labels import Label
from Testing.dataset.cases import CYST, LIVER, SPLEEN, a_case, faults_of


def described(folder: Path) -> dict:
    return json.loads((folder / "dataset.json").read_text("utf-8"))


def truth(folder: Path, name: str) -> np.ndarray:
    return read_volume(folder / "labelsTr" / f"{name}.nii.gz").voxels


def test_nnunet_finds_a_dataset_of_its_own(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("nnunetv2", reason="nnU-Net is not installed")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
            patch.setenv(name, str(tmp_path))
        from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity

    dataset = Dataset(tmp_path / "Dataset001_Abdomen")
    for seed in range(3):
        dataset.add(a_case(seed))
    dataset.add(a_case(1, (LIVER, CYST), change=1))
    verify_dataset_integrity(str(dataset.folder), num_processes=1)
    said = capfd.readouterr().out
    assert "Done" in said
    assert "Error" not in said
    assert "Warning" not in said


def test_monai_reads_the_datalist(tmp_path: Path) -> None:
    from monai.data import load_decathlon_datalist

    exported = Dataset(tmp_path).add(a_case())
    (one,) = load_decathlon_datalist(str(tmp_path / "dataset.json"), data_list_key="training")
    assert Path(one["image"]).name == f"{exported.name}_0000.nii.gz"
    assert Path(one["label"]).is_file()


def test_scan_labels_and_history_come_back_as_they_were(tmp_path: Path) -> None:
    case = a_case()
    exported = Dataset(tmp_path).add(case)
    scan = read_volume(tmp_path / "imagesTr" / f"{exported.name}_0000.nii.gz")
    np.testing.assert_array_equal(scan.voxels, case.scan.voxels)
    assert scan.same_grid_as(case.scan)
    np.testing.assert_array_equal(truth(tmp_path, exported.name) == 1, case.labels.voxels == LIVER.value)
    np.testing.assert_allclose(read_volume(exported.folder / "uncertainty.nii.gz").voxels, case.uncertainty.voxels)
    assert read_provenance(exported.folder / "provenance.json") == replace(case.provenance, scan=digest(case.scan))


def test_nothing_that_names_the_patient_is_written(tmp_path: Path) -> None:
    Dataset(tmp_path).add(a_case())
    for path in tmp_path.rglob("*"):
        assert "doe" not in path.name.lower()
        if path.suffix == ".json":
            assert "doe" not in path.read_text("utf-8").lower()
    import gzip

    for path in tmp_path.rglob("*.nii.gz"):
        assert b"doe" not in gzip.decompress(path.read_bytes())[:352].lower()


def test_labels_keep_their_values_as_names_come_and_go(tmp_path: Path) -> None:
    dataset = Dataset(tmp_path)
    first = dataset.add(a_case(0, (LIVER,)))
    second = dataset.add(a_case(1, (CYST, SPLEEN)))
    third = dataset.add(a_case(2, (LIVER, SPLEEN)))
    assert described(tmp_path)["labels"] == {"background": 0, "liver": 1, "cyst": 2, "spleen": 3}
    assert [np.unique(truth(tmp_path, one.name)).tolist() for one in (first, second, third)] == [
        [0, 1],
        [0, 2, 3],
        [0, 1, 3],
    ]
    assert dataset.labels[0].value == 1
    assert dataset.labels[0].color == LIVER.color


def test_a_new_dataset_takes_the_values_of_the_model_in_use(tmp_path: Path) -> None:
    model = (Label(1, "spleen"), Label(2, "kidney"), Label(3, "liver"))
    exported = Dataset(tmp_path).add(a_case(0, (LIVER,)), expected=model)
    assert described(tmp_path)["labels"] == {"background": 0, "spleen": 1, "kidney": 2, "liver": 3}
    assert np.unique(truth(tmp_path, exported.name)).tolist() == [0, 3]


def test_what_a_case_does_not_annotate_is_said(tmp_path: Path) -> None:
    dataset = Dataset(tmp_path)
    whole, part = dataset.add(a_case(0)), dataset.add(a_case(1, (SPLEEN,)))
    assert described(tmp_path)["annotated"] == {part.name: ["spleen"]}
    dataset.add(a_case(2, (CYST,)))
    assert described(tmp_path)["annotated"][whole.name] == ["liver", "spleen"]


def test_a_scan_exported_again_is_a_new_revision_of_its_case(tmp_path: Path) -> None:
    dataset = Dataset(tmp_path)
    first = dataset.add(a_case(0))
    before = (first.folder / "labels.nii.gz").read_bytes()
    second = dataset.add(a_case(0, change=2))
    assert (second.name, second.revision) == (first.name, 2)
    assert (first.folder / "labels.nii.gz").read_bytes() == before
    assert described(tmp_path)["numTraining"] == 1
    np.testing.assert_array_equal(truth(tmp_path, first.name) > 0, a_case(0, change=2).labels.voxels > 0)
    assert [folder.name for folder in dataset.revisions(first.name)] == ["r0001", "r0002"]


def test_a_case_can_have_a_name_of_the_users_own(tmp_path: Path) -> None:
    dataset = Dataset(tmp_path)
    assert dataset.add(replace(a_case(0), name="liver_007")).name == "liver_007"
    assert dataset.add(a_case(0)).revision == 2
    with pytest.raises(InputError, match="in the dataset as liver_007"):
        dataset.add(replace(a_case(0), name="other"))
    with pytest.raises(InputError, match="another scan under the name"):
        dataset.add(replace(a_case(1), name="liver_007"))


@pytest.mark.parametrize("name", ["../up", "a b", "x_0000", ".hidden", "a__b", "ü"])
def test_a_name_that_would_break_a_dataset_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot be the name of a case"):
        Dataset(tmp_path / "new").add(replace(a_case(), name=name))
    assert not (tmp_path / "new").exists()


def other_grid(case: Case) -> Case:
    return replace(case, labels=replace(case.labels, ijk_to_ras=np.eye(4)))


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (other_grid, "another grid"),
        (lambda case: replace(case, names=()), "no segment to export"),
        (lambda case: replace(case, names=(LIVER, SPLEEN, replace(SPLEEN, value=9))), 'two segments called "spleen"'),
        (lambda case: replace(case, names=(LIVER,)), "which has no name"),
        (lambda case: replace(case, names=(LIVER, replace(SPLEEN, name="ignore"))), "another meaning"),
    ],
)
def test_what_cannot_be_trained_on_is_refused_before_anything_is_written(tmp_path: Path, spoil, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Dataset(tmp_path / "new").add(spoil(a_case()))
    assert not (tmp_path / "new").exists()


def test_scans_of_another_modality_are_refused(tmp_path: Path) -> None:
    dataset = Dataset(tmp_path)
    dataset.add(a_case(0))
    with pytest.raises(InputError, match="holds CT scans"):
        dataset.add(a_case(1, modality="MR"))
    assert dataset.add(a_case(2, modality="")).revision == 1


def test_a_dataset_of_another_program_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text('{"labels": {"background": 0}}', "utf-8")
    with pytest.raises(InputError, match="another program"):
        Dataset(tmp_path).add(a_case())
    assert (tmp_path / "dataset.json").read_text("utf-8") == '{"labels": {"background": 0}}'


def test_two_people_do_not_write_at_once(tmp_path: Path) -> None:
    dataset = Dataset(tmp_path)
    dataset.add(a_case(0))
    with locked(tmp_path / ".lock", "busy"), pytest.raises(InputError, match="by somebody else"):
        dataset.add(a_case(1))
    assert not faults_of(tmp_path)


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="the killed exports are forked processes")
def test_an_export_that_is_killed_anywhere_leaves_a_valid_dataset(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "Testing.dataset.crashing", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    steps = [int(line.split()[-2]) for line in done.stdout.splitlines()]
    assert len(steps) == 2
    assert min(steps) > 15, "so many steps on the disk are there to be killed at"


def test_a_history_of_a_newer_program_is_read(tmp_path: Path) -> None:
    path = tmp_path / "provenance.json"
    path.write_text(
        '{"scan": "ab", "history": [{"operation": "prompt", "outcome": "accepted", "new": 1}], "x": 2}', "utf-8"
    )
    found = read_provenance(path)
    assert isinstance(found, Provenance)
    assert found.history[0].operation == "prompt"


def test_a_damaged_history_is_told_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "provenance.json").write_text("{", "utf-8")
    with pytest.raises(InputError, match=r"provenance.json cannot be read"):
        read_provenance(tmp_path / "provenance.json")


def test_a_scan_is_known_again_whatever_program_has_read_it(tmp_path: Path) -> None:
    """Slicer keeps spacing and directions apart, and the last digits of their product are not those of the file."""
    case, dataset = a_case(), Dataset(tmp_path / "set")
    dataset.add(case)
    apart = case.scan.ijk_to_ras.copy()
    apart[:3, :3] = case.scan.directions * case.scan.spacing
    apart[:3, 3] += 3e-9
    again = replace(case.scan, ijk_to_ras=apart)
    assert (
        dataset.add(replace(case, scan=again, labels=again.with_voxels(case.labels.voxels), uncertainty=None)).revision
        == 2
    )
    moved = case.scan.ijk_to_ras.copy()
    moved[:3, 3] += 0.01
    other = replace(case.scan, ijk_to_ras=moved)
    dataset.add(replace(case, scan=other, labels=other.with_voxels(case.labels.voxels), uncertainty=None))
    assert len(dataset.cases) == 2
