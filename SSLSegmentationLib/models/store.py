"""The models on this machine: a folder the user can choose, and the packages that come with the program.

Each model is one folder named by its id, with a record (installed.json) of its files, their SHA-256, the licence and
when it was accepted. A model appears there, and disappears, by a single rename.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.io.atomic import replacing
from SSLSegmentationLib.io.locks import locked
from SSLSegmentationLib.models.archive import safe_path
from SSLSegmentationLib.models.catalogue import FOLDERS, Entry, Kind, Licence, is_hash, is_id, load_catalogue, near
from SSLSegmentationLib.models.package import ModelPackage
from SSLSegmentationLib.models.read import METADATA, WEIGHTS_ENDINGS, from_plain, read_package
from SSLSegmentationLib.progress import Tick, silent
from SSLSegmentationLib.resources import resource

VARIABLE = "SSLSEG_MODELS"
RECORD = "installed.json"
FORMAT = 1

_CHUNK = 2**22
_LARGEST_RECORD = 8 * 2**20


@dataclass(frozen=True)
class StoredFile:
    path: str
    """Below the folder of the model, with slashes."""
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Record:
    """What is written beside a model when it is installed."""

    format: int
    id: str
    title: str
    kind: Kind
    licence: Licence
    files: tuple[StoredFile, ...]
    installed: str
    """Date and time in UTC, as in ISO 8601."""
    segments: str = ""
    modality: str = ""
    config: str = ""
    image_size: int | None = None
    address: str = ""
    """Where it was downloaded; empty if the user added it."""
    sha256: str = ""
    """Of the one file that was downloaded or added; empty for folders."""
    licence_accepted: str = ""
    """Date and time in UTC; empty if the model was the user's own."""


@dataclass(frozen=True)
class Installed:
    folder: Path
    record: Record
    bundled: bool = False
    """It comes with the program and cannot be removed."""
    damage: str = ""
    """What is wrong with it, as a part of a sentence; empty if nothing is known to be."""

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def kind(self) -> Kind:
        return self.record.kind

    @property
    def path(self) -> Path:
        """What is loaded: the folder of a package, or a weights file."""
        return self.folder if self.kind in FOLDERS else self.folder / self.record.files[0].path

    @property
    def bytes(self) -> int:
        if self.record.files:
            return sum(file.bytes for file in self.record.files)
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())


def models_folder(chosen: Path | str | None = None) -> Path:
    """The folder of models: the chosen one, that of the environment variable SSLSEG_MODELS, or the user's own."""
    if chosen or os.environ.get(VARIABLE):
        return Path(chosen or os.environ[VARIABLE]).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_data_dir("SSLSegmentation", appauthor=False)) / "models"


def installed(folder: Path | str | None = None) -> list[Installed]:
    """Every model on this machine, bundled ones first; sizes are compared, contents are not (see `verify`)."""
    places = ((resource("Models"), True), (models_folder(folder), False))
    found: dict[str, Installed] = {}
    for place, bundled in places:
        for path in sorted(place.iterdir()) if place.is_dir() else ():
            if path.is_dir() and is_id(path.name):
                model = look(path, bundled)
                found.setdefault(model.id, model)
    return list(found.values())


def find(name: str | Path, folder: Path | str | None = None, catalogue: dict[str, Entry] | None = None) -> Installed:
    """The installed model of an id, or the package at a path; what cannot be found or used is refused with a remedy."""
    text = str(name)
    models = {model.id: model for model in installed(folder)}
    if text in models:
        model = models[text]
        if model.damage:
            raise InputError(f"{text} is damaged ({model.damage}): {remedy(model, catalogue)}.")
        return model
    path = Path(text).expanduser()
    if path.is_dir():
        return Installed(path, record_of(read_package(path)))
    if path.is_file():
        raise InputError(f'{path.name} is a file: add it to the models with "sslseg models add" and use its id.')
    if len(path.parts) > 1 or text.startswith((".", "~")):
        raise InputError(f"{text} is not there: name the folder of a model package, or the id of a model.")
    entries = load_catalogue() if catalogue is None else catalogue
    if text in entries:
        raise InputError(f'{text} is not installed: get it with "sslseg models get {text}".')
    likely = near(text, [*models, *entries])
    hint = f"did you mean {' or '.join(likely)}?" if likely else "look for its id."
    raise InputError(f'There is no model "{text}": {hint} "sslseg models list" shows all of them.')


