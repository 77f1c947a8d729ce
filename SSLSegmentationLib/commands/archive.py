"""An archive: the scans in a folder and below, and the folder in which each has its results."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from SSLSegmentationLib.commands.results import REPORT
from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.io.dicom import is_dicom, series_in
from SSLSegmentationLib.io.read import ENDINGS, name_of

_FILES = tuple(ending for ending in ENDINGS if ending != ".dcm")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Scan:
    name: str
    """Of its folder of results; unique in its archive."""
    path: Path
    """A file, or a folder with DICOM files."""
    series: str | None = None
    stamp: tuple[int, int] = (0, 0)
    """Bytes and time of the last change, by which a scan that was replaced is seen."""


def scans_in(folder: Path, match: str = "*") -> list[Scan]:
    """Every scan below a folder, in the order of names. Segmentations of Slicer (.seg.nrrd) are none.

    `match` is a pattern that file names must fit; DICOM series are found whatever it is.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: name the folder that holds the scans.")
    folder = folder.resolve()
    found = [scan for here in _folders(folder) for scan in _scans_here(here, folder, match)]
    if not found:
        raise InputError(f"{folder} holds no scan that fits {match}: NIfTI, NRRD, MetaImage and DICOM are known.")
    names: dict[str, int] = {}
    unique = []
    for scan in found:
        names[scan.name] = names.get(scan.name, 0) + 1
        again = f"-{names[scan.name]}" if names[scan.name] > 1 else ""
        unique.append(Scan(f"{scan.name}{again}", scan.path, scan.series, scan.stamp))
    return unique


def result_of(out: Path, scan: Scan) -> dict[str, Any] | None:
    """The report of a scan that has been segmented; None if it has not, or if its report cannot be read."""
    try:
        report = json.loads((out / scan.name / REPORT).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return report if isinstance(report, dict) else None


def _folders(folder: Path) -> Iterator[Path]:
    for here, below, _ in os.walk(folder):
        # Results of an earlier run are no scans, wherever somebody has put them.
        below[:] = sorted(
            name for name in below if not name.startswith(".") and not (Path(here) / name / REPORT).exists()
        )
        yield Path(here)


def _scans_here(here: Path, root: Path, match: str) -> Iterator[Scan]:
    files = [path for path in sorted(here.iterdir()) if path.is_file() and not path.name.startswith(".")]
    for path in files:
        name = path.name.lower()
        if name.endswith(_FILES) and not name.endswith(".seg.nrrd") and path.match(match):
            yield Scan(_name(path.parent / name_of(path), root), path, None, _stamp(path))
    if any(path.suffix.lower() == ".dcm" or is_dicom(path) for path in files if not path.name.lower().endswith(_FILES)):
        series = series_in(here)
        for number, (uid, images) in enumerate(series.items(), start=1):
            stamps = [_stamp(image) for image in images]
            several = f"-series{number}" if len(series) > 1 else ""
            changed = (sum(size for size, _ in stamps), max(time for _, time in stamps))
            yield Scan(f"{_name(here, root)}{several}", here, uid, changed)


def _name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).parts or (root.name,)
    return _UNSAFE.sub("_", "__".join(parts)).lstrip(".") or "scan"


def _stamp(path: Path) -> tuple[int, int]:
    known = path.stat()
    return known.st_size, known.st_mtime_ns
