"""Bring a model into the store: from its address in the catalogue, or from a file or folder the user has."""

from __future__ import annotations

import os
from pathlib import Path

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.models import store as stores
from SSLSegmentationLib.models.archive import extract_package
from SSLSegmentationLib.models.catalogue import FOLDERS, Entry, Licence, size_text
from SSLSegmentationLib.models.download import Downloaded, check_room, download
from SSLSegmentationLib.models.package import ModelPackage
from SSLSegmentationLib.models.read import METADATA, read_package
from SSLSegmentationLib.models.store import Installed, Record, StoredFile
from SSLSegmentationLib.progress import Tick, silent


def get(entry: Entry, accepted: str, folder: Path | str | None = None, tick: Tick = silent) -> Installed:
    """Download a model of the catalogue, unless it is there and whole.

    `accepted` is when the user accepted the licence (see `store.now`): whoever calls this has shown it first.
    """
    if not entry.address:
        raise InputError(by_hand(entry))
    store = stores.models_folder(folder)
    with stores.in_store(store), stores.one_at_a_time(store, entry.id):
        there = _whole(entry.id, folder)
        if there and not stores.verify(there, {entry.id: entry}, tick):
            return there
        pin = None if entry.sha256 else stores.read_pin(store, entry.id)
        downloads = store / ".downloads"
        downloads.mkdir(exist_ok=True)
        fetched = downloads / f"{entry.id}{Path(entry.file).suffix or '.zip'}"
        try:
            done = download(
                entry.address,
                fetched,
                entry.id,
                sha256=entry.sha256 or (pin and pin["sha256"]),
                size=entry.bytes,
                tick=tick,
            )
        except InputError as error:
            if pin and "SHA-256" in str(error):
                raise InputError(_pinned(entry, str(error), pin["pinned"])) from None
            raise
        try:
            model = _install_file(entry, fetched, done, store, accepted=accepted, address=entry.address, tick=tick)
        finally:
            fetched.unlink(missing_ok=True)
        if entry.sha256 is None and pin is None:
            stores.write_pin(store, entry.id, done.sha256)
        return model


def recognise(path: Path, entries: dict[str, Entry], id_: str | None = None, tick: Tick = silent) -> Entry:
    """The entry of the catalogue that a weights file belongs to: by the id, by its SHA-256, or by its name."""
    if id_ is not None and id_ not in entries:
        raise InputError(f'"{id_}" is not in the catalogue: "sslseg models list" shows which ids are.')
    sha256 = _hash(path, tick)
    entry = entries[id_] if id_ else next((e for e in entries.values() if e.sha256 == sha256), None)
    entry = entry or next((e for e in entries.values() if e.file and e.file == path.name), None)
    if entry is None or entry.kind in FOLDERS:
        raise InputError(
            f"{path.name} is none of the weights files of the catalogue: name the model it belongs to with --as, or "
            "list it in a catalogue of your own (--catalogue)."
        )
    if entry.sha256 not in (None, sha256):
        raise InputError(
            f"{path.name} is not the file of {entry.id}: expected SHA-256 {entry.sha256}, found {sha256}: "
            "get it again from its source."
        )
    return entry


def add_weights(
    path: Path, entry: Entry, accepted: str, folder: Path | str | None = None, tick: Tick = silent
) -> Installed:
    """Copy a weights file of the user, recognised as a model of the catalogue, into the store."""
    store = stores.models_folder(folder)
    done = Downloaded(path.stat().st_size, _hash(path, tick))
    with stores.in_store(store), stores.one_at_a_time(store, entry.id):
        there = _whole(entry.id, folder)
        if there and not stores.verify(there, {entry.id: entry}, tick):
            return there
        pin = None if entry.sha256 else stores.read_pin(store, entry.id)
        if pin and pin["sha256"] != done.sha256:
            fact = f"{path.name} is not the file of {entry.id}: expected SHA-256 {pin['sha256']}, found {done.sha256}"
            raise InputError(_pinned(entry, fact, pin["pinned"]))
        model = _install_file(entry, path, done, store, accepted=accepted, tick=tick)
        if entry.sha256 is None and pin is None:
            stores.write_pin(store, entry.id, done.sha256)
        return model


def add_package(path: Path, folder: Path | str | None = None, tick: Tick = silent) -> Installed:
    """Copy a model package, a folder or the zip of one, into the store. Its id is the one it gives itself."""
    store = stores.models_folder(folder)
    if path.is_dir():
        if not (path / METADATA).exists():
            raise InputError(
                f"{path} is not the folder of a model package, for it has no {METADATA}: name one that has."
            )
        package = read_package(path)
        sources = _files_of(path)
        with stores.in_store(store), stores.one_at_a_time(store, package.id):
            _refuse_if_there(package.id, folder)
            check_room(store, sum(source.stat().st_size for source in sources.values()), package.id)
            staged = stores.stage(store, package.id)
            _copy(sources, staged, f"Adding {package.id}", tick)
            return stores.place(staged, _record(read_package(staged), staged, Licence(package.licence or "")), store)
    # The id of a zipped package is known only when it is unpacked: the name of the file has to do until then.
    name = path.stem if stores.is_id(path.stem) else "package"
    with stores.in_store(store), stores.one_at_a_time(store, f"{name}.unpacked"):
        unpacked = stores.stage(store, f"{name}.unpacked") / name
        extract_package(path, unpacked, tick)
        return add_package(unpacked, folder, tick)


