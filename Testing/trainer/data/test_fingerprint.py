"""What is found in the files of a folder: facts, and everything that is wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.io.segmentation import write_segmentation
from SSLSegmentationLib.io.write import write_volume
from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.volume import Volume
from Testing.trainer.data.folders import SHAPE, scan_and_labels, write_case, write_folder
from trainer.data.cases import find_cases
from trainer.data.fingerprint import describe, inspect
from trainer.data.reading import read_case


def test_facts_of_a_folder(tmp_path: Path) -> None:
    write_folder(tmp_path, labelled=2, unlabelled=1, spacing=(0.5, 1.0, 2.0))
    found = inspect(tmp_path)
    assert [case.name for case in found.cases] == ["case_00", "case_01", "case_02"]
    assert found.labelled == 2
    assert [(label.value, label.name) for label in found.labels] == [(1, "label 1"), (3, "label 3")]
    first, last = found.facts[0], found.facts[-1]
    assert (first.size, first.spacing) == (SHAPE[::-1], (0.5, 1.0, 2.0))
    assert last.volumes == {}
    voxels = {v: int((scan_and_labels(0)[1].voxels == v).sum()) for v in (1, 3)}
    assert first.volumes == {v: pytest.approx(n / 1000) for v, n in voxels.items()}
    for value, (x, y, z) in first.centres.items():
        k, j, i = np.argwhere(scan_and_labels(0)[1].voxels == value).mean(axis=0) - (np.array(SHAPE) - 1) / 2
        assert (x, y, z) == pytest.approx((0.5 * i, j, 2.0 * k))
    assert found.modality == "MR"
    assert found.foreground.low > 70
    assert found.whole.median < 50
    assert found.foreground.high == pytest.approx(200, abs=20)
    text = "\n".join(describe(found))
    assert "3 cases of 3 patients, 2 of them labelled" in text
    assert "3 label 3: in 2 cases" in text


def test_processes_find_what_one_finds(tmp_path: Path) -> None:
    write_folder(tmp_path, labelled=3)
    assert inspect(tmp_path, processes=2) == inspect(tmp_path)


def test_axes_are_named_alike_however_a_scan_is_stored(tmp_path: Path) -> None:
    write_folder(tmp_path, labelled=1, spacing=(0.5, 1.0, 2.0))
    scan, labels = scan_and_labels(0, spacing=(0.5, 1.0, 2.0))
    for kind, volume in (("images", scan), ("labels", labels)):
        turned = volume.reoriented("PSL")
        write_volume(replace(turned, voxels=np.ascontiguousarray(turned.voxels)), tmp_path / kind / "turned.nii.gz")
    straight, turned = inspect(tmp_path).facts
    assert turned.orientation == "PSL"
    assert (turned.size, turned.volumes) == (straight.size, straight.volumes)
    assert turned.spacing == pytest.approx(straight.spacing)


def test_air_far_below_zero_tells_ct(tmp_path: Path) -> None:
    write_folder(tmp_path, labelled=1)
    scan, _ = scan_and_labels(0)
    write_volume(scan.with_voxels(scan.voxels - 900), tmp_path / "images" / "case_00.nii.gz")
    assert inspect(tmp_path).modality == "CT"
    (tmp_path / "dataset.json").write_text('{"channel_names": {"0": "T1-MRI"}, "labels": {"a": 1, "b": 3}}')
    assert inspect(tmp_path).modality == "MR"


def test_all_that_is_wrong_with_names_and_files_is_listed_at_once(tmp_path: Path) -> None:
    write_folder(tmp_path, labelled=5)
    (tmp_path / "labels.json").write_text('{"large": 1, "small": 3}')
    (tmp_path / "images" / "case_00.nii.gz").write_bytes(b"broken")
    whole = (tmp_path / "labels" / "case_01.nii.gz").read_bytes()
    (tmp_path / "labels" / "case_01.nii.gz").write_bytes(whole[: len(whole) // 2])
    scan, labels = scan_and_labels(2)
    write_volume(replace(labels, ijk_to_ras=np.diag([1, 1, 1.1, 1])), tmp_path / "labels" / "case_02.nii.gz")
    write_volume(labels.with_voxels(labels.voxels * 2), tmp_path / "labels" / "case_03.nii.gz")
    write_volume(scan, tmp_path / "labels" / "case_04.nii.gz")
    write_volume(labels, tmp_path / "labels" / "lost.nii.gz")
    with pytest.raises(InputError) as refusal:
        inspect(tmp_path)
    message = str(refusal.value)
    assert "6 mistakes" in message
    for fact in (
        *("lost.nii.gz has no image", "images/case_00.nii.gz is not an image", "labels/case_01.nii.gz is cut off"),
        *(
            "images/case_02.nii.gz and labels/case_02.nii.gz have different grids",
            "case_03.nii.gz holds the label value 2, 6",
        ),
        "case_04.nii.gz is no label map",
    ):
        assert message.count(fact) == 1, message


def test_labels_without_a_single_voxel_are_refused(tmp_path: Path) -> None:
    write_folder(tmp_path, labelled=1)
    _, labels = scan_and_labels(0)
    write_volume(labels.with_voxels(labels.voxels * 0), tmp_path / "labels" / "case_00.nii.gz")
    with pytest.raises(InputError, match="not a single voxel is labelled"):
        inspect(tmp_path)


def segmentation(folder: Path, name: str, labels: Volume, names: dict[int, str]) -> None:
    (folder / "labels").mkdir(exist_ok=True)
    write_segmentation(folder / "labels" / f"{name}.seg.nrrd", labels, [Label(v, n) for v, n in names.items()])


def test_segments_of_slicer_are_told_by_their_names(tmp_path: Path) -> None:
    for name in "ab":
        write_case(tmp_path, name, labelled=False)
    _, labels = scan_and_labels(0)
    exchanged = labels.with_voxels(np.array([0, 3, 0, 1], np.uint8)[labels.voxels])
    segmentation(tmp_path, "a", labels, {1: "large", 3: "small"})
    segmentation(tmp_path, "b", exchanged, {1: "Small", 3: "Large"})
    with pytest.raises(InputError, match='calls value 1 "Small", other files "large"'):
        inspect(tmp_path)
    (tmp_path / "labels.json").write_text('{"large": 1, "small": 3}')
    found = inspect(tmp_path)
    first, second = (read_case(case, found.labels).labels.voxels for case in found.cases)
    np.testing.assert_array_equal(first, labels.voxels)
    np.testing.assert_array_equal(second, labels.voxels)


def test_a_segment_without_a_place_among_the_labels_is_refused(tmp_path: Path) -> None:
    write_case(tmp_path, "a", labelled=False)
    segmentation(tmp_path, "a", scan_and_labels(0)[1], {1: "large", 3: "odd"})
    (tmp_path / "labels.json").write_text('{"large": 1, "small": 3}')
    with pytest.raises(InputError, match='segment "odd"'):
        inspect(tmp_path)


def test_labels_cropped_to_what_is_painted_are_put_in_their_place(tmp_path: Path) -> None:
    write_case(tmp_path, "a", labelled=False)
    _, labels = scan_and_labels(0)
    part = labels.cropped((slice(2, 11), slice(4, 17), slice(3, 15)))
    turned = part.reoriented("LPS")
    segmentation(tmp_path, "a", replace(turned, voxels=np.ascontiguousarray(turned.voxels)), {1: "large", 3: "small"})
    np.testing.assert_array_equal(read_case(find_cases(tmp_path)[0], None).labels.voxels, labels.voxels)


def test_labels_beside_the_scan_are_refused(tmp_path: Path) -> None:
    write_case(tmp_path, "a")
    _, labels = scan_and_labels(0)
    matrix = labels.ijk_to_ras.copy()
    matrix[0, 3] = 3.0
    write_volume(replace(labels, ijk_to_ras=matrix), tmp_path / "labels" / "a.nii.gz")
    with pytest.raises(InputError, match="different grids"):
        inspect(tmp_path)
