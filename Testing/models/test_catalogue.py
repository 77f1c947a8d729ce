"""The catalogue of the program, and catalogues that users write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.models.catalogue import is_id, load_catalogue, near, read_catalogue, size_text
from SSLSegmentationLib.resources import resource

OWN = {
    "id": "hospital-liver",
    "title": "Liver, our scanner",
    "segments": "liver",
    "kind": "package",
    "modality": "CT",
    "licence": {"name": "CC-BY-4.0", "link": "https://creativecommons.org/licenses/by/4.0/", "commercial": True},
    "source": "the hospital",
    "address": "https://models.example/liver.zip",
    "sha256": None,
    "pinned_on_first_download": True,
}
WEIGHTS = OWN | {"kind": "sam", "file": "w.pth", "config": "vit_b", "image_size": 1024}
HASH = "0123456789abcdef" * 4


def written(folder: Path, *models: Any, format_: Any = 1) -> Path:
    path = folder / "own.json"
    path.write_text(json.dumps({"format": format_, "models": models}), "utf-8")
    return path


def test_the_catalogue_lists_the_promptable_models_with_everything_that_is_published() -> None:
    entries = load_catalogue()
    sam = {"sam-vit-b", "sam-vit-l", "sam-vit-h", "medsam-vit-b"}
    sam2 = {"sam2.1-tiny", "sam2.1-small", "sam2.1-base-plus", "sam2.1-large", "medsam2"}
    assert {entry.id for entry in entries.values() if entry.kind == "sam"} == sam
    assert {entry.id for entry in entries.values() if entry.kind == "sam2"} == sam2
    for entry in entries.values():
        assert entry.source
        assert entry.licence.link
        assert entry.page
        assert entry.address is None or entry.address.endswith(entry.file)
    assert not entries["medsam2"].licence.commercial
    assert entries["medsam-vit-b"].address is None


def test_hashes_and_addresses_are_all_different() -> None:
    entries = load_catalogue().values()
    assert len({entry.sha256 for entry in entries}) == len({entry.file for entry in entries}) == len(entries)


def test_the_catalogue_is_written_as_it_is_formatted() -> None:
    text = resource("Models.json").read_text("utf-8")
    assert text == json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n"


def test_an_own_catalogue_adds_its_models(tmp_path: Path) -> None:
    entries = load_catalogue(written(tmp_path, OWN))
    assert entries["hospital-liver"].title == "Liver, our scanner"
    assert "sam-vit-b" in entries


def test_the_environment_can_name_the_own_catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSLSEG_CATALOGUE", str(written(tmp_path, OWN)))
    assert "hospital-liver" in load_catalogue()


def test_an_own_catalogue_can_offer_the_same_file_elsewhere(tmp_path: Path) -> None:
    mirror = WEIGHTS | {"id": "sam-vit-b", "address": "https://mirror.example/w.pth"}
    entry = load_catalogue(written(tmp_path, mirror))["sam-vit-b"]
    assert entry.address == "https://mirror.example/w.pth"
    assert entry.sha256 == load_catalogue()["sam-vit-b"].sha256
    assert not entry.pinned_on_first_download


def test_an_own_catalogue_cannot_pass_another_file_off_as_a_known_model(tmp_path: Path) -> None:
    fake = WEIGHTS | {"id": "sam-vit-b", "sha256": HASH, "pinned_on_first_download": False}
    with pytest.raises(InputError, match=r'own\.json: "sam-vit-b" is another file'):
        load_catalogue(written(tmp_path, fake))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"id": "../x"}, '"id"'),
        ({"id": "nul"}, '"id"'),
        ({"id": 3}, "id is 3"),
        ({"titel": "x"}, "titel"),
        ({"title": ""}, '"title"'),
        ({"kind": "exe"}, "package, click, sam, sam2"),
        ({"licence": {"name": "MIT", "link": "http://x", "commercial": True}}, "licence.link"),
        ({"licence": {"name": "MIT", "link": "https://x"}}, "licence.commercial"),
        ({"address": "http://models.example/x.zip"}, "https://"),
        ({"address": "https://me:secret@models.example/x.zip"}, "password"),
        ({"address": None}, '"address"'),
        ({"bytes": 0}, '"bytes"'),
        ({"bytes": "many"}, "whole number"),
        ({"sha256": "abc", "pinned_on_first_download": False}, "64"),
        ({"pinned_on_first_download": False}, "pinned_on_first_download"),
        ({"sha256": HASH}, "pinned_on_first_download"),
        ({"file": "x.pt"}, '"file"'),
        ({"kind": "sam"}, '"file"'),
        ({"kind": "sam", "file": "../x.pt"}, '"file"'),
        ({"kind": "sam", "file": "x.pt"}, '"config"'),
        ({"kind": "sam", "file": "x.pt", "config": "vit_b"}, '"image_size"'),
        ({"times": [{"what": "x", "machine": "y", "seconds": 0}]}, '"times"'),
    ],
)
def test_an_entry_that_cannot_be_meant_is_refused_with_its_place(tmp_path: Path, change: dict, words: str) -> None:
    with pytest.raises(InputError) as error:
        read_catalogue(written(tmp_path, OWN | change))
    assert str(error.value).startswith("own.json, model 1")
    assert words in str(error.value)


@pytest.mark.parametrize("key", ["id", "title", "segments", "kind", "licence", "source"])
def test_an_entry_that_lacks_something_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(InputError, match=f'lacks "{key}"'):
        read_catalogue(written(tmp_path, {name: value for name, value in OWN.items() if name != key}))


def test_two_entries_with_one_id_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"model 2.*twice"):
        read_catalogue(written(tmp_path, OWN, OWN | {"id": "Hospital-Liver"}))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b'{"format": 1}',
        b'{"format": 1, "models": {}}',
        b'{"format": 1, "format": 1, "models": []}',
        b"[" * 100_000,
    ],
)
def test_a_file_that_is_no_catalogue_is_refused_with_its_name(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "own.json").write_bytes(data)
    with pytest.raises(InputError, match=r"^own\.json"):
        read_catalogue(tmp_path / "own.json")


def test_a_newer_format_and_a_missing_file_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"format 2.*newer version"):
        read_catalogue(written(tmp_path, format_=2))
    with pytest.raises(InputError, match=r"none\.json cannot be read"):
        read_catalogue(tmp_path / "none.json")


def test_near_names_are_found_for_slips_and_beginnings() -> None:
    ids = ["sam-vit-b", "sam2.1-tiny", "medsam2"]
    assert near("sam-vitb", ids)[0] == "sam-vit-b"
    assert "sam2.1-tiny" in near("SAM2", ids)
    assert near("tiny", ids) == ["sam2.1-tiny"]
    assert near("quite different", ids) == []


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (375_042_383, "375 MB"), (2_564_550_879, "2.6 GB")],
)
def test_sizes_are_said_as_file_managers_say_them(count: int, text: str) -> None:
    assert size_text(count) == text


@pytest.mark.parametrize("text", ["", ".", "..", "a/b", "a\\b", "-a", ".hidden", "con", "nul.pt", "a.", "é", "a" * 101])
def test_what_cannot_name_a_folder_is_no_id(text: str) -> None:
    assert not is_id(text)