def look(folder: Path, bundled: bool = False) -> Installed:
    """What is in the folder of one model; damage is found out as far as it shows without reading every byte."""
    if not (folder / RECORD).exists() and (folder / METADATA).exists():  # put there by hand, or bundled
        try:
            return Installed(folder, record_of(read_package(folder)), bundled)
        except InputError as error:
            return Installed(folder, _blank(folder.name), bundled, str(error).rstrip("."))
    try:
        record = read_record(folder)
    except InputError as error:
        return Installed(folder, _blank(folder.name), bundled, str(error).rstrip("."))
    for file in record.files:
        path = folder / file.path
        if not path.is_file():
            return Installed(folder, record, bundled, f"{file.path} is missing")
        if path.stat().st_size != file.bytes:
            return Installed(
                folder, record, bundled, f"{file.path} has {path.stat().st_size} bytes instead of {file.bytes}"
            )
    return Installed(folder, record, bundled)


def verify(model: Installed, catalogue: dict[str, Entry], tick: Tick = silent) -> list[str]:
    """Read a model whole and say everything that is wrong with it, in parts of sentences."""
    if model.damage:
        return [model.damage]
    problems = []
    done, total = 0, max(model.bytes, 1)

    def watch(count: int) -> None:
        nonlocal done
        done += count
        tick(f"Verifying {model.id}", min(done / total, 1.0))

    for file in model.record.files:
        found = hash_file(model.folder / file.path, watch)
        if found != file.sha256:
            problems.append(f"{file.path} has changed: expected SHA-256 {file.sha256}, found {found}")
    entry = catalogue.get(model.id)
    if entry and entry.sha256 and model.record.sha256 not in {"", entry.sha256}:
        problems.append(f"it is another file than that of the catalogue, which has SHA-256 {entry.sha256}")
    if model.kind in FOLDERS:
        try:
            package = read_package(model.folder)
            if model.record.files and package.id != model.id:
                problems.append(f'its metadata call it "{package.id}"')
            problems += [f"{path.name} is missing" for path in package.weights if not path.is_file()]
        except InputError as error:
            problems.append(str(error).rstrip("."))
    return problems


def remove(name: str, folder: Path | str | None = None) -> Path:
    """Delete an installed model, or what has arrived of one; the folder it was in."""
    store = models_folder(folder)
    begun = [path for path in downloads_of(store, name) if path.exists()] if is_id(name) else []
    model = next((model for model in installed(folder) if name in {model.id, model.folder.name}), None)
    if model is None and begun:
        with in_store(store), one_at_a_time(store, name):
            for path in begun:
                path.unlink(missing_ok=True)
        return store
    if model is None:
        likely = near(name, [model.id for model in installed(folder)])
        hint = f"did you mean {' or '.join(likely)}?" if likely else '"sslseg models list" shows what is.'
        raise InputError(f'"{name}" is not installed, so there is nothing to remove: {hint}')
    if model.bundled:
        raise InputError(f"{name} comes with the program and cannot be removed: it takes no part unless you name it.")
    with in_store(store), one_at_a_time(store, model.folder.name):
        away = _staging(store, model.folder.name + ".removed")
        os.replace(model.folder, away)
        shutil.rmtree(away)
        for path in begun:
            path.unlink(missing_ok=True)
    return store


def remedy(model: Installed, catalogue: dict[str, Entry] | None) -> str:
    """What a person can do about a damaged model, as the end of a sentence."""
    entries = load_catalogue() if catalogue is None else catalogue
    if model.bundled:
        return "install the program again"
    if model.id in entries and entries[model.id].address:
        return f'get it again with "sslseg models get {model.id}"'
    return f'remove it with "sslseg models remove {model.id}" and add it again'


def downloads_of(store: Path, id_: str) -> list[Path]:
    """Where the download of a model, and the part of it that has arrived, may lie."""
    folder = store / ".downloads"
    return [folder / f"{id_}{end}{rest}" for end in (*WEIGHTS_ENDINGS, ".zip") for rest in ("", ".part", ".part.json")]


def place(staged: Path, record: Record, store: Path) -> Installed:
    """Write the record into a staged folder and move the folder into the store, in the place of a damaged one."""
    text = json.dumps(dataclasses.asdict(record), indent=2, ensure_ascii=False)
    with replacing(staged / RECORD) as temporary:
        temporary.write_text(text + "\n", "utf-8")
    final = store / record.id
    if final.exists():
        away = _staging(store, record.id + ".removed")
        os.replace(final, away)
        os.replace(staged, final)
        shutil.rmtree(away, ignore_errors=True)  # the new one is in its place; the next installation clears the rest
    else:
        os.replace(staged, final)
    return look(final)