def by_hand(entry: Entry) -> str:
    return (
        f"{entry.id} has no address that a program can download from: get {entry.file or 'its zip file'} "
        f'({size_text(entry.bytes)}) in a browser from {entry.page} and add it with "sslseg models add FILE".'
    )


def _install_file(
    entry: Entry, path: Path, done: Downloaded, store: Path, *, accepted: str, address: str = "", tick: Tick
) -> Installed:
    """Put a checked file, weights or the zip of a package, into its place."""
    staged = stores.stage(store, entry.id)
    about = {"segments": entry.segments, "modality": entry.modality, "address": address, "sha256": done.sha256}
    if entry.kind in FOLDERS:
        extract_package(path, staged, tick)
        package = read_package(staged)
        if package.id != entry.id:
            raise InputError(f'{entry.id}: the package calls itself "{package.id}": tell the owner of the catalogue.')
        record = _record(package, staged, entry.licence, accepted, **about)
        return stores.place(staged, record, store)
    if address:
        os.replace(path, staged / entry.file)
    else:
        check_room(store, done.bytes, entry.id)
        _copy({entry.file: path}, staged, f"Adding {entry.id}", tick)
        if stores.hash_file(staged / entry.file) != done.sha256:
            raise InputError(f"{path.name} changed while it was copied: run the command again.")
    record = Record(
        format=stores.FORMAT,
        id=entry.id,
        title=entry.title,
        kind=entry.kind,
        licence=entry.licence,
        files=(StoredFile(entry.file, done.bytes, done.sha256),),
        installed=stores.now(),
        config=entry.config,
        image_size=entry.image_size,
        licence_accepted=accepted,
        **about,
    )
    return stores.place(staged, record, store)


def _record(package: ModelPackage, staged: Path, licence: Licence, accepted: str = "", **about: str) -> Record:
    files = tuple(
        StoredFile(name, path.stat().st_size, stores.hash_file(path)) for name, path in _files_of(staged).items()
    )
    about = {"segments": ", ".join(label.name for label in package.labels), "modality": package.modality} | about
    return Record(
        format=stores.FORMAT,
        id=package.id,
        title=package.title,
        kind=stores.kind_of(package),
        licence=licence if licence.name else Licence("not stated"),
        files=files,
        installed=stores.now(),
        licence_accepted=accepted,
        **about,
    )


def _whole(id_: str, folder: Path | str | None) -> Installed | None:
    model = next((model for model in stores.installed(folder) if model.id == id_), None)
    return model if model and not model.damage else None


def _refuse_if_there(id_: str, folder: Path | str | None) -> None:
    model = _whole(id_, folder)
    if model and model.bundled:
        raise InputError(f"{id_} comes with the program: give the package another id in its {METADATA}.")
    if model:
        raise InputError(f'{id_} is installed already: remove it first with "sslseg models remove {id_}".')


def _files_of(folder: Path) -> dict[str, Path]:
    """Path inside the folder and path of every file, without hidden ones and our own record."""
    files = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if any(part.startswith(".") for part in name.parts) or name.as_posix() == stores.RECORD:
            continue
        if path.is_symlink() and not path.is_file():
            raise InputError(f"{folder.name}/{name.as_posix()} is a link to no file: put the file itself there.")
        if path.is_file():
            files[stores.safe_path(name.as_posix(), folder.name)] = path
    return files


def _copy(sources: dict[str, Path], folder: Path, stage: str, tick: Tick) -> None:
    total, done = max(sum(path.stat().st_size for path in sources.values()), 1), 0
    for name, path in sources.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with path.open("rb") as source, target.open("xb") as file:
            while chunk := source.read(2**22):
                file.write(chunk)
                done += len(chunk)
                tick(stage, min(done / total, 1.0))
            file.flush()
            os.fsync(file.fileno())


def _hash(path: Path, tick: Tick) -> str:
    total, done = max(path.stat().st_size, 1), 0

    def watch(count: int) -> None:
        nonlocal done
        done += count
        tick(f"Reading {path.name}", min(done / total, 1.0))

    return stores.hash_file(path, watch)


def _pinned(entry: Entry, fact: str, when: str) -> str:
    return (
        f"{fact.rstrip('.')}. The hash is that of the first download on this machine ({when}): if its publisher says "
        f'that the file has changed, forget it with "sslseg models remove {entry.id} --forget-hash".'
    )
