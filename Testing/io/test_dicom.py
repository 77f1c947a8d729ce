"""A DICOM series becomes a volume by where its slices lie, or is refused with what stands in the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    RTStructureSetStorage,
    SecondaryCaptureImageStorage,
)
from pydicom.valuerep import format_number_as_ds

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.io.read import read_volume
from SSLSegmentationLib.volume import Volume
from Testing.strategies import ORIENTATIONS, matrices

Change = Callable[[int, Dataset], None]
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def unchanged(_: int, __: Dataset) -> None:
    pass


def scan(slices: int = 6) -> Volume:
    """A little CT whose voxels are all different, 1.5 × 2 × 2.5 mm."""
    matrix = np.array([[-1.5, 0, 0, 10.25], [0, -2.0, 0, 20.5], [0, 0, 2.5, -7.75], [0, 0, 0, 1]])
    return Volume(np.arange(slices * 12, dtype=np.int16).reshape(slices, 3, 4), matrix)


def write(
    folder: Path, volume: Volume, change: Change = unchanged, *, series: str = "1.2.826.0.1.7", number: int = 4
) -> list[Path]:
    """A file for each slice, with names in an order that says nothing about their places."""
    folder.mkdir(exist_ok=True)
    lps = LPS_TO_RAS @ volume.ijk_to_ras
    paths = []
    for k, pixels in enumerate(volume.voxels):
        one = Dataset()
        one.SOPClassUID, one.SOPInstanceUID = CTImageStorage, f"{series}.{k + 1}"
        one.StudyInstanceUID, one.SeriesInstanceUID, one.SeriesNumber = "1.2.826.0.1", series, number
        one.Modality, one.SeriesDescription, one.PatientName = "CT", "Thorax 2.5", "Nobody"
        one.ImagePositionPatient = [format_number_as_ds(float(value)) for value in lps[:3, 3] + k * lps[:3, 2]]
        one.ImageOrientationPatient = [
            format_number_as_ds(float(value)) for value in (lps[:3, :2] / volume.spacing[:2]).T.ravel()
        ]
        one.PixelSpacing = [format_number_as_ds(float(value)) for value in volume.spacing[1::-1]]
        one.SliceThickness = format_number_as_ds(float(volume.spacing[2]))
        one.Rows, one.Columns = pixels.shape
        one.SamplesPerPixel, one.PhotometricInterpretation, one.PixelRepresentation = 1, "MONOCHROME2", 1
        one.BitsAllocated, one.BitsStored, one.HighBit = 16, 16, 15
        one.RescaleSlope, one.RescaleIntercept = 1, -1024
        one.PixelData = (pixels.astype("<i2") + 1024).tobytes()
        change(k, one)
        one.file_meta = FileMetaDataset()
        one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        one.file_meta.MediaStorageSOPClassUID = one.SOPClassUID
        one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
        paths.append(folder / f"IM{k * 67 % 101:03d}_{series[-1]}.dcm")
        one.save_as(paths[-1], enforce_file_format=True)
    return paths


def refused(path: Path, *facts: str, **options: str) -> str:
    with pytest.raises(InputError) as raised:
        read_volume(path, **options)
    sentence = str(raised.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    for fact in facts:
        assert fact in sentence
    return sentence


@given(matrix=matrices(), slices=st.integers(2, 5))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_voxel_lies_where_its_slice_says(
    tmp_path_factory: pytest.TempPathFactory, matrix: np.ndarray, slices: int
) -> None:
    if np.linalg.det(matrix[:3, :3]) < 0:  # slices are stacked along the normal of their rows and columns
        matrix = matrix @ np.diag([1, 1, -1, 1])
    voxels = np.arange(slices * 12, dtype=np.int16).reshape(slices, 3, 4)
    written = Volume(voxels, matrix)
    folder = tmp_path_factory.mktemp("series")
    write(folder, written)
    read = read_volume(folder)
    assert np.array_equal(read.voxels, voxels)
    assert read.same_grid_as(written, 1e-6)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_it_agrees_with_itk_on_every_orientation(tmp_path: Path, orientation: str) -> None:
    turned = scan().reoriented(orientation)
    write(tmp_path / "series", turned)
    read = read_volume(tmp_path / "series")
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path / "series")))
    image = reader.Execute()
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    matrix[:3, 3] = image.GetOrigin()
    assert np.allclose(read.ijk_to_ras, LPS_TO_RAS @ matrix, rtol=0, atol=1e-6)
    assert np.array_equal(read.voxels, SimpleITK.GetArrayViewFromImage(image))
    back = read.reoriented("LPS")
    assert np.array_equal(back.voxels, scan().voxels)
    assert back.same_grid_as(scan(), 1e-6)


def test_name_and_modality_come_from_the_series(tmp_path: Path) -> None:
    write(tmp_path / "series", scan())
    volume = read_volume(tmp_path / "series")
    assert (volume.name, volume.modality) == ("Thorax 2.5", "CT")
    write(tmp_path / "series", scan(), lambda _, one: setattr(one, "SeriesDescription", ""))
    assert read_volume(tmp_path / "series").name == "series"


def test_a_description_in_another_alphabet(tmp_path: Path) -> None:
    def change(_: int, one: Dataset) -> None:
        one.SpecificCharacterSet, one.SeriesDescription = "ISO_IR 100", "Schädel"

    write(tmp_path / "Müller Jörg", scan(), change)
    assert read_volume(tmp_path / "Müller Jörg").name == "Schädel"


def test_hounsfield_units_stay_whole_and_narrow(tmp_path: Path) -> None:
    write(tmp_path / "series", scan())
    assert read_volume(tmp_path / "series").voxels.dtype == np.int16


def test_values_beyond_sixteen_bits_are_kept(tmp_path: Path) -> None:
    def change(k: int, one: Dataset) -> None:
        one.RescaleIntercept = 40000 if k == 4 else -1024

    write(tmp_path / "series", scan(), change)
    read = read_volume(tmp_path / "series").voxels
    assert np.array_equal(read - scan().voxels, np.array([0, 0, 0, 0, 41024, 0])[:, None, None] + 0 * read)


def test_each_slice_is_scaled_by_its_own_slope(tmp_path: Path) -> None:
    """PET does this. ITK's series reader takes the type of the first slice and rounds the others to it."""

    def change(k: int, one: Dataset) -> None:
        one.RescaleSlope, one.RescaleIntercept = (1, 0.25)[k % 2], 0

    write(tmp_path / "series", scan(), change)
    read = read_volume(tmp_path / "series").voxels
    assert read.dtype == np.float32
    assert np.array_equal(read, (scan().voxels + 1024.0) * np.array([1, 0.25] * 3)[:, None, None])


