"""A file appears whole or not at all, and nothing is left beside it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.io.atomic import replacing


def write_half(path: Path, error: BaseException | type[BaseException]) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(b"half")
        raise error


def test_the_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.b.nii.gz"
    with replacing(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.name.endswith(".nii.gz")
        temporary.write_bytes(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.b.nii.gz"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "scan.nrrd"
    path.write_bytes(b"old")
    with pytest.raises(error):
        write_half(path, error)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["scan.nrrd"]


def test_a_full_disk_is_said_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"scan\.nrrd could not be written.*no room left"):
        write_half(tmp_path / "scan.nrrd", OSError(errno.ENOSPC, "No space left on device"))
    assert os.listdir(tmp_path) == []


def test_a_missing_folder_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the folder .*gone is missing"), replacing(tmp_path / "gone" / "scan.nrrd"):
        pytest.fail("the block must not run")


def test_a_folder_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder"), replacing(tmp_path):
        pytest.fail("the block must not run")


def test_a_closed_folder_is_refused_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", closed)  # rights do not bind an administrator, who may run the tests
    path = tmp_path / "scan.nrrd"
    with pytest.raises(InputError, match=r"cannot be written into .*Permission denied"), replacing(path):
        pytest.fail("the block must not run")


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    target = tmp_path / "store" / "real.nrrd"
    target.parent.mkdir()
    target.write_bytes(b"old")
    link = tmp_path / "link.nrrd"
    try:
        link.symlink_to(target)
    except OSError:
        pytest.skip("this system lets no ordinary user make links")
    with replacing(link) as temporary:
        temporary.write_bytes(b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
