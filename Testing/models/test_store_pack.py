"""Models in one file for a machine without a network: packed here, spoilt on the way, unpacked there."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from SSLSegmentationLib.errors import Cancelled, InputError
from SSLSegmentationLib.models import install, pack, store
from Testing.models.test_store import DATA, THEN, WEIGHTS, leftovers, names, package

__all__ = ["package"]  # a fixture


@pytest.fixture
def packed(tmp_path: Path, package: Path) -> Path:
    (tmp_path / "w.pth").write_bytes(DATA)
    models = [
        install.add_weights(tmp_path / "w.pth", WEIGHTS, THEN, tmp_path / "here"),
        install.add_package(package, tmp_path / "here"),
    ]
    return pack.pack(models, tmp_path / "models.zip")


def respoilt(path: Path, change: Callable[[dict[str, bytes], dict[str, Any]], None]) -> Path:
    """The packed file again, after a change of its files and its manifest."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(files["manifest.json"])
    change(files, manifest)
    files.setdefault("manifest.json", b"")
    if files["manifest.json"]:
        files["manifest.json"] = json.dumps(manifest).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def test_what_is_packed_here_is_installed_there(tmp_path: Path, packed: Path) -> None:
    placed, there = pack.unpack(packed, tmp_path / "there")
    assert [model.id for model in placed] == ["small-sam", "two-organs"]
    assert there == []
    for model in placed:
        assert store.verify(model, {}) == []
        assert model.record == store.look(tmp_path / "here" / model.id).record
    assert leftovers(tmp_path / "there") == []
    assert pack.unpack(packed, tmp_path / "there") == ([], ["small-sam", "two-organs"])


def test_a_packed_file_is_not_compressed_and_tells_its_licences(packed: Path) -> None:
    with zipfile.ZipFile(packed) as archive:
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        notice = archive.read("LICENCES.txt").decode()
    assert "small-sam: Small SAM" in notice
    assert "commercial use allowed" in notice
    assert f"accepted {THEN}" in notice


def test_a_changed_model_is_not_packed(tmp_path: Path, packed: Path) -> None:
    model = store.look(tmp_path / "here" / "small-sam")
    model.path.write_bytes(DATA[::-1])
    with pytest.raises(InputError, match=r"small\.pth has changed"):
        pack.pack([model], tmp_path / "second.zip")
    assert not (tmp_path / "second.zip").exists()


def add_file(files: dict[str, bytes], manifest: dict[str, Any]) -> None:
    files["models/small-sam/extra.py"] = b"evil"


def lose_file(files: dict[str, bytes], manifest: dict[str, Any]) -> None:
    del files["models/small-sam/small.pth"]


def lengthen_file(files: dict[str, bytes], manifest: dict[str, Any]) -> None:
    files["models/small-sam/small.pth"] += b"x"


def change_last_model(files: dict[str, bytes], manifest: dict[str, Any]) -> None:
    name = next(name for name in files if name.startswith("models/two-organs/models/"))
    files[name] = files[name][:-1] + bytes([files[name][-1] ^ 1])


def climb_by_id(files: dict[str, bytes], manifest: dict[str, Any]) -> None:
    manifest["models"][0]["id"] = "../../evil"


def climb_by_path(files: dict[str, bytes], manifest: dict[str, Any]) -> None:
    manifest["models"][0]["files"][0]["path"] = "../../evil.pth"
    files["models/small-sam/../../evil.pth"] = files.pop("models/small-sam/small.pth")


def replace_record(files: dict[str, bytes], manifest: dict[str, Any]) -> None:
    manifest["models"][0]["files"][0]["path"] = "installed.json"
    files["models/small-sam/installed.json"] = files.pop("models/small-sam/small.pth")


def name_twice(files: dict[str, bytes], manifest: dict[str, Any]) -> None:
    manifest["models"].append(manifest["models"][0])


def change_licences(files: dict[str, bytes], manifest: dict[str, Any]) -> None:
    files["LICENCES.txt"] = b"do what you like"


def lose_licences(files: dict[str, bytes], manifest: dict[str, Any]) -> None:
    del files["LICENCES.txt"]


def swap_package(files: dict[str, bytes], manifest: dict[str, Any]) -> None:
    """The package of one model under the id of another, with all hashes right."""
    for name in [name for name in files if name.startswith("models/two-organs/")]:
        files[name.replace("two-organs", "trusted")] = files.pop(name)
    manifest["models"][1]["id"] = "trusted"


def newer_format(files: dict[str, bytes], manifest: dict[str, Any]) -> None:
    manifest["format"] = 2


def no_models(files: dict[str, bytes], manifest: dict[str, Any]) -> None:
    manifest["models"] = []


def no_manifest(files: dict[str, bytes], manifest: dict[str, Any]) -> None:
    del files["manifest.json"]


@pytest.mark.parametrize(
    "change",
    [
        *(add_file, lose_file, lengthen_file, change_last_model, climb_by_id, climb_by_path, replace_record),
        *(name_twice, change_licences, lose_licences, swap_package, newer_format, no_models, no_manifest),
    ],
)
def test_a_spoilt_file_installs_nothing_at_all(tmp_path: Path, packed: Path, change: Callable[..., None]) -> None:
    respoilt(packed, change)
    before = sorted(tmp_path.parent.iterdir())
    with pytest.raises(InputError, match=r"models\.zip"):
        pack.unpack(packed, tmp_path / "there")
    assert not (tmp_path / "there").exists() or names(tmp_path / "there") == []
    assert not (tmp_path / "there").exists() or leftovers(tmp_path / "there") == []
    assert sorted(tmp_path.parent.iterdir()) == before


def test_a_compressed_file_is_refused_for_it_could_be_a_bomb(tmp_path: Path, packed: Path) -> None:
    with zipfile.ZipFile(packed) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    with pytest.raises(InputError, match="compressed"):
        pack.unpack(packed, tmp_path / "there")


def test_a_truncated_file_is_refused(tmp_path: Path, packed: Path) -> None:
    packed.write_bytes(packed.read_bytes()[:-1000])
    with pytest.raises(InputError, match=r"models\.zip"):
        pack.unpack(packed, tmp_path / "there")


def test_cancelling_leaves_no_model_half_unpacked(tmp_path: Path, packed: Path) -> None:
    def tick(stage: str, part: float) -> None:
        if part > 0.9:
            raise Cancelled

    with pytest.raises(Cancelled):
        pack.unpack(packed, tmp_path / "there", tick)
    assert names(tmp_path / "there") == leftovers(tmp_path / "there") == []


def test_other_files_under_the_same_id_are_not_written_over(tmp_path: Path, packed: Path) -> None:
    record = store.look(tmp_path / "here" / "small-sam").record
    mine = replace(record, files=(store.StoredFile("small.pth", 4, "0" * 64),))
    (tmp_path / "there").mkdir()
    staged = store.stage(tmp_path / "there", "small-sam")
    (staged / "small.pth").write_bytes(b"mine")
    store.place(staged, mine, tmp_path / "there")
    with pytest.raises(InputError, match="sslseg models remove small-sam"):
        pack.unpack(packed, tmp_path / "there")
    assert (tmp_path / "there" / "small-sam" / "small.pth").read_bytes() == b"mine"
    assert names(tmp_path / "there") == ["small-sam"]


def test_nothing_to_pack_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to pack"):
        pack.pack([], tmp_path / "out.zip")
