"""Prepared cases on disk: made once for a plan, read by memory map, made again only where a plan or a file changed.

    STORE/store.json                the cases that belong together; there only while all of them are prepared
    STORE/cases/NAME/case.json      of what the case was made, and its key
    STORE/cases/NAME/image.npy      float16 (i, j, k), as inference would show it to the network
    STORE/cases/NAME/labels.npy     uint8 classes; missing where there are no labels
    STORE/cases/NAME/foreground.npy int32 rows of class, i, j, k: some voxels of each class, to centre patches on

A case's folder is written beside its place and renamed, so whatever ends a run, the next one goes on.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import secrets
import shutil
import time
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.inference.preprocess import prepare
from SSLSegmentationLib.io.atomic import replacing
from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.progress import Tick, silent
from trainer.data.cases import CaseFiles, refuse_mistakes
from trainer.data.fingerprint import side_by_side
from trainer.data.names import named_labels
from trainer.data.plan import Plan
from trainer.data.reading import read_case
from trainer.data.truth import resample_labels

FORMAT = 1
"""Goes into every key: raised whenever the same files and plan would be prepared differently."""

_MOST_VOXELS = 2000  # of each class
_MOST_OPEN = 128  # cases; each holds two files open, and systems allow about a thousand
_FLOAT16 = 65504.0
_LEFT_BEHIND = 3600.0  # seconds; whatever is younger, another process may be writing


@dataclass(frozen=True, eq=False)
class PreparedCase:
    name: str
    image: np.ndarray
    """float16 (i, j, k), memory-mapped."""
    labels: np.ndarray | None
    """uint8 classes."""
    annotated: np.ndarray
    """Of each class, whether somebody looked for it in this case; the background counts as such with any labels."""
    foreground: dict[int, np.ndarray]
    """Some voxels (n, 3) of each class the case has."""
    spacing: np.ndarray
    """Millimetres along i, j, k."""


class Store:
    """The prepared cases of a folder, by name."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        index = _read_json(self.folder / "store.json")
        if index is None or index.get("format") != FORMAT:
            raise InputError(f"{self.folder} holds no completely prepared cases: prepare them first.")
        self.names: tuple[str, ...] = tuple(index["names"])
        self._known = frozenset(self.names)
        self._open: OrderedDict[str, PreparedCase] = OrderedDict()

    def __reduce__(self) -> tuple[type[Store], tuple[Path]]:
        return Store, (self.folder,)  # memory maps stay here; a worker opens its own

    def __contains__(self, name: object) -> bool:
        return name in self._known

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, name: str) -> PreparedCase:
        if name in self._open:
            self._open.move_to_end(name)
            return self._open[name]
        if name not in self._known:
            raise InputError(f'"{name}" is not among the prepared cases of {self.folder}: prepare it, or correct it.')
        case = _opened(self.folder / "cases" / name, name)
        self._open[name] = case
        if len(self._open) > _MOST_OPEN:
            self._open.popitem(last=False)
        return case


def prepare_all(
    plan: Plan, cases: Sequence[CaseFiles], folder: Path | str, *, processes: int = 1, tick: Tick = silent
) -> Store:
    """Prepare what is not yet prepared for this plan; one InputError lists every case that cannot be."""
    folder = Path(folder).expanduser()
    _make(folder / "cases")
    known = known_labels(plan)
    sources = {files.name: _source(files, plan, folder / "cases" / files.name) for files in cases}
    waiting = [files for files in cases if not _is_done(folder / "cases" / files.name, sources[files.name])]
    names = sorted(sources)
    if not waiting and (_read_json(folder / "store.json") or {}).get("names") == names:
        return Store(folder)
    (folder / "store.json").unlink(missing_ok=True)  # from here to the end, cases of two plans may lie side by side
    work = partial(_prepared, plan=plan, known=known, folder=folder)
    mistakes = []
    items = [(files, sources[files.name]) for files in waiting]
    for done, mistake in enumerate(side_by_side(work, items, processes), start=1):
        tick("Preparing", done / len(waiting))
        mistakes += [mistake] if mistake else []
    refuse_mistakes(plan.data, mistakes)
    _write_json(folder / "store.json", {"format": FORMAT, "names": names})
    return Store(folder)


