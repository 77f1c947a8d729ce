"""Files and volumes: a point in RAS names the same voxel before and after, in every format, as ITK sees it too."""

from __future__ import annotations

import bz2
import gzip
import logging
import struct
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.io.read import read_volume
from SSLSegmentationLib.io.write import write_volume
from SSLSegmentationLib.volume import Volume
from Testing.strategies import ORIENTATIONS, directions_of, matrices, volumes

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
TYPES = ("bool", "uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "float32", "float64")
# One folder serves all examples of a test: every example writes its file anew.
shared_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def as_itk(volume: Volume) -> SimpleITK.Image:
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(volume.voxels))
    lps = LPS_TO_RAS @ volume.ijk_to_ras
    image.SetSpacing(volume.spacing.tolist())
    image.SetDirection((lps[:3, :3] / volume.spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    return image


def from_itk(path: Path) -> Volume:
    image = SimpleITK.ReadImage(str(path))
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    matrix[:3, 3] = image.GetOrigin()
    return Volume(SimpleITK.GetArrayFromImage(image), LPS_TO_RAS @ matrix)


def assert_same(one: Volume, other: Volume, tolerance_mm: float = 1e-9) -> None:
    assert one.voxels.dtype == other.voxels.dtype
    assert np.array_equal(one.voxels, other.voxels)
    assert one.same_grid_as(other, tolerance_mm)


# NIfTI keeps positions in single precision: half a metre from the centre that is 3e-5 mm.
@pytest.mark.parametrize(("ending", "tolerance"), [(".nii.gz", 2e-4), (".nii", 2e-4), (".nrrd", 1e-9)])
@given(volume=volumes(), target=st.sampled_from(ORIENTATIONS))
@shared_folder
def test_what_is_written_lies_where_it_lay_here_and_in_itk(
    tmp_path: Path, volume: Volume, target: str, ending: str, tolerance: float
) -> None:
    path = tmp_path / f"scan{ending}"
    write_volume(volume, path)
    assert_same(read_volume(path), volume, tolerance)
    assert_same(from_itk(path), volume, tolerance)
    turned = volume.reoriented(target)  # a view with negative strides
    write_volume(turned, path)
    assert_same(read_volume(path), turned, tolerance)
    assert_same(read_volume(path).reoriented(volume.orientation), volume, tolerance)


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd"])
@given(volume=volumes(), compressed=st.booleans())
@shared_folder
def test_what_itk_writes_is_read_as_itk_reads_it(tmp_path: Path, volume: Volume, compressed: bool, ending: str) -> None:
    path = tmp_path / f"scan{ending}"
    SimpleITK.WriteImage(as_itk(volume), str(path), compressed)
    read = read_volume(path)
    assert_same(read, from_itk(path), 1e-6)
    assert_same(read, volume, 2e-4)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd"])
def test_every_orientation_is_kept(tmp_path: Path, orientation: str, ending: str) -> None:
    matrix = np.eye(4)
    matrix[:3, :3] = directions_of(orientation) * (0.5, 1.25, 4.0)
    matrix[:3, 3] = (-12.5, 30.25, 7.75)
    volume = Volume(np.arange(24, dtype=np.int16).reshape(2, 3, 4), matrix)
    write_volume(volume, tmp_path / f"scan{ending}")
    read = read_volume(tmp_path / f"scan{ending}")
    assert read.orientation == orientation
    assert_same(read, volume)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd"])
def test_types_and_values_are_kept(tmp_path: Path, dtype: str, ending: str) -> None:
    voxels = np.array([0, 1, 0, 1, 100, 7], dtype=dtype).reshape(1, 2, 3)
    write_volume(Volume(voxels), tmp_path / f"scan{ending}")
    read = read_volume(tmp_path / f"scan{ending}")
    assert read.voxels.dtype == (np.uint8 if dtype == "bool" else np.dtype(dtype))
    assert np.array_equal(read.voxels, voxels)


def test_the_same_volume_gives_the_same_bytes(tmp_path: Path) -> None:
    volume = Volume(np.arange(24, dtype=np.int16).reshape(2, 3, 4))
    for ending in (".nii.gz", ".nrrd"):
        write_volume(volume, tmp_path / f"one{ending}")
        write_volume(volume, tmp_path / f"two{ending}")
        assert (tmp_path / f"one{ending}").read_bytes() == (tmp_path / f"two{ending}").read_bytes()


def test_names_with_spaces_dots_and_letters_of_any_language(tmp_path: Path) -> None:
    folder = tmp_path / "Müller, Jörg – 肝臓"
    folder.mkdir()
    path = folder / "CT 1.5 mm été.nii.gz"
    write_volume(Volume(np.zeros((1, 2, 3), np.int16)), path)
    assert read_volume(path).name == "CT 1.5 mm été"
    assert read_volume(str(path)).shape == (1, 2, 3)


def test_a_link_is_read_as_what_it_points_at(tmp_path: Path) -> None:
    write_volume(Volume(np.zeros((1, 2, 3), np.int16)), tmp_path / "real.nrrd")
    try:
        (tmp_path / "link.nrrd").symlink_to("real.nrrd")
    except OSError:
        pytest.skip("this system lets no ordinary user make links")
    assert read_volume(tmp_path / "link.nrrd").name == "link"


def test_nrrd_keeps_the_modality(tmp_path: Path) -> None:
    write_volume(Volume(np.zeros((1, 2, 3), np.int16), modality="MR"), tmp_path / "scan.nrrd")
    assert read_volume(tmp_path / "scan.nrrd").modality == "MR"


def test_metaimage_tells_the_modality(tmp_path: Path) -> None:
    image = SimpleITK.Image([2, 2, 2], SimpleITK.sitkUInt8)
    SimpleITK.WriteImage(image, str(tmp_path / "scan.mha"), False)
    data = (tmp_path / "scan.mha").read_bytes()
    (tmp_path / "scan.mha").write_bytes(data.replace(b"DimSize", b"Modality = MET_MOD_CT\nDimSize"))
    assert read_volume(tmp_path / "scan.mha").modality == "CT"


@given(matrix=matrices())
@shared_folder
def test_the_qform_says_the_same_as_the_sform(tmp_path: Path, matrix: np.ndarray) -> None:
    volume = Volume(np.zeros((4, 5, 6), np.uint8), matrix)
    write_volume(volume, tmp_path / "scan.nii")
    patch(tmp_path / "scan.nii", sform_code=0)
    assert read_volume(tmp_path / "scan.nii").same_grid_as(volume, 1e-3)
    assert from_itk(tmp_path / "scan.nii").same_grid_as(volume, 1e-3)


FIELDS = {
    "dim": (40, "8h"), "datatype": (70, "h"), "pixdim": (76, "8f"), "spacing": (80, "3f"), "slope": (112, "f"),
    "intercept": (116, "f"), "units": (123, "B"), "qform_code": (252, "h"), "sform_code": (254, "h"),
    "quaternion": (256, "6f"), "sform": (280, "12f"), "magic": (344, "4s"),
}  # fmt: skip


def patch(path: Path, **fields: object) -> Path:
    """Overwrite fields of a NIfTI-1 header."""
    data = bytearray(path.read_bytes())
    for name, value in fields.items():
        at, places = FIELDS[name]
        struct.pack_into("<" + places, data, at, *(value if isinstance(value, (tuple, list)) else [value]))
    path.write_bytes(data)
    return path


@pytest.fixture
def nifti(tmp_path: Path) -> Path:
    """A small NIfTI file, 4 × 3 × 2 voxels of 1 × 2 × 3 mm."""
    volume = Volume(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.diag([1.0, 2.0, 3.0, 1.0]))
    write_volume(volume, tmp_path / "scan.nii")
    return tmp_path / "scan.nii"


@pytest.mark.parametrize("codes", [(1, 1), (1, 2), (2, 1), (1, 4), (0, 2), (1, 0), (0, 0), (3, 1)])
def test_where_qform_and_sform_disagree_itk_and_slicer_are_followed(nifti: Path, codes: tuple[int, int]) -> None:
    patch(nifti, qform_code=codes[0], sform_code=codes[1], sform=(0, 2, 0, 50, 1, 0, 0, -20, 0, 0, 3, 9))
    patch(nifti, spacing=(1, 2, 3))
    assert_same(read_volume(nifti), from_itk(nifti), 1e-5)


def test_a_file_without_a_position_is_read_as_slicer_does_with_a_warning(
    nifti: Path, caplog: pytest.LogCaptureFixture
) -> None:
    patch(nifti, qform_code=0, sform_code=0)
    with caplog.at_level(logging.WARNING):
        assert read_volume(nifti).orientation == "LPS"
    assert "scan.nii does not say how it lies in the patient" in caplog.text


def test_metres_and_micrometres_become_millimetres(nifti: Path) -> None:
    assert read_volume(patch(nifti, units=1)).spacing.tolist() == [1000.0, 2000.0, 3000.0]
    assert np.allclose(read_volume(patch(nifti, units=3)).spacing, [0.001, 0.002, 0.003])


def test_scaled_values_become_float_and_others_stay_whole(nifti: Path) -> None:
    assert read_volume(patch(nifti, slope=0.0)).voxels.dtype == np.int16
    scaled = read_volume(patch(nifti, slope=0.5, intercept=-10.0)).voxels
    assert scaled.dtype == np.float32
    assert scaled.ravel()[:3].tolist() == [-10.0, -9.5, -9.0]
    assert np.array_equal(scaled, from_itk(nifti).voxels)


def test_big_endian_files_are_read(tmp_path: Path) -> None:
    SimpleITK.WriteImage(
        as_itk(Volume(np.arange(24, dtype=np.int16).reshape(2, 3, 4))), str(tmp_path / "a.nrrd"), False
    )
    data = (tmp_path / "a.nrrd").read_bytes()
    header, voxels = data.split(b"\n\n", 1)
    swapped = np.frombuffer(voxels, "<i2").astype(">i2").tobytes()
    (tmp_path / "b.nrrd").write_bytes(header.replace(b"little", b"big") + b"\n\n" + swapped)
    read = read_volume(tmp_path / "b.nrrd").voxels
    assert read.dtype.isnative
    assert read.ravel().tolist() == list(range(24))


def test_nifti_2_is_read(tmp_path: Path) -> None:
    header = bytearray(544)
    struct.pack_into("<i8sh", header, 0, 540, b"n+2\0\r\n\x1a\n", 4)
    struct.pack_into("<8q", header, 16, 3, 4, 3, 2, 1, 1, 1, 1)
    struct.pack_into("<8d", header, 104, 1, 1, 2, 3, 1, 1, 1, 1)
    struct.pack_into("<qdd", header, 168, 544, 1, 0)
    struct.pack_into("<ii", header, 344, 0, 1)
    struct.pack_into("<12d", header, 400, 1, 0, 0, 5, 0, 2, 0, 6, 0, 0, 3, 7)
    struct.pack_into("<i", header, 500, 2)
    (tmp_path / "scan.nii.gz").write_bytes(gzip.compress(bytes(header) + np.arange(24, dtype="<i2").tobytes()))
    volume = read_volume(tmp_path / "scan.nii.gz")
    assert volume.ijk_to_ras.tolist() == [[1, 0, 0, 5], [0, 2, 0, 6], [0, 0, 3, 7], [0, 0, 0, 1]]
    assert volume.voxels.ravel().tolist() == list(range(24))


@pytest.mark.parametrize("space", ["right-anterior-superior", "RAS", "LPS", "left-anterior-superior", "LAS"])
@pytest.mark.parametrize("encoding", ["raw", "ascii"])
def test_nrrd_of_every_space_and_encoding_is_read_as_itk_reads_it(tmp_path: Path, space: str, encoding: str) -> None:
    voxels = np.arange(24, dtype="<i2")
    data = voxels.tobytes() if encoding == "raw" else b" ".join(b"%d" % value for value in voxels)
    header = (
        f"NRRD0004\n# made by hand\ntype: int16\ndimension: 3\nspace: {space}\nsizes: 4 3 2\n"
        "space directions: (0,1.5,0) (-2,0,0) (0,0,3)\nkinds: domain domain domain\nendian: little\n"
        f"encoding: {encoding}\nspace origin: (5,6,7)\nnote:=a\\nb\n\n"
    )
    (tmp_path / "scan.nrrd").write_bytes(header.encode() + data)
    assert_same(read_volume(tmp_path / "scan.nrrd"), from_itk(tmp_path / "scan.nrrd"))


@pytest.mark.parametrize("encoding", ["bzip2", "gzip"])
def test_nrrd_of_nothing_but_zeros_however_small(tmp_path: Path, encoding: str) -> None:
    pack = bz2.compress if encoding == "bzip2" else gzip.compress
    header = f"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 200 200 200\nencoding: {encoding}\n\n"
    (tmp_path / "scan.nrrd").write_bytes(header.encode() + pack(bytes(8_000_000)))
    volume = read_volume(tmp_path / "scan.nrrd")
    assert volume.shape == (200, 200, 200)
    assert not volume.voxels.any()


def test_a_component_axis_of_one_is_no_component_axis(tmp_path: Path) -> None:
    header = (
        "NRRD0004\ntype: uint8\ndimension: 4\nspace: LPS\nsizes: 4 3 2 1\nencoding: raw\n"
        "space directions: (1,0,0) (0,1,0) (0,0,1) none\nkinds: domain domain domain list\n\n"
    )
    (tmp_path / "scan.nrrd").write_bytes(header.encode() + bytes(range(24)))
    assert read_volume(tmp_path / "scan.nrrd").voxels.ravel().tolist() == list(range(24))


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_a_single_image_is_a_volume_one_slice_thick(tmp_path: Path, ending: str) -> None:
    image = SimpleITK.GetImageFromArray(np.arange(6, dtype=np.int16).reshape(2, 3))
    image.SetSpacing((0.5, 2.0))
    SimpleITK.WriteImage(image, str(tmp_path / f"slice{ending}"))
    volume = read_volume(tmp_path / f"slice{ending}")
    assert volume.shape == (1, 2, 3)
    assert volume.spacing.tolist() == [0.5, 2.0, 1.0]


def test_an_ending_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"scan\.png does not end in"):
        write_volume(Volume(np.zeros((1, 2, 3), np.int16)), tmp_path / "scan.png")


def test_a_type_that_a_format_cannot_hold_is_refused(tmp_path: Path) -> None:
    for ending in (".nii.gz", ".nrrd"):
        with pytest.raises(InputError, match="float16"):
            write_volume(Volume(np.zeros((1, 2, 3), np.float16)), tmp_path / f"scan{ending}")


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha"])
@given(data=st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_changed_in_a_file_is_read_or_refused(tmp_path: Path, data: st.DataObject, ending: str) -> None:
    """No damage ends in another error than InputError, and none in a warning on the screen."""
    path = tmp_path / f"scan{ending}"
    volume = Volume(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.diag([1.0, 2.0, 3.0, 1.0]))
    if ending == ".mha":
        SimpleITK.WriteImage(as_itk(volume), str(path), data.draw(st.booleans()))
    else:
        write_volume(volume, path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(len(content) // 2, len(content)))]
    path.write_bytes(bytes(content))
    with suppress(InputError):
        assert np.isfinite(read_volume(path).ijk_to_ras).all()
