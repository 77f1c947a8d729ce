"""Models come into the store whole, are found there, and leave it."""

from __future__ import annotations

import hashlib
import json
import random
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from SSLSegmentationLib.errors import Cancelled, InputError
from SSLSegmentationLib.io.locks import locked
from SSLSegmentationLib.models import install, pack, store
from SSLSegmentationLib.models.catalogue import Entry, Licence
from SSLSegmentationLib.models.write import write_package
from Testing.models.packages import small_package, state_of
from Testing.models.server import file, serving

DATA = random.Random(1).randbytes(200_000)
HASH = hashlib.sha256(DATA).hexdigest()
THEN = "2026-01-01T00:00:00+00:00"
WEIGHTS = Entry(
    id="small-sam",
    title="Small SAM",
    segments="anything",
    kind="sam",
    licence=Licence("Apache-2.0", "https://www.apache.org/licenses/LICENSE-2.0", True),
    source="this test",
    file="small.pth",
    bytes=len(DATA),
    sha256=HASH,
    config="vit_b",
    image_size=1024,
)
UNPINNED = replace(WEIGHTS, sha256=None, bytes=None, pinned_on_first_download=True)
CATALOGUE = {WEIGHTS.id: WEIGHTS}


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a real package; tests copy it."""
    folder = tmp_path_factory.mktemp("made") / "two-organs"
    made = small_package()
    write_package(folder, made, [state_of(made.network)], licence_text="Apache License, Version 2.0")
    return folder


def got(folder: Path, entry: Entry = WEIGHTS, data: bytes = DATA) -> store.Installed:
    with serving(file(data)) as server:
        return install.get(replace(entry, address=server.address()), THEN, folder)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def leftovers(folder: Path) -> list[str]:
    """Files that should not be there after an operation, whatever its end. Locks are empty and stay."""
    hidden = [path for path in folder.rglob("*") if path.relative_to(folder).parts[0].startswith(".")]
    return sorted(path.name for path in hidden if path.is_file() and path.parent.name not in {".locks", ".pins"})


def test_a_model_is_got_with_its_record(tmp_path: Path) -> None:
    model = got(tmp_path)
    assert model.path.read_bytes() == DATA
    record = json.loads((tmp_path / "small-sam" / "installed.json").read_text())
    assert record["licence"]["name"] == "Apache-2.0"
    assert record["licence_accepted"] == THEN
    assert record["files"] == [{"path": "small.pth", "bytes": len(DATA), "sha256": HASH}]
    assert (model.record.config, model.record.image_size) == ("vit_b", 1024)
    assert names(tmp_path) == ["small-sam"]
    assert leftovers(tmp_path) == []


def test_a_model_that_is_there_is_not_downloaded_again(tmp_path: Path) -> None:
    got(tmp_path)
    with serving(file(DATA)) as server:
        install.get(replace(WEIGHTS, address=server.address()), THEN, tmp_path)
        assert server.requests == []


def test_a_damaged_model_is_replaced(tmp_path: Path) -> None:
    (got(tmp_path).path).write_bytes(b"short")
    assert "5 bytes instead of 200000" in store.look(tmp_path / "small-sam").damage
    assert got(tmp_path).path.read_bytes() == DATA
    assert leftovers(tmp_path) == []


def test_a_wrong_file_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="SHA-256"):
        got(tmp_path, data=DATA[::-1])
    assert names(tmp_path) == leftovers(tmp_path) == []


def test_a_cancelled_download_is_no_model_yet_and_goes_on_later(tmp_path: Path) -> None:
    def tick(stage: str, part: float) -> None:
        if part > 0.2:
            raise Cancelled

    with serving(file(DATA)) as server:
        entry = replace(WEIGHTS, address=server.address())
        with pytest.raises(Cancelled):
            install.get(entry, THEN, tmp_path, tick)
        assert [one for one in store.installed(tmp_path) if not one.bundled] == []
        assert leftovers(tmp_path) == ["small-sam.pth.part", "small-sam.pth.part.json"]
        install.get(entry, THEN, tmp_path)
        assert "range" in server.requests[1]
    assert leftovers(tmp_path) == []


def test_what_has_arrived_of_a_model_can_be_removed(tmp_path: Path) -> None:
    (tmp_path / ".downloads").mkdir()
    for name in ("sam2.pt.part", "sam2.pt.part.json", "sam2.1-tiny.pt.part"):
        (tmp_path / ".downloads" / name).write_bytes(b"x")
    store.remove("sam2", tmp_path)
    assert leftovers(tmp_path) == ["sam2.1-tiny.pt.part"]


def test_a_folder_that_is_no_package_is_not_added(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(InputError, match=r"photos is not the folder of a model package"):
        install.add_package(tmp_path / "photos", tmp_path / "store")


def test_the_first_download_pins_the_hash_of_a_model_that_has_none(tmp_path: Path) -> None:
    got(tmp_path, UNPINNED)
    store.remove("small-sam", tmp_path)
    with pytest.raises(InputError, match=rf"{HASH}.*first download.*--forget-hash"):
        got(tmp_path, UNPINNED, DATA[::-1])
    assert store.forget_pin(tmp_path, "small-sam")
    assert got(tmp_path, UNPINNED, DATA[::-1]).record.sha256 == hashlib.sha256(DATA[::-1]).hexdigest()


def test_two_processes_do_not_get_the_same_model(tmp_path: Path) -> None:
    (tmp_path / ".locks").mkdir()
    with locked(tmp_path / ".locks" / "small-sam", "busy"), pytest.raises(InputError, match="another process"):
        got(tmp_path)
    assert got(tmp_path).id == "small-sam"


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file.*--models-dir"):
        got(tmp_path / "file")


def test_a_zipped_package_of_the_catalogue_is_unpacked(tmp_path: Path, package: Path) -> None:
    path = tmp_path / "m.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for part in package.rglob("*"):
            archive.write(part, Path("two-organs") / part.relative_to(package))
    data = path.read_bytes()
    entry = replace(
        WEIGHTS, id="two-organs", kind="package", file="", bytes=len(data), sha256=hashlib.sha256(data).hexdigest()
    )
    model = got(tmp_path / "store", entry, data)
    assert model.path == tmp_path / "store" / "two-organs"
    assert store.verify(model, {}) == []
    assert leftovers(tmp_path / "store") == []
    other = replace(entry, id="three-organs")
    with pytest.raises(InputError, match='three-organs: the package calls itself "two-organs"'):
        got(tmp_path / "store", other, data)
    assert leftovers(tmp_path / "store") == []


@pytest.mark.parametrize("zipped", [False, True])
def test_an_own_package_is_added_under_its_own_id(tmp_path: Path, package: Path, zipped: bool) -> None:
    source = package
    if zipped:
        source = tmp_path / "my download.zip"
        with zipfile.ZipFile(source, "w") as archive:
            for part in package.rglob("*"):
                archive.write(part, part.relative_to(package))
    model = install.add_package(source, tmp_path / "store")
    assert model.id == "two-organs"
    assert model.record.segments == "liver, spleen"
    assert store.find("two-organs", tmp_path / "store").folder == model.folder
    assert store.verify(model, {}) == []
    assert leftovers(tmp_path / "store") == []
    with pytest.raises(InputError, match="sslseg models remove two-organs"):
        install.add_package(source, tmp_path / "store")


def test_weights_of_the_user_are_recognised_by_hash_or_name(tmp_path: Path) -> None:
    by_hash, by_name = tmp_path / "renamed.pth", tmp_path / "small.pth"
    by_hash.write_bytes(DATA)
    by_name.write_bytes(DATA[::-1])
    assert install.recognise(by_hash, CATALOGUE) == WEIGHTS
    assert install.recognise(by_name, {"small-sam": UNPINNED}) == UNPINNED
    with pytest.raises(InputError, match=f"expected SHA-256 {HASH}"):
        install.recognise(by_name, CATALOGUE)
    by_name.rename(tmp_path / "unknown.pth")
    with pytest.raises(InputError, match="--as"):
        install.recognise(tmp_path / "unknown.pth", CATALOGUE)
    with pytest.raises(InputError, match='"none" is not in the catalogue'):
        install.recognise(by_hash, CATALOGUE, "none")
    model = install.add_weights(by_hash, WEIGHTS, THEN, tmp_path / "store")
    assert model.path.name == "small.pth"
    assert by_hash.exists()


def test_verify_finds_a_single_changed_byte(tmp_path: Path) -> None:
    model = got(tmp_path)
    assert store.verify(model, CATALOGUE) == []
    model.path.write_bytes(DATA[:-1] + bytes([DATA[-1] ^ 1]))
    (problem,) = store.verify(store.look(model.folder), CATALOGUE)
    assert problem.startswith(f"small.pth has changed: expected SHA-256 {HASH}")


def test_verify_compares_with_the_catalogue(tmp_path: Path) -> None:
    model = got(tmp_path, UNPINNED, DATA[::-1])
    (problem,) = store.verify(model, CATALOGUE)
    assert HASH in problem


def test_a_package_that_lost_a_file_is_damaged(tmp_path: Path, package: Path) -> None:
    model = install.add_package(package, tmp_path)
    next((model.folder / "models").iterdir()).unlink()
    (found,) = [one for one in store.installed(tmp_path) if one.id == "two-organs"]
    assert "is missing" in found.damage
    with pytest.raises(InputError, match=r"two-organs is damaged \(models/.* is missing\): remove it"):
        store.find("two-organs", tmp_path)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"format": 2}', '{"format": 1}', '{"format": 1, "id": "other"}', "[" * 10_000]
)
def test_a_spoilt_record_makes_a_damaged_model_not_a_crash(tmp_path: Path, text: str) -> None:
    got(tmp_path)
    (tmp_path / "small-sam" / "installed.json").write_text(text)
    (model,) = [one for one in store.installed(tmp_path) if not one.bundled]
    assert model.id == "small-sam"
    assert "installed.json" in model.damage
    store.remove("small-sam", tmp_path)
    assert names(tmp_path) == []


def test_a_record_cannot_point_out_of_its_folder(tmp_path: Path) -> None:
    got(tmp_path)
    path = tmp_path / "small-sam" / "installed.json"
    path.write_text(path.read_text().replace('"small.pth"', '"../../secret.pth"'))
    assert "not safe" in store.look(path.parent).damage


def test_find_takes_the_folder_of_a_package_wherever_an_id_is_taken(tmp_path: Path, package: Path) -> None:
    assert store.find(package, tmp_path).path == package
    assert store.find(str(package), tmp_path).id == "two-organs"


def test_find_says_how_to_get_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match='get it with "sslseg models get small-sam"'):
        store.find("small-sam", tmp_path, CATALOGUE)
    with pytest.raises(InputError, match="did you mean small-sam"):
        store.find("smal-sam", tmp_path, CATALOGUE)
    with pytest.raises(InputError, match=r"\./missing is not there"):
        store.find("./missing", tmp_path, CATALOGUE)
    (tmp_path / "w.pth").write_bytes(b"x")
    with pytest.raises(InputError, match="sslseg models add"):
        store.find(tmp_path / "w.pth", tmp_path, CATALOGUE)


def test_remove_deletes_and_names_what_is_near(tmp_path: Path) -> None:
    got(tmp_path)
    with pytest.raises(InputError, match="did you mean small-sam"):
        store.remove("smallsam", tmp_path)
    store.remove("small-sam", tmp_path)
    assert names(tmp_path) == leftovers(tmp_path) == []


def test_bundled_models_are_listed_and_stay(tmp_path: Path, package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "resource", lambda *parts: package.parent)
    (model,) = store.installed(tmp_path)
    assert model.bundled
    assert store.find("two-organs", tmp_path).folder == package
    with pytest.raises(InputError, match="comes with the program"):
        store.remove("two-organs", tmp_path)
    with pytest.raises(InputError, match="comes with the program"):
        install.add_package(package, tmp_path)
    with pytest.raises(InputError, match="leave it out"):
        pack.pack([model], tmp_path / "out.zip")


def test_the_folder_is_chosen_by_option_then_environment_then_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSLSEG_MODELS", str(tmp_path / "env"))
    assert store.models_folder(tmp_path / "option") == tmp_path / "option"
    assert store.models_folder() == tmp_path / "env"
    monkeypatch.delenv("SSLSEG_MODELS")
    assert store.models_folder().name == "models"