def prepare_case(
    files: CaseFiles, plan: Plan, known: Sequence[Label]
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Image (float16) and classes (uint8) on the network's grid, and the spacing of that."""
    case = read_case(files, known)
    scan = case.scan if case.scan.modality else replace(case.scan, modality=plan.modality)
    rule = plan.preprocessing
    prepared = prepare(scan, rule)
    turned = scan.reoriented(rule.orientation)
    spacing = np.array([step.step for step in prepared.maps]) * turned.spacing
    image = np.clip(prepared.array, -_FLOAT16, _FLOAT16).astype(np.float16)
    if case.labels is None:
        return image, None, spacing
    class_of = np.zeros(256, np.uint8)
    for index, label in enumerate(plan.labels, start=1):
        if files.annotated is None or label.value in files.annotated:
            class_of[label.value] = index
    truth = class_of[case.labels.reoriented(rule.orientation).voxels.transpose(2, 1, 0)]
    return image, resample_labels(truth, prepared.maps, rule.antialias), spacing


def _prepared(item: tuple[CaseFiles, dict[str, Any]], plan: Plan, known: Sequence[Label], folder: Path) -> str:
    """Prepare one case and put it in its place; what stands in the way is returned, for all to be listed together."""
    files, source = item
    try:
        image, labels, spacing = prepare_case(files, plan, known)
    except InputError as error:
        return str(error).rstrip(".")
    place = folder / "cases" / files.name
    beside = place.with_name(f".{secrets.token_hex(8)}")
    try:
        beside.mkdir()
        np.save(beside / "image.npy", image)
        if labels is not None:
            np.save(beside / "labels.npy", labels)
            np.save(beside / "foreground.npy", _some_voxels(labels, plan.classes, files.name))
        annotated = _annotated(files, plan)
        _write_json(beside / "case.json", {**source, "annotated": annotated, "spacing": spacing.tolist()})
        _put(beside, place)
    except OSError as error:
        return f"{place} could not be written ({error.strerror or error}): free some space or choose another folder"
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return ""


def _make(folder: Path) -> None:
    """The folder, without what runs that were killed have left in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be made ({error.strerror}): choose another folder.") from None
    for left in folder.glob(".*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _LEFT_BEHIND:
                shutil.rmtree(left, ignore_errors=True)


def _put(beside: Path, place: Path) -> None:
    """Rename a folder into its place. An older one goes first: a folder cannot be renamed over another."""
    if place.exists():
        old = place.with_name(f".{secrets.token_hex(8)}")
        with suppress(FileNotFoundError):  # another process that prepares the same has moved it
            os.replace(place, old)
        shutil.rmtree(old, ignore_errors=True)
    try:
        os.replace(beside, place)
    except OSError:
        if not (place / "case.json").is_file():  # else another process was faster, with the same contents
            raise


def _some_voxels(labels: np.ndarray, classes: int, name: str) -> np.ndarray:
    random = np.random.default_rng(crc32(name.encode()))
    flat = labels.reshape(-1)
    found = []
    for index in range(1, classes):
        voxels = np.flatnonzero(flat == index)
        if len(voxels) > _MOST_VOXELS:
            voxels = np.sort(random.choice(voxels, _MOST_VOXELS, replace=False))
        places = np.stack(np.unravel_index(voxels, labels.shape), axis=1).astype(np.int32)
        found.append(np.concatenate([np.full((len(places), 1), index, np.int32), places], axis=1))
    return np.concatenate(found)


def _annotated(files: CaseFiles, plan: Plan) -> list[bool]:
    if files.labels is None:
        return [False] * plan.classes
    return [True, *(files.annotated is None or label.value in files.annotated for label in plan.labels)]


def _opened(folder: Path, name: str) -> PreparedCase:
    record = _read_json(folder / "case.json")
    if record is None:
        raise InputError(f"{folder} is not complete: prepare the cases again.")
    image = np.load(folder / "image.npy", mmap_mode="r")
    labels, foreground = None, {}
    if (folder / "labels.npy").is_file():
        labels = np.load(folder / "labels.npy", mmap_mode="r")
        rows = np.load(folder / "foreground.npy")
        foreground = {int(c): rows[rows[:, 0] == c, 1:] for c in np.unique(rows[:, 0])}
    return PreparedCase(
        name, image, labels, np.array(record["annotated"], dtype=bool), foreground, np.array(record["spacing"])
    )


def known_labels(plan: Plan) -> tuple[Label, ...]:
    """Labels that may occur: those to be learnt, and those that count as background, by the names the data has."""
    names = {label.value: label for label in named_labels(plan.data) or ()} if plan.background else {}
    return (*plan.labels, *(names.get(value, Label(value, f"label {value}")) for value in plan.background))


def _source(files: CaseFiles, plan: Plan, place: Path) -> dict[str, Any]:
    """Of what a case is made. Files are told apart by content; one of the same size and time is not read again."""
    before = _read_json(place / "case.json") or {}
    labels = [label.value for label in plan.labels]
    by_name = files.labels is not None and files.labels.name.lower().endswith(".nrrd")
    recipe = {
        "format": FORMAT,
        "preprocessing": dataclasses.asdict(plan.preprocessing),
        "modality": plan.modality,
        "labels": labels if files.labels else [],
        "names": [label.name for label in plan.labels] if by_name else [],
        "background": sorted(plan.background) if files.labels else [],
        "annotated": files.annotated,
        "classes": plan.classes,
    }
    source: dict[str, Any] = {"image": _stamp(files.image, before.get("image"))}
    if files.labels is not None:
        source["truth"] = _stamp(files.labels, before.get("truth"))
    contents = [stamp["sha256"] for stamp in source.values()]
    source["key"] = hashlib.sha256(json.dumps([recipe, contents], sort_keys=True).encode()).hexdigest()
    return source


def _stamp(path: Path, before: dict[str, Any] | None) -> dict[str, Any]:
    try:
        status = path.stat()
        stamp = {"path": str(path), "size": status.st_size, "time": status.st_mtime_ns}
        if before is not None and all(before.get(key) == value for key, value in stamp.items()):
            return before
        with path.open("rb") as file:
            return stamp | {"sha256": hashlib.file_digest(file, "sha256").hexdigest()}
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): check the path and its rights.") from None


def _is_done(place: Path, source: dict[str, Any]) -> bool:
    """Prepared already from the same contents by the same rules; a file that was only copied or touched still is."""
    return (_read_json(place / "case.json") or {}).get("key") == source["key"]


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None


def _write_json(path: Path, table: dict[str, Any]) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(table), encoding="utf-8")