def stage(store: Path, id_: str) -> Path:
    """An empty folder in which a model is put together; what an interrupted installation left there is cleared."""
    folder = _staging(store, id_)
    folder.mkdir(parents=True)
    return folder


@contextmanager
def in_store(store: Path) -> Iterator[None]:
    """Make the folder of models if need be, and turn the system's refusals inside it into one sentence."""
    try:
        store.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise InputError(
            f"The folder of models {store} cannot be written ({error.strerror or error}): make room or ask for the "
            "right to write there, or choose another folder with --models-dir."
        ) from error


@contextmanager
def one_at_a_time(store: Path, id_: str) -> Iterator[None]:
    """Keep other processes from installing or removing the same model; staged leftovers are gone at the end."""
    folder = store / ".locks"
    folder.mkdir(exist_ok=True)
    with locked(folder / id_, f"{id_} is being installed or removed by another process: wait until it is done."):
        try:
            yield
        finally:
            for rest in (id_, id_ + ".removed"):
                shutil.rmtree(store / ".staging" / rest, ignore_errors=True)


def read_record(folder: Path) -> Record:
    """The record of a model, with every path in it checked."""
    path, where = folder / RECORD, f"{folder.name}/{RECORD}"
    try:
        if path.stat().st_size > _LARGEST_RECORD:
            raise InputError(f"{where} is too large for a record")
        data = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        raise InputError(f"{where} is missing or cannot be understood") from None
    return check_record(data, where, folder.name)


def check_record(data: Any, where: str, id_: str | None = None) -> Record:
    """A record from plain values: of a file beside a model, or of the manifest of a packed file."""
    number = data.get("format") if isinstance(data, dict) else None
    if number != FORMAT:
        raise InputError(f"{where} is of format {number!r}, but this program knows format {FORMAT}")
    record = from_plain(Record, data, where)
    if not is_id(record.id) or (id_ is not None and record.id != id_):
        raise InputError(f"{where} belongs to another model")
    if not record.files:
        raise InputError(f"{where} names no files")
    for file in record.files:
        if safe_path(file.path, where) == RECORD or file.bytes < 0 or not is_hash(file.sha256):
            raise InputError(f"{where} describes {file.path} in a way that cannot be meant")
    if record.kind not in FOLDERS and (len(record.files) != 1 or "/" in record.files[0].path):
        raise InputError(f"{where} has to name one weights file")
    return record


def record_of(package: ModelPackage) -> Record:
    """The record of a package that has none: what the package says of itself."""
    segments = ", ".join(label.name for label in package.labels)
    return Record(
        FORMAT,
        package.id,
        package.title,
        kind_of(package),
        Licence(package.licence or "not stated"),
        (),
        "",
        segments=segments,
        modality=package.modality,
    )


def kind_of(package: ModelPackage) -> Kind:
    """Whether the package segments by itself or answers prompts, which its network decides."""
    return "click" if package.network["_target_"] == "ClickNet" else "package"


def hash_file(path: Path, watch: Callable[[int], None] = lambda count: None) -> str:
    """SHA-256 of a file; `watch` is told how many bytes each step has read."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            watch(len(chunk))
    return digest.hexdigest()


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_pin(store: Path, id_: str) -> dict[str, str] | None:
    """The hash that the first download of a model without a published one had, and when that was."""
    try:
        pin = json.loads((store / ".pins" / f"{id_}.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return pin if isinstance(pin, dict) and is_hash(str(pin.get("sha256"))) else None


def write_pin(store: Path, id_: str, sha256: str) -> None:
    (store / ".pins").mkdir(exist_ok=True)
    with replacing(store / ".pins" / f"{id_}.json") as temporary:
        temporary.write_text(json.dumps({"sha256": sha256, "pinned": now()}) + "\n", "utf-8")


def forget_pin(store: Path, id_: str) -> bool:
    """Let the next download of a model decide its hash anew; whether there was one."""
    known = read_pin(store, id_) is not None
    (store / ".pins" / f"{id_}.json").unlink(missing_ok=True)
    return known


def _blank(id_: str) -> Record:
    return Record(FORMAT, id_, id_, "package", Licence("unknown"), (), "")


def _staging(store: Path, name: str) -> Path:
    """A free path for a folder on its way in or out of the store, on the same disk."""
    path = store / ".staging" / name
    path.parent.mkdir(exist_ok=True)
    shutil.rmtree(path, ignore_errors=True)
    return path
