"""Which scans a folder holds, which labels belong to them, and whose they are.

Three layouts are known, and told apart by their folders alone:

    images/ labels/            x.nii.gz beside x.nii.gz, x.nrrd or x_seg.nrrd
    imagesTr/ labelsTr/        nnU-Net's raw format: x_0000.nii.gz beside x.nii.gz, and what the module exports
    imagesUn/ or unlabelled/   further scans without labels, beside either

An image without labels is an unlabelled case as well.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.io.read import ENDINGS, name_of
from SSLSegmentationLib.labels import Label
from trainer.data.names import describing, named_labels

_LAYOUTS = (("imagesTr", "labelsTr"), ("images", "labels"))
_UNLABELLED = ("imagesUn", "unlabelled", "unlabeled")
_CHANNEL = re.compile(r"(.+)_(\d{4})")
_LABEL_SUFFIX = re.compile(r"(.+)[_-](seg|segmentation|labels?|mask|gt)", re.IGNORECASE)
_PATIENT = re.compile(r"((?:sub-[A-Za-z0-9]+)|(?:(?:patient|subject|pat|subj)[_-]?\d+))[_-].+", re.IGNORECASE)
_MOST_MISTAKES = 60


@dataclass(frozen=True)
class CaseFiles:
    """One scan of one patient, as files."""

    name: str
    patient: str
    image: Path
    labels: Path | None = None
    annotated: tuple[int, ...] | None = None
    """The values of the labels that somebody looked for in this case; None: all of them."""


@dataclass(frozen=True)
class Found:
    """What the names in a folder say, right and wrong."""

    folder: Path
    cases: tuple[CaseFiles, ...]
    labels: tuple[Label, ...] | None
    """With the names the folder gives them; None where it names none."""
    mistakes: tuple[str, ...]


def find_cases(folder: Path | str) -> list[CaseFiles]:
    """The cases of a folder in the order of their names. Files are not opened: `fingerprint.inspect` does that."""
    found = look_for_cases(folder)
    refuse_mistakes(found.folder, found.mistakes)
    return list(found.cases)


def look_for_cases(folder: Path | str) -> Found:
    """Cases and mistakes side by side, so that whoever opens the files as well can list everything at once."""
    folder = Path(folder).expanduser().resolve()
    images, labels = _layout(folder)
    mistakes: list[str] = []
    images_of, labels_of = _paired(_files(images), _files(labels), mistakes)
    for name in _UNLABELLED:
        others, _ = _paired(_files(folder / name), [], mistakes)
        for case, path in others.items():
            if case in images_of:
                mistakes.append(f"{case} is in {images.name} and in {name}: keep one of them")
            images_of.setdefault(case, path)
    if not images_of and not mistakes:
        mistakes.append(f"{images.name} holds no scan ({', '.join(_endings())}): put the scans there")

    known = named_labels(folder)
    patients = _patients(folder, images_of, mistakes)
    annotated = _annotated(folder, images_of, known, mistakes)
    cases = tuple(
        CaseFiles(name, patients.get(name, patient_of(name)), images_of[name], labels_of.get(name), annotated.get(name))
        for name in sorted(images_of)
    )
    return Found(folder, cases, known, tuple(mistakes))


def patient_of(name: str) -> str:
    """The patient that a case's name tells: BIDS's "sub-07_ses-2" is of "sub-07", "patient012_frame01" of "patient012".

    Any other name is a patient of its own; a patients.csv with the columns case and patient says it better.
    """
    match = _PATIENT.fullmatch(name)
    return match[1] if match else name


def refuse_mistakes(folder: Path, mistakes: Sequence[str]) -> None:
    """One error for all that is wrong, so that a user mends a folder once and not mistake by mistake."""
    if not mistakes:
        return
    if len(mistakes) == 1:
        raise InputError(f"{folder.name}: {mistakes[0]}.")
    shown = "".join(f"\n  - {mistake}" for mistake in mistakes[:_MOST_MISTAKES])
    more = f"\n  - and {len(mistakes) - _MOST_MISTAKES} more" if len(mistakes) > _MOST_MISTAKES else ""
    raise InputError(f"{folder} has {len(mistakes)} mistakes, to be mended before it can be used:{shown}{more}")


def _layout(folder: Path) -> tuple[Path, Path]:
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: name the folder that holds the scans and their labels.")
    for images, labels in _LAYOUTS:
        if (folder / images).is_dir():
            return folder / images, folder / labels
    for name in _UNLABELLED:
        if (folder / name).is_dir():
            return folder / _LAYOUTS[1][0], folder / _LAYOUTS[1][1]
    raise InputError(
        f"{folder} has neither images/ nor imagesTr/ in it: put the scans into images/ and their labels, "
        "with the same names, into labels/."
    )


def _endings() -> tuple[str, ...]:
    return tuple(ending for ending in ENDINGS if ending != ".dcm")


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    known = _endings()
    return sorted(p for p in folder.iterdir() if p.name.lower().endswith(known) and not p.name.startswith("."))


def _paired(
    images: Iterable[Path], labels: Iterable[Path], mistakes: list[str]
) -> tuple[dict[str, Path], dict[str, Path]]:
    """Image and labels of each case."""
    labels_by_stem = _by_name(((name_of(path), path) for path in labels), mistakes)
    images = list(images)
    channels = _channels([name_of(path) for path in images], labels_by_stem)
    several = Counter(case for case, _ in channels)
    for case, count in several.items():
        if count > 1 and max(channel for name, channel in channels if name == case) > 0:
            mistakes.append(f"{case} has {count} channels, but networks take one here: keep one of them as {case}_0000")
    pairs = [(case, path) for (case, channel), path in zip(channels, images, strict=True) if channel == 0]
    images_of = _by_name(pairs, mistakes)
    labels_of: dict[str, Path] = {}
    for stem, path in labels_by_stem.items():
        suffixed = _LABEL_SUFFIX.fullmatch(stem)
        case = stem if stem in images_of or not suffixed else suffixed[1]
        if case not in images_of:
            mistakes.append(f"{path.parent.name}/{path.name} has no image: add it, or take the labels out")
        elif case in labels_of:
            mistakes.append(f"{case} has two label files, {labels_of[case].name} and {path.name}: keep one")
        else:
            labels_of[case] = path
    return images_of, labels_of


def _channels(stems: list[str], labels: Collection[str]) -> list[tuple[str, int]]:
    """Case and channel of each image. Four digits are a channel unless the cases themselves are numbered that way."""
    matches = [_CHANNEL.fullmatch(stem) for stem in stems]
    bases = {match[1] if match else None for match in matches}
    several = {match[1] for match in matches if match and match[2] == "0000"}
    several -= {match[1] for stem, match in zip(stems, matches, strict=True) if match and stem in labels}
    if len(bases) == 1 < len(stems) and not bases & set(labels):
        several = set()  # case_0000, case_0001 and case_0002 alone are three cases
    return [
        (match[1], int(match[2])) if match and match[1] in several else (stem, 0)
        for stem, match in zip(stems, matches, strict=True)
    ]


def _by_name(pairs: Iterable[tuple[str, Path]], mistakes: list[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for name, path in pairs:
        if name in found:
            mistakes.append(f"{name} is there twice, as {found[name].name} and {path.name}: keep one")
        found.setdefault(name, path)
    return found


def _patients(folder: Path, cases: Collection[str], mistakes: list[str]) -> dict[str, str]:
    path = folder / "patients.csv"
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file, skipinitialspace=True))
    if any(not row.get("case") or not row.get("patient") for row in rows):
        mistakes.append("patients.csv needs the columns case and patient, filled in every row: correct it")
        return {}
    if unknown := [row["case"] for row in rows if row["case"] not in cases]:
        mistakes.append(f"patients.csv names {_some(unknown)}, which is no case here: correct the name")
    return {row["case"]: row["patient"] for row in rows}


def _annotated(
    folder: Path, cases: Collection[str], labels: Sequence[Label] | None, mistakes: list[str]
) -> dict[str, tuple[int, ...]]:
    """From "annotated" in dataset.json or from annotated.json: for a case, the names or values of its labels."""
    table: dict[str, Any] = {}
    for file in ("dataset.json", "annotated.json"):
        content = describing(folder, file)
        entries = content.get("annotated", {}) if file == "dataset.json" else content
        if not isinstance(entries, Mapping) or not all(isinstance(value, list) for value in entries.values()):
            mistakes.append(f"{file} needs a list of labels for each case it calls annotated: correct it")
            continue
        if unknown := [name for name in entries if name not in cases]:
            mistakes.append(f"{file} calls {_some(unknown)} annotated, which is no case here: correct the name")
        table |= entries
    values = {label.name: label.value for label in labels or ()}
    found: dict[str, tuple[int, ...]] = {}
    for case, entries in table.items():
        # Without names from the folder, what the labels are is known only when they have been read: values are needed.
        known = set(values.values())
        meant = [values.get(entry, entry) for entry in entries if isinstance(entry, (str, int))]
        good = [v for v in meant if isinstance(v, int) and v > 0 and (labels is None or v in known)]
        if len(good) < len(entries):
            wrong = [e for e in entries if values.get(e, e) not in good]
            mistakes.append(f"{case} is annotated for {_some(wrong)}, which is no label here: correct the name")
        found[case] = tuple(sorted(set(good)))
    return found


def _some(names: Sequence[Any]) -> str:
    shown = ", ".join(f'"{name}"' for name in names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