def test_one_file_stands_for_its_series(tmp_path: Path) -> None:
    paths = write(tmp_path / "study", scan(4))
    write(tmp_path / "study", scan(5), series="1.2.826.0.1.8")
    assert read_volume(paths[2]).shape == (4, 3, 4)


def test_a_single_slice_has_its_thickness(tmp_path: Path) -> None:
    write(tmp_path / "series", scan(1))
    volume = read_volume(tmp_path / "series")
    assert volume.shape == (1, 3, 4)
    assert volume.spacing.tolist() == [1.5, 2.0, 2.5]


def test_two_series_are_listed_and_one_can_be_chosen(tmp_path: Path) -> None:
    write(tmp_path / "study", scan(4))
    write(tmp_path / "study", scan(5), series="1.2.826.0.1.8", number=9)
    listed = "1.2.826.0.1.7 (number 4, CT 'Thorax 2.5', 4 slices)"
    refused(tmp_path / "study", "2 series", "--series", listed, "1.2.826.0.1.8 (number 9", "5 slices")
    assert read_volume(tmp_path / "study", series="1.2.826.0.1.7").shape[0] == 4
    assert read_volume(tmp_path / "study", series="9").shape[0] == 5
    refused(tmp_path / "study", "no series 5", listed, series="5")
    write(tmp_path / "study", scan(2), series="1.2.826.0.1.9", number=9)
    refused(tmp_path / "study", "2 series with the number 9", listed, series="9")


def test_series_are_chosen_in_dicom_only(tmp_path: Path) -> None:
    (tmp_path / "scan.nrrd").write_bytes(b"NRRD0004\n")
    refused(tmp_path / "scan.nrrd", "not DICOM", "--series", series="4")


def test_copies_of_a_file_count_once(tmp_path: Path) -> None:
    paths = write(tmp_path / "series", scan())
    (tmp_path / "series" / "IM000 (1).dcm").write_bytes(paths[0].read_bytes())
    assert read_volume(tmp_path / "series").shape[0] == 6


def test_other_files_in_the_folder_are_passed_over(tmp_path: Path) -> None:
    paths = write(tmp_path / "series", scan())
    (tmp_path / "series" / "notes.txt").write_text("not an image")
    (tmp_path / "series" / "deeper").mkdir()
    plan = Dataset()
    plan.SOPClassUID, plan.SOPInstanceUID, plan.Modality = RTStructureSetStorage, "1.2.3", "RTSTRUCT"
    plan.file_meta = FileMetaDataset()
    plan.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    plan.file_meta.MediaStorageSOPClassUID = plan.SOPClassUID
    plan.file_meta.MediaStorageSOPInstanceUID = plan.SOPInstanceUID
    plan.save_as(tmp_path / "series" / "plan.dcm", enforce_file_format=True)
    paths[0].rename(paths[0].with_suffix(""))  # names need no ending
    assert read_volume(tmp_path / "series").shape[0] == 6
    refused(tmp_path / "series" / "plan.dcm", "plan.dcm", "no DICOM image")


