"""Bad input gets one sentence: the file, the fact, the remedy. Nothing else is printed and nothing is guessed."""

from __future__ import annotations

import gzip
import logging
import re
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.io import stored
from SSLSegmentationLib.io.read import read_volume
from SSLSegmentationLib.io.write import write_volume
from SSLSegmentationLib.volume import Volume
from Testing.io.test_files import as_itk, patch

SMALL = Volume(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.diag([1.0, 2.0, 3.0, 1.0]))
NOISE = Volume(np.random.default_rng(0).integers(0, 999, (20, 32, 32)).astype(np.int16))


@pytest.fixture
def nifti(tmp_path: Path) -> Path:
    write_volume(SMALL, tmp_path / "scan.nii")
    return tmp_path / "scan.nii"


def refused(path: Path, *facts: str, capfd: pytest.CaptureFixture[str] | None = None, **options: bool) -> str:
    """The one sentence with which a file is refused; it names the file, the facts and ends with a remedy."""
    with pytest.raises(InputError) as raised:
        read_volume(path, **options)
    sentence = str(raised.value)
    assert path.name in sentence
    assert "\n" not in sentence
    assert re.fullmatch(r".+[:;,] .+\.", sentence)
    for fact in facts:
        assert fact in sentence
    if capfd is not None:
        assert capfd.readouterr() == ("", "")
    return sentence


def write(volume: Volume, path: Path, compressed: bool) -> bytes:
    SimpleITK.WriteImage(as_itk(volume), str(path), compressed)
    return path.read_bytes()


def test_a_missing_path(tmp_path: Path) -> None:
    refused(tmp_path / "gone.nii.gz", "does not exist")


@pytest.mark.parametrize("name", ["scan.nii.gz", "scan.nrrd", "scan.mha", "scan.dcm", "scan"])
def test_an_empty_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    refused(tmp_path / name, "is empty")


@pytest.mark.parametrize("ending", ["nii", "nii.gz", "nrrd", "mha"])
@pytest.mark.parametrize("kept", [0.98, 0.5])
@pytest.mark.parametrize("compressed", [True, False])
def test_a_file_that_is_cut_off(
    tmp_path: Path, ending: str, kept: float, compressed: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"scan.{ending}"
    data = write(NOISE, path, compressed)
    path.write_bytes(data[: int(len(data) * kept)])
    refused(path, "cut off or damaged", capfd=capfd)


@pytest.mark.parametrize("ending", ["nii.gz", "nrrd", "mha"])
def test_compressed_data_with_a_wrong_byte(tmp_path: Path, ending: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"scan.{ending}"
    data = bytearray(write(NOISE, path, compressed=True))
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))
    refused(path, "cut off or damaged", capfd=capfd)


@pytest.mark.parametrize("length", [3, 100, 347])
def test_a_header_that_is_cut_off(nifti: Path, length: int) -> None:
    nifti.write_bytes(nifti.read_bytes()[:length])
    refused(nifti)


@pytest.mark.parametrize("name", ["note.txt", "note.nii.gz", "note.nii", "note.nrrd", "note.mha", "note.dcm"])
def test_a_text(tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / name).write_text("Dear colleague, the scan follows by courier.\n" * 20)
    refused(tmp_path / name, capfd=capfd)


@pytest.mark.parametrize(
    ("mark", "kind"),
    [(b"\x89PNG\r\n\x1a\n", "a PNG picture"), (b"PK\x03\x04", "a ZIP archive"), (b"%PDF-1.7", "a PDF")],
)
@pytest.mark.parametrize("name", ["scan.png", "scan.nii.gz"])
def test_a_picture_or_an_archive(tmp_path: Path, mark: bytes, kind: str, name: str) -> None:
    (tmp_path / name).write_bytes(mark + bytes(500))
    refused(tmp_path / name, kind)


def test_a_gzip_file_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "scan.nii.gz").write_bytes(gzip.compress(b"Dear colleague" * 50))
    refused(tmp_path / "scan.nii.gz", "is not an image")


def test_one_half_of_an_analyze_pair(nifti: Path) -> None:
    refused(patch(nifti, magic=b"ni1\0"), "pair of .hdr and .img")


