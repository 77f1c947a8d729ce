from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.io.dicom_seg import read_dicom_seg, write_dicom_seg
from SSLSegmentationLib.io.read import read_volume
from SSLSegmentationLib.io.segmentation import read_segmentation
from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.phantom.names import organ_labels
from SSLSegmentationLib.placing import placed_on
from SSLSegmentationLib.volume import Volume
from Testing.io.test_dicom import scan, write

SPLEEN, LEFT_KIDNEY = organ_labels()[0], organ_labels()[2]
NAMES = (SPLEEN, LEFT_KIDNEY, Label(9, "not found"))


def as_from_an_archive(k: int, one) -> None:
    one.PatientName, one.PatientID, one.PatientBirthDate, one.PatientSex = "Nobody^Nora", "4711", "", ""
    one.StudyDate, one.StudyTime, one.AccessionNumber, one.StudyID = "20260102", "101112", "", "1"
    one.ReferringPhysicianName, one.FrameOfReferenceUID = "", "1.2.826.0.1.9"
    one.InstanceNumber, one.PositionReferenceIndicator = k + 1, ""


@pytest.fixture
def series(tmp_path: Path) -> Path:
    turned = scan(6)
    angle = np.radians(25)
    slant = np.eye(4)
    slant[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    write(tmp_path / "series", Volume(turned.voxels, slant @ turned.ijk_to_ras), as_from_an_archive)
    return tmp_path / "series"


@pytest.fixture
def labelmap(series: Path) -> Volume:
    volume = read_volume(series)
    voxels = np.zeros(volume.shape, np.uint8)
    voxels[1:4, :2, 1:3] = SPLEEN.value
    voxels[3:5, 2:, :] = LEFT_KIDNEY.value
    return volume.with_voxels(voxels)


def test_names_codes_colours_and_voxels_come_back(series: Path, labelmap: Volume, tmp_path: Path) -> None:
    write_dicom_seg(tmp_path / "seg.dcm", series, labelmap, NAMES, model="abdomen 1.0")
    back = read_segmentation(tmp_path / "seg.dcm")
    assert [label.name for label in back.labels] == ["spleen", "left kidney"]
    for label, original in zip(back.labels, NAMES, strict=False):
        assert label.terminology.split("~")[1:4] == original.terminology.split("~")[1:4]
        np.testing.assert_allclose(label.color, original.color, atol=0.01)
    for index, original in enumerate(NAMES[:2]):
        mask = placed_on(back.mask(index), labelmap)
        np.testing.assert_array_equal(mask.voxels, labelmap.voxels == original.value)


def test_a_label_map_that_slicer_flipped_is_written_in_place(series: Path, labelmap: Volume, tmp_path: Path) -> None:
    flipped = labelmap.reoriented("LAI").cropped((slice(0, 6), slice(0, 3), slice(0, 4)))
    write_dicom_seg(tmp_path / "seg.dcm", series, flipped, NAMES)
    back = read_segmentation(tmp_path / "seg.dcm")
    np.testing.assert_array_equal(placed_on(back.mask(0), labelmap).voxels, labelmap.voxels == SPLEEN.value)


def test_dcmqi_reads_it(series: Path, labelmap: Volume, tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("segimage2itkimage")
    if not program.exists():
        pytest.skip("dcmqi is not installed")
    import json

    write_dicom_seg(tmp_path / "seg.dcm", series, labelmap, NAMES)
    command = [program, "--inputDICOM", tmp_path / "seg.dcm", "--outputDirectory", tmp_path, "-t", "nrrd"]
    subprocess.run([*map(str, command)], check=True, capture_output=True)
    told = json.loads((tmp_path / "meta.json").read_text("utf-8"))["segmentAttributes"]
    names = {one[0]["labelID"]: one[0]["SegmentLabel"] for one in told}
    assert sorted(names.values()) == ["left kidney", "spleen"]
    codes = {one[0]["SegmentLabel"]: one[0]["SegmentedPropertyTypeCodeSequence"]["CodeValue"] for one in told}
    assert codes == {"spleen": "78961009", "left kidney": "64033007"}
    for file in sorted(tmp_path.glob("[0-9].nrrd")):
        mask = placed_on(read_volume(file), labelmap).voxels
        value = SPLEEN.value if file.stem == "1" else LEFT_KIDNEY.value
        np.testing.assert_array_equal(mask > 0, labelmap.voxels == value)


def test_it_refers_to_the_images_and_names_its_maker(series: Path, labelmap: Volume, tmp_path: Path) -> None:
    from pydicom import dcmread

    write_dicom_seg(tmp_path / "seg.dcm", series, labelmap, NAMES, model="abdomen 1.0", creator="Reader^One")
    seg = dcmread(tmp_path / "seg.dcm")
    assert (str(seg.PatientID), str(seg.StudyInstanceUID), str(seg.Modality)) == ("4711", "1.2.826.0.1", "SEG")
    assert str(seg.ContentCreatorName) == "Reader^One"
    assert seg.SegmentSequence[0].SegmentAlgorithmName == "abdomen 1.0"
    uids = {str(one.ReferencedSOPInstanceUID) for one in seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence}
    assert uids == {f"1.2.826.0.1.7.{k}" for k in range(1, 7)}


def test_segments_that_overlap_come_back_in_layers(series: Path, labelmap: Volume, tmp_path: Path) -> None:
    import highdicom
    from pydicom import dcmread

    images = [dcmread(file) for file in sorted(series.iterdir())]
    masks = np.zeros((len(images), 3, 4, 2), np.uint8)
    masks[:, :, 1:3, 0] = 1
    masks[:, 1:, :, 1] = 1
    seg = highdicom.seg.Segmentation(
        images,
        masks,
        "BINARY",
        [
            highdicom.seg.SegmentDescription(
                number,
                name,
                highdicom.sr.CodedConcept("123037004", "SCT", "Anatomical Structure"),
                highdicom.sr.CodedConcept("78961009", "SCT", "Spleen"),
                "MANUAL",
            )
            for number, name in enumerate(("one", "other"), start=1)
        ],
        highdicom.UID(),
        1,
        highdicom.UID(),
        1,
        "maker",
        "model",
        "1",
        "0",
    )
    seg.save_as(tmp_path / "seg.dcm")
    labels, layers, layer_of = read_dicom_seg(tmp_path / "seg.dcm")
    assert [label.name for label in labels] == ["one", "other"]
    assert layer_of == (0, 1)
    assert [np.count_nonzero(layer.voxels) for layer in layers] == [masks[..., 0].sum(), masks[..., 1].sum()]


def test_an_empty_segmentation_is_refused(series: Path, labelmap: Volume, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no segment"):
        write_dicom_seg(tmp_path / "seg.dcm", series, labelmap.with_voxels(np.zeros_like(labelmap.voxels)), NAMES)
    assert not (tmp_path / "seg.dcm").exists()


def test_images_without_what_the_standard_asks_for_are_told_in_one_sentence(tmp_path: Path) -> None:
    def bare(k: int, one) -> None:
        as_from_an_archive(k, one)
        del one.FrameOfReferenceUID

    write(tmp_path / "series", scan(3), bare)
    volume = read_volume(tmp_path / "series")
    labelmap = volume.with_voxels(np.ones(volume.shape, np.uint8))
    with pytest.raises(InputError, match="do not carry what a DICOM SEG needs") as raised:
        write_dicom_seg(tmp_path / "seg.dcm", tmp_path / "series", labelmap, [SPLEEN])
    assert "\n" not in str(raised.value)


def test_a_damaged_file_is_told_with_its_name(series: Path, labelmap: Volume, tmp_path: Path) -> None:
    write_dicom_seg(tmp_path / "seg.dcm", series, labelmap, NAMES)
    whole = (tmp_path / "seg.dcm").read_bytes()
    (tmp_path / "cut.dcm").write_bytes(whole[: len(whole) - 40])
    with pytest.raises(InputError, match=r"cut.dcm cannot be used as a DICOM SEG"):
        read_segmentation(tmp_path / "cut.dcm")
