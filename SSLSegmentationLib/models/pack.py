"""Models in one file, for a machine without a network.

A packed file is a zip without compression: a manifest with the record of every model (its files, their SHA-256, its
licence), the licences in words, and the files. Unpacking checks everything before anything is put in place.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import zipfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.io.atomic import replacing
from SSLSegmentationLib.models import store as stores
from SSLSegmentationLib.models.archive import CHUNK, extract, members, opened
from SSLSegmentationLib.models.catalogue import FOLDERS, size_text
from SSLSegmentationLib.models.download import check_room
from SSLSegmentationLib.models.read import read_package
from SSLSegmentationLib.models.store import Installed, Record
from SSLSegmentationLib.progress import Tick, silent

MANIFEST = "manifest.json"
LICENCES = "LICENCES.txt"
FORMAT = 1

_LARGEST_MANIFEST = 16 * 2**20


def is_packed(path: Path) -> bool:
    """Whether a zip is a packed file of this program, and not the zip of one package."""
    with opened(path) as archive:
        return MANIFEST in archive.namelist()


def pack(models: list[Installed], out: Path, tick: Tick = silent) -> Path:
    """Write installed models into one file. Every byte is checked against its record while it is written."""
    if not models:
        raise InputError('No model is installed, so there is nothing to pack: get one with "sslseg models get ID".')
    for model in models:
        if model.bundled:
            raise InputError(f"{model.id} comes with the program, on every machine: leave it out.")
        if model.damage or not model.record.files:
            fact = model.damage or "it was put there by hand, so it has no record"
            raise InputError(f"{model.id} cannot be packed ({fact}): add or get it again.")
    notice = _licences(models)
    manifest = {
        "format": FORMAT,
        "made": stores.now(),
        "licences": hashlib.sha256(notice).hexdigest(),
        "models": [dataclasses.asdict(model.record) for model in models],
    }
    total, done = max(sum(model.bytes for model in models), 1), 0
    if not out.parent.is_dir():
        raise InputError(f"{out.name} cannot be written, because the folder {out.parent} is missing: create it.")
    check_room(out.parent, total, out.name)
    with replacing(out) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(MANIFEST, json.dumps(manifest, indent=2, ensure_ascii=False))
        archive.writestr(LICENCES, notice)
        for model in models:
            for file in model.record.files:
                digest = hashlib.sha256()
                info = zipfile.ZipInfo.from_file(model.folder / file.path, _member(model.record, file.path))
                info.compress_type = zipfile.ZIP_STORED
                with (model.folder / file.path).open("rb") as source, archive.open(info, "w", force_zip64=True) as copy:
                    while chunk := source.read(CHUNK):
                        digest.update(chunk)
                        copy.write(chunk)
                        done += len(chunk)
                        tick(f"Packing {model.id}", min(done / total, 1.0))
                if digest.hexdigest() != file.sha256:
                    raise InputError(
                        f"{model.id} cannot be packed, because {file.path} has changed since it was installed: "
                        f'"sslseg models verify {model.id}" says more.'
                    )
    return out


def read_manifest(path: Path) -> list[Record]:
    """The records of the models in a packed file, after a check that the file holds exactly what they name."""
    with opened(path) as archive:
        records, _ = _read(path, archive)
    return records


def unpack(path: Path, folder: Path | str | None = None, tick: Tick = silent) -> tuple[list[Installed], list[str]]:
    """Put every model of a packed file into the store; the new ones, and the ids of those that were there already.

    All files are unpacked and checked before the first model is put in its place, and each model appears at once.
    """
    store = stores.models_folder(folder)
    with opened(path) as archive, stores.in_store(store), ExitStack() as held:
        records, files = _read(path, archive)
        new, there = [], []
        for record in records:
            held.enter_context(stores.one_at_a_time(store, record.id))
            (there if _is_there(record, folder) else new).append(record)
        total = sum(file.bytes for record in new for file in record.files)
        check_room(store, total, path.name)
        done = 0

        def watch(count: int) -> None:
            nonlocal done
            done += count
            tick(f"Unpacking {path.name}", done / max(total, 1))

        staged = {}
        for record in new:
            staged[record.id] = stores.stage(store, record.id)
            for file in record.files:
                info = files[_member(record, file.path)]
                found = extract(archive, info, staged[record.id] / file.path, watch)
                if found != file.sha256:
                    raise InputError(
                        f"{path.name}: {file.path} of {record.id} is damaged (expected SHA-256 {file.sha256}, found "
                        f"{found}): nothing was installed; copy the file again."
                    )
            if record.kind in FOLDERS and (called := read_package(staged[record.id]).id) != record.id:
                raise InputError(
                    f'{path.name}: the package {record.id} calls itself "{called}": nothing was installed.'
                )
        placed = [stores.place(staged[record.id], record, store) for record in new]
    return placed, [record.id for record in there]


def _read(path: Path, archive: zipfile.ZipFile) -> tuple[list[Record], dict[str, zipfile.ZipInfo]]:
    files = members(archive)
    if MANIFEST not in files:
        raise InputError(
            f'{path.name} was not made by "sslseg models pack", for it has no {MANIFEST}: add a single package with '
            '"sslseg models add".'
        )
    # Nothing is compressed, so the files together can never be larger than the archive: there is no room for a bomb.
    packed = sum(info.file_size for info in files.values())
    if any(info.compress_type != zipfile.ZIP_STORED for info in files.values()) or packed > path.stat().st_size:
        raise InputError(f"{path.name} is compressed, which packed files are not: nothing was unpacked.")
    manifest = _manifest(path, archive, files[MANIFEST])
    records: list[Record] = []
    for item in manifest["models"]:
        try:
            record = stores.check_record(item, f"{path.name}/{MANIFEST}")
        except InputError as error:
            raise InputError(f"{str(error).rstrip('.')}: nothing was unpacked.") from None
        if any(record.id.lower() == other.id.lower() for other in records):
            raise InputError(f"{path.name} names {record.id} twice: nothing was unpacked.")
        records.append(record)
    named = {_member(record, file.path): file.bytes for record in records for file in record.files}
    if unknown := sorted(set(files) - set(named) - {MANIFEST, LICENCES}):
        raise InputError(f'{path.name} holds "{unknown[0]}", which its manifest does not name: nothing was unpacked.')
    for name, count in named.items():
        if name not in files:
            raise InputError(f'{path.name} lacks "{name}", which its manifest names: copy the file again.')
        if files[name].file_size != count:
            raise InputError(
                f'{path.name}: "{name}" has {files[name].file_size} bytes, but its manifest says {count}: '
                "nothing was unpacked; copy the file again."
            )
    if LICENCES not in files or files[LICENCES].file_size > _LARGEST_MANIFEST:
        raise InputError(f"{path.name} lacks the licences of its models ({LICENCES}): pack it again.")
    if hashlib.sha256(archive.read(files[LICENCES])).hexdigest() != manifest.get("licences"):
        raise InputError(f"{path.name}: {LICENCES} is not what its manifest says: copy the file again.")
    return records, files


def _manifest(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> dict[str, Any]:
    if info.file_size > _LARGEST_MANIFEST:
        raise InputError(
            f"{path.name}: its {MANIFEST} is larger than {size_text(_LARGEST_MANIFEST)}, which is too much."
        )
    try:
        manifest = json.loads(archive.read(info))
    except (ValueError, RecursionError):
        raise InputError(f"{path.name}: its {MANIFEST} cannot be understood: copy the file again.") from None
    if not isinstance(manifest, dict) or not isinstance(manifest.get("models"), list) or not manifest["models"]:
        raise InputError(f"{path.name}: its {MANIFEST} names no models: pack it again.")
    if manifest.get("format") != FORMAT:
        raise InputError(
            f"{path.name} is packed in format {manifest.get('format')!r}, but this program knows format {FORMAT}: "
            "install a newer version."
        )
    return manifest


def _is_there(record: Record, folder: Path | str | None) -> bool:
    """Whether the very same files are installed; others under the same id are refused."""
    model = next((model for model in stores.installed(folder) if model.id == record.id), None)
    if model is None or (model.damage and not model.bundled):
        return False
    if model.bundled or set(model.record.files) != set(record.files):
        remedy = "pack it without" if model.bundled else f'first remove that with "sslseg models remove {record.id}"'
        raise InputError(f"{record.id} is on this machine with other files: nothing was unpacked; {remedy}.")
    return True


def _member(record: Record, path: str) -> str:
    return f"models/{record.id}/{path}"


def _licences(models: list[Installed]) -> bytes:
    lines = ["The models in this file and their licences", ""]
    for model in models:
        licence = model.record.licence
        use = {True: "commercial use allowed", False: "no commercial use", None: ""}[licence.commercial]
        facts = [licence.name, use, licence.note, licence.link]
        if model.record.licence_accepted:
            facts.append(f"accepted {model.record.licence_accepted}")
        lines += [f"{model.id}: {model.record.title}", *(f"    {fact}" for fact in facts if fact), ""]
    return "\n".join(lines).encode()
