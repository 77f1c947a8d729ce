"""What the module in Slicer runs to add a model from a file."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.models import adding, pack, store
from Testing.models.test_store import CATALOGUE, DATA, package
from Testing.models.test_store_pack import packed

__all__ = ["package", "packed"]  # fixtures


@pytest.fixture
def catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adding, "load_catalogue", lambda _: CATALOGUE)


@pytest.mark.parametrize("kind", ["folder", "metadata", "zip"])
def test_a_package_is_added_however_it_is_named(tmp_path: Path, package: Path, kind: str) -> None:
    path = package
    if kind == "metadata":
        path = package / "configs" / "metadata.json"
    elif kind == "zip":
        path = Path(shutil.make_archive(str(tmp_path / "model"), "zip", package.parent, package.name))
    assert adding.added(path, accepted=False, folder=tmp_path / "store") == {"added": ["Two organs"]}
    assert [one.id for one in store.installed(tmp_path / "store") if not one.bundled] == ["two-organs"]


def test_packed_models_are_added_and_those_that_are_there_are_not_named(tmp_path: Path, packed: Path) -> None:
    first = adding.added(packed, accepted=False, folder=tmp_path / "there")
    assert len(first["added"]) == 2
    assert pack.is_packed(packed)
    assert adding.added(packed, accepted=False, folder=tmp_path / "there") == {"added": []}


@pytest.mark.usefixtures("catalogue")
def test_weights_of_the_catalogue_wait_for_their_licence(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(DATA)
    folder = tmp_path / "store"
    assert adding.added(tmp_path / "w.pth", accepted=False, folder=folder) == {"accept": "small-sam"}
    assert not folder.exists() or not any(not one.bundled for one in store.installed(folder))
    adding.added(tmp_path / "w.pth", accepted=True, folder=folder)
    (model,) = (one for one in store.installed(folder) if not one.bundled)
    assert model.record.licence_accepted


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("gone.zip", "is not there"),
        ("empty", "not the folder of a model package"),
        ("w.pth", "none of the weights files"),
    ],
)
def test_what_is_no_model_is_told_in_a_line_of_json(
    name: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "w.pth").write_bytes(b"nothing that is known")
    monkeypatch.setattr(sys, "argv", ["adding", str(tmp_path / name)])
    adding.main()
    assert told in json.loads(capsys.readouterr().out)["error"]


def test_a_path_that_is_not_there_names_what_could_be_chosen(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"metadata\.json of a model"):
        adding.added(tmp_path / "none", accepted=False)