@pytest.mark.parametrize("ending", ["nrrd", "mha"])
def test_colour_in_nrrd_and_metaimage(tmp_path: Path, ending: str) -> None:
    image = SimpleITK.Image([4, 3, 2], SimpleITK.sitkVectorUInt8, 3)
    SimpleITK.WriteImage(image, str(tmp_path / f"scan.{ending}"))
    refused(tmp_path / f"scan.{ending}", "3 components")


def test_colour_in_nifti(nifti: Path) -> None:
    refused(patch(nifti, datatype=128), "3 components")


def test_vectors_in_nifti(nifti: Path) -> None:
    refused(patch(nifti, dim=(5, 2, 2, 2, 1, 3, 1, 1)), "3 components in each voxel")


def test_frames_in_nifti(nifti: Path) -> None:
    refused(patch(nifti, dim=(4, 4, 3, 1, 2, 1, 1, 1)), "2 frames (it is 4D)")


def test_frames_in_metaimage(tmp_path: Path) -> None:
    data = write(SMALL, tmp_path / "scan.mha", compressed=False)
    for old, new in ((b"NDims = 3", b"NDims = 4"), (b"DimSize = 4 3 2", b"DimSize = 4 3 1 2")):
        data = data.replace(old, new)
    (tmp_path / "scan.mha").write_bytes(data)
    refused(tmp_path / "scan.mha", "2 frames (it is 4D)")


def test_frames_in_nrrd(tmp_path: Path) -> None:
    header = (
        "NRRD0004\ntype: uint8\ndimension: 4\nspace: LPS\nsizes: 2 4 3 1\nencoding: raw\n"
        "space directions: none (1,0,0) (0,1,0) (0,0,1)\nkinds: time domain domain domain\n\n"
    )
    (tmp_path / "scan.nrrd").write_bytes(header.encode() + bytes(24))
    refused(tmp_path / "scan.nrrd", "2 frames (it is 4D)")


def test_complex_numbers(nifti: Path, tmp_path: Path) -> None:
    refused(patch(nifti, datatype=32), "complex numbers")
    SimpleITK.WriteImage(SimpleITK.Image([4, 3, 2], SimpleITK.sitkComplexFloat32), str(tmp_path / "scan.nrrd"))
    refused(tmp_path / "scan.nrrd", "complex numbers")


def test_a_type_nobody_knows(nifti: Path) -> None:
    refused(patch(nifti, datatype=9999), "type 9999")


@pytest.mark.parametrize("spacing", [(0.0, 2.0, 3.0), (1.0, -2.0, 3.0), (1.0, 2.0, np.nan), (np.inf, 2.0, 3.0)])
def test_a_spacing_that_is_none(nifti: Path, spacing: tuple[float, ...]) -> None:
    refused(patch(nifti, spacing=spacing), " × ".join(f"{step:g}" for step in spacing))


@pytest.mark.parametrize("spacing", ["0 2 3", "-1 2 3"])
def test_a_spacing_that_is_none_in_metaimage(tmp_path: Path, spacing: str) -> None:
    data = write(SMALL, tmp_path / "scan.mha", compressed=False)
    (tmp_path / "scan.mha").write_bytes(
        data.replace(b"ElementSpacing = 1 2 3", b"ElementSpacing = " + spacing.encode())
    )
    refused(tmp_path / "scan.mha", "voxel spacing of " + spacing.replace(" ", " × "))


def test_a_spacing_of_zero_in_nrrd(tmp_path: Path) -> None:
    data = write(SMALL, tmp_path / "scan.nrrd", compressed=False)
    (tmp_path / "scan.nrrd").write_bytes(data.replace(b"2,0)", b"0,0)").replace(b"-2,0)", b"0,0)"))
    refused(tmp_path / "scan.nrrd", "spacing of zero")


@pytest.mark.parametrize("qform_code", [0, 1])
def test_a_sheared_sform_even_if_a_qform_hides_it(nifti: Path, qform_code: int) -> None:
    sheared = (1, 0.5, 0, 0, 0, np.sqrt(3.75), 0, 0, 0, 0, 3, 0)
    refused(patch(nifti, qform_code=qform_code, sform_code=1, sform=sheared), "sheared axes (14.5 degrees")


def test_a_sheared_way_into_a_template_is_no_hindrance(nifti: Path) -> None:
    sheared = (1, 0.5, 0, 0, 0, 2, 0, 0, 0, 0, 3, 0)
    assert read_volume(patch(nifti, sform_code=4, sform=sheared)).same_grid_as(SMALL)


