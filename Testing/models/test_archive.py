"""Zips that were made to do harm, and those that were not."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.models.archive import extract_package, members, opened, safe_path

PACKAGE = {"configs/metadata.json": b"{}", "models/model.safetensors": bytes(1000)}

CLIMBING = [
    "../evil.txt",
    "configs/../../evil.txt",
    "/etc/evil",
    "C:/evil.txt",
    "C:evil.txt",
    "\\\\server\\evil",
    "..\\evil.txt",
    "configs/./x",
    "configs//x",
    "aux",
    "configs/nul.txt",
    "com1",
    "trailing./x",
    "space /x",
    "new\nline",
    "a" * 300,
    "configs/stream:x",
]


def zipped(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return path


def inside(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("around", ["", "my-model/"])
def test_a_package_is_unpacked_with_or_without_a_folder_around_it(tmp_path: Path, around: str) -> None:
    path = zipped(tmp_path / "m.zip", {around + name: data for name, data in PACKAGE.items()})
    extract_package(path, tmp_path / "out")
    assert inside(tmp_path / "out") == PACKAGE


def test_what_macos_adds_is_left_out(tmp_path: Path) -> None:
    extra = {"__MACOSX/m/._x": b"x", "m/.DS_Store": b"x"}
    path = zipped(tmp_path / "m.zip", {f"m/{name}": data for name, data in PACKAGE.items()} | extra)
    extract_package(path, tmp_path / "out")
    assert inside(tmp_path / "out") == PACKAGE


@pytest.mark.parametrize("name", CLIMBING)
def test_a_path_that_climbs_out_or_means_something_else_is_refused(tmp_path: Path, name: str) -> None:
    path = zipped(tmp_path / "m.zip", PACKAGE | {name: b"evil"})
    with pytest.raises(InputError, match=r"^m\.zip"):
        extract_package(path, tmp_path / "deep" / "out")
    assert inside(tmp_path) == {"m.zip": path.read_bytes()}


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(tmp_path: Path, kind: int) -> None:
    path = zipped(tmp_path / "m.zip", PACKAGE)
    info = zipfile.ZipInfo("configs/link")
    info.external_attr = (kind | 0o777) << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(InputError, match="link or a device"):
        extract_package(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("double", ["configs/metadata.json", "Configs/METADATA.json"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_there_twice_is_refused_also_in_other_case(tmp_path: Path, double: str) -> None:
    path = zipped(tmp_path / "m.zip", PACKAGE)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(double, "{}")
    with pytest.raises(InputError, match="twice"):
        extract_package(path, tmp_path / "out")


def test_accents_written_in_two_ways_are_one_name(tmp_path: Path) -> None:
    path = zipped(tmp_path / "m.zip", PACKAGE | {"f\u00e9": b"", "fe\u0301": b""})
    with pytest.raises(InputError, match="twice"):
        extract_package(path, tmp_path / "out")


def test_a_file_that_is_also_a_folder_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "m.zip", PACKAGE | {"configs": b"x"})
    with pytest.raises(InputError, match="file and a folder"):
        extract_package(path, tmp_path / "out")


def test_a_zip_bomb_is_refused_before_it_grows(tmp_path: Path) -> None:
    path = zipped(tmp_path / "m.zip", PACKAGE | {"models/zeros": bytes(100_000_000)})
    assert path.stat().st_size < 200_000
    with pytest.raises(InputError, match="would grow to 100 MB"):
        extract_package(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_encrypted_file_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "m.zip", PACKAGE, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="encrypted"):
        extract_package(path, tmp_path / "out")


def test_a_flipped_byte_is_found(tmp_path: Path) -> None:
    path = zipped(tmp_path / "m.zip", PACKAGE | {"models/x": b"0123456789" * 50}, zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"0123456789" * 2, b"0123456789" + b"1123456789", 1))
    with pytest.raises(InputError, match=r"m\.zip is damaged"):
        extract_package(path, tmp_path / "out")


@pytest.mark.parametrize("data", [b"", b"PK", b"not a zip at all", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_zip_or_holds_no_package_is_told(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "m.zip").write_bytes(data)
    with pytest.raises(InputError, match=r"^m\.zip"):
        extract_package(tmp_path / "m.zip", tmp_path / "out")


def test_a_truncated_zip_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "m.zip", PACKAGE)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match=r"^m\.zip"), opened(path) as archive:
        members(archive)


@given(st.text(max_size=30))
def test_a_safe_path_stays_inside_on_every_system(text: str) -> None:
    try:
        path = safe_path(text, "m.zip")
    except InputError:
        return
    assert path == text
    assert not set(path) & set('\\:*?"<>|\0')
    assert all(part.strip(". ") for part in path.split("/"))
    assert (Path("/folder") / path).resolve().is_relative_to("/folder")


@pytest.mark.parametrize("path", ["model.pt", "configs/metadata.json", "docs/Über uns.md", ".hidden/x", "a..b"])
def test_ordinary_names_are_safe(path: str) -> None:
    assert safe_path(path, "m.zip") == path