def test_a_folder_without_dicom(tmp_path: Path) -> None:
    refused(tmp_path, str(tmp_path), "holds no DICOM images")
    write(tmp_path / "series", scan())
    refused(tmp_path, "holds no DICOM images itself", str(tmp_path / "series"))


@pytest.mark.parametrize("place", range(6))
@pytest.mark.parametrize("kept", [0, 100, 400, -10])
def test_a_slice_that_is_cut_off_is_named(
    tmp_path: Path, place: int, kept: int, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "series", scan())[place]
    path.write_bytes(path.read_bytes()[:kept])
    refused(tmp_path / "series", path.name, "cut off or damaged")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("gone", "missing"), [([2], "1 slice ("), ([2, 3], "2 slices ("), ([1, 3], "2 slices (")])
def test_missing_slices(tmp_path: Path, gone: list[int], missing: str) -> None:
    paths = write(tmp_path / "series", scan(8))
    for k in gone:
        paths[k].unlink()
    refused(tmp_path / "series", "series", missing, "they are 2.5 mm apart", "between ")


def moved(k_moved: int, by: tuple[float, float, float]) -> Change:
    def change(k: int, one: Dataset) -> None:
        if k == k_moved:
            one.ImagePositionPatient = [float(a) + b for a, b in zip(one.ImagePositionPatient, by, strict=True)]

    return change


def test_uneven_slices(tmp_path: Path) -> None:
    write(tmp_path / "series", scan(), moved(3, (0, 0, 0.75)))
    refused(tmp_path / "series", "uneven slices, 1.75 to 3.25 mm apart")


def test_positions_rounded_by_the_scanner_are_even(tmp_path: Path) -> None:
    write(tmp_path / "series", scan(), moved(3, (0, 0, 0.04)))
    assert np.allclose(read_volume(tmp_path / "series").spacing, (1.5, 2.0, 2.5))


def test_two_images_at_one_place(tmp_path: Path) -> None:
    write(tmp_path / "series", scan(), moved(3, (0, 0, 2.5)))
    refused(tmp_path / "series", "1 image at a place taken already (at 2.25 mm", "IM066_7.dcm and IM100_7.dcm")


def test_a_tilted_gantry(tmp_path: Path) -> None:
    def change(k: int, one: Dataset) -> None:
        x, y, z = (float(value) for value in one.ImagePositionPatient)
        one.ImagePositionPatient = [x, y + k * 2.5 * np.tan(np.radians(15)), z]

    write(tmp_path / "series", scan(), change)
    refused(tmp_path / "series", "tilted gantry (15.0 degrees)")


def test_slices_of_two_sizes(tmp_path: Path) -> None:
    def change(k: int, one: Dataset) -> None:
        if k == 2:
            one.Rows, one.Columns = 2, 6

    write(tmp_path / "series", scan(), change)
    refused(tmp_path / "series", "4 × 3 and 6 × 2 pixels")


def test_slices_of_two_directions(tmp_path: Path) -> None:
    def change(k: int, one: Dataset) -> None:
        if k == 0:
            one.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]

    write(tmp_path / "series", scan(), change)
    refused(tmp_path / "series", "different directions", "localizer")


def test_slices_of_two_pixel_spacings(tmp_path: Path) -> None:
    write(tmp_path / "series", scan(), lambda k, one: setattr(one, "PixelSpacing", [2, 1.5 + (k == 0)]))
    refused(tmp_path / "series", "different pixel spacings")


def test_a_pixel_spacing_of_zero(tmp_path: Path) -> None:
    write(tmp_path / "series", scan(), lambda _, one: setattr(one, "PixelSpacing", [0, 1.5]))
    refused(tmp_path / "series", "pixel spacing of zero")


def test_a_screen_capture_lies_nowhere(tmp_path: Path) -> None:
    def change(_: int, one: Dataset) -> None:
        one.SOPClassUID = SecondaryCaptureImageStorage
        for key in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
            delattr(one, key)

    write(tmp_path / "series", scan(), change)
    refused(tmp_path / "series", "does not say where its images lie")


def test_colour(tmp_path: Path) -> None:
    def change(_: int, one: Dataset) -> None:
        one.SamplesPerPixel, one.PhotometricInterpretation, one.PlanarConfiguration = 3, "RGB", 0
        one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 8, 8, 7, 0
        del one.RescaleSlope, one.RescaleIntercept
        one.PixelData = bytes(36)

    write(tmp_path / "series", scan(), change)
    refused(tmp_path / "series", "3 components")


def test_many_slices_in_one_file(tmp_path: Path) -> None:
    def change(_: int, one: Dataset) -> None:
        one.SOPClassUID, one.NumberOfFrames = EnhancedCTImageStorage, 3
        one.PixelData = bytes(72)

    write(tmp_path / "series", scan(1), change)
    refused(tmp_path / "series", "3 slices in one file")