@pytest.mark.parametrize(
    ("ending", "straight", "slanted"),
    [("nrrd", b"(0,0,3)", b"(0,1,3)"), ("mha", b"1 0 0 0 1 0 0 0 1", b"1 0 0 0 1 0 0 .3 1")],
)
def test_sheared_axes_in_nrrd_and_metaimage(tmp_path: Path, ending: str, straight: bytes, slanted: bytes) -> None:
    volume = Volume(SMALL.voxels, np.diag([-1.0, -2.0, 3.0, 1.0]))  # straight in LPS
    data = write(volume, tmp_path / f"scan.{ending}", compressed=False)
    assert straight in data
    (tmp_path / f"scan.{ending}").write_bytes(data.replace(straight, slanted))
    refused(tmp_path / f"scan.{ending}", "sheared axes")


def test_a_spacing_that_the_sform_contradicts(nifti: Path) -> None:
    refused(patch(nifti, sform=(2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 3, 0)), "spacing is 1 × 2 × 3 mm", "2 × 2 × 3 mm")


def test_no_voxels(nifti: Path) -> None:
    refused(patch(nifti, dim=(3, 0, 3, 2, 1, 1, 1, 1)), "has no voxels")


def test_a_header_that_promises_more_than_the_file_can_hold(nifti: Path, tmp_path: Path) -> None:
    refused(patch(nifti, dim=(3, 30000, 30000, 30000, 1, 1, 1, 1)), "30000 × 30000 × 30000", "cannot be in a file")
    with gzip.open(tmp_path / "scan.nii.gz", "wb") as file:
        file.write(nifti.read_bytes())
    refused(tmp_path / "scan.nii.gz", "30000 × 30000 × 30000", "cannot be in a file")


def test_a_scan_larger_than_the_memory(nifti: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "machine_memory", lambda: 47)
    refused(nifti, "4 × 3 × 2 voxels", "of memory")
    monkeypatch.setattr(stored, "machine_memory", lambda: 48)
    assert read_volume(nifti).shape == (2, 3, 4)


def test_a_missing_data_file(tmp_path: Path) -> None:
    for header, data in (("scan.mhd", "scan.raw"), ("scan.nhdr", "scan.raw.gz")):
        write(SMALL, tmp_path / header, compressed=header == "scan.nhdr")
        (tmp_path / data).unlink()
        refused(tmp_path / header, data, "missing")


def test_voxels_spread_over_several_files(tmp_path: Path) -> None:
    data = write(SMALL, tmp_path / "scan.mha", compressed=False).replace(b"LOCAL", b"slice%03d.raw 1 2 1")
    (tmp_path / "scan.mha").write_bytes(data)
    refused(tmp_path / "scan.mha", "over several files")


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd"])
def test_voxels_that_are_no_finite_numbers(tmp_path: Path, ending: str, caplog: pytest.LogCaptureFixture) -> None:
    voxels = np.linspace(-5, 18, 24, dtype=np.float32).reshape(2, 3, 4)
    voxels[0, 0, :2] = np.nan
    voxels[1, 1, 1:3] = (np.inf, -np.inf)
    path = tmp_path / f"scan{ending}"
    write_volume(Volume(voxels), path)
    refused(path, "4 voxels that are not finite numbers", "--replace-nonfinite")
    with caplog.at_level(logging.WARNING):
        mended = read_volume(path, replace_nonfinite=True).voxels
    assert caplog.messages == [f"{path.name} had 4 voxels that are not finite numbers; set to -3, its smallest value."]
    good = np.isfinite(voxels)
    assert np.array_equal(mended[good], voxels[good])
    assert (mended[~good] == -3).all()


def test_values_that_scaling_makes_infinite_are_counted(nifti: Path) -> None:
    refused(patch(nifti, slope=3e38), "22 voxels that are not finite")


@pytest.mark.parametrize("replace_nonfinite", [True, False])
def test_a_scan_without_a_single_number(tmp_path: Path, replace_nonfinite: bool) -> None:
    write_volume(Volume(np.full((2, 3, 4), np.nan, np.float32)), tmp_path / "scan.nrrd")
    refused(tmp_path / "scan.nrrd", "not a single voxel", replace_nonfinite=replace_nonfinite)


def test_a_file_that_may_not_be_opened(nifti: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", closed)
    refused(nifti, "Permission denied")
