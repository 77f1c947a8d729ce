"""What a folder of cases is like: sizes, spacings, intensities, labels. All that a plan is proposed from.

Every file is opened once, so this is also where broken ones are found, all of them at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from zlib import crc32

import numpy as np

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.inference.body import body_box
from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.progress import Tick, silent
from trainer.data.cases import CaseFiles, look_for_cases, refuse_mistakes
from trainer.data.names import describing, unnamed_labels
from trainer.data.reading import read_case

_SAMPLED = 10_000  # voxels of each case, of the labelled ones and of all
_AIR = -90.0  # HU; some archives cut scans off at −125, and nothing but CT is so far below zero

Work = TypeVar("Work")
Done = TypeVar("Done")


@dataclass(frozen=True)
class CaseFacts:
    """One case, with its axes in the order right, anterior, superior."""

    name: str
    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    orientation: str
    modality: str
    body: float
    """Part of the scan that the box around the body takes up."""
    cut: float
    """Part of the labelled voxels that lie outside that box."""
    zeros: float
    volumes: dict[int, float] = field(default_factory=dict)
    """Millilitres of each label value; empty without labels."""
    centres: dict[int, tuple[float, float, float]] = field(default_factory=dict)
    """Where the middle of each label lies, in millimetres from the middle of the scan."""


@dataclass(frozen=True)
class Intensities:
    low: float
    """The 0.5th percentile."""
    median: float
    high: float
    """The 99.5th percentile."""
    mean: float
    deviation: float


@dataclass(frozen=True)
class Fingerprint:
    folder: Path
    cases: tuple[CaseFiles, ...]
    facts: tuple[CaseFacts, ...]
    labels: tuple[Label, ...]
    modality: str
    """DICOM's code: CT or MR."""
    foreground: Intensities | None
    """Of the labelled voxels of all cases; None without labels."""
    whole: Intensities

    @property
    def labelled(self) -> int:
        return sum(case.labels is not None for case in self.cases)


@dataclass(frozen=True, eq=False)
class _Seen:
    """What one process found in one case."""

    facts: CaseFacts | None
    whole: np.ndarray | None = None
    foreground: np.ndarray | None = None
    named: tuple[Label, ...] = ()
    mistake: str = ""


def inspect(folder: Path | str, processes: int = 1, tick: Tick = silent) -> Fingerprint:
    """Read every case of a folder; one InputError lists all that is wrong with its names and its files."""
    found = look_for_cases(folder)
    mistakes, seen = list(found.mistakes), []
    look = partial(_look_at, labels=found.labels)
    for done, one in enumerate(side_by_side(look, found.cases, processes), start=1):
        tick("Reading", done / len(found.cases))
        mistakes += [one.mistake] if one.mistake else []
        seen.append(one)
    labels = found.labels or _labels_of(seen, found.cases, mistakes)
    if not labels and any(case.labels for case in found.cases) and not mistakes:
        mistakes.append("not a single voxel is labelled: check the label files")
    refuse_mistakes(found.folder, mistakes)
    facts = tuple(one.facts for one in seen)
    whole = _intensities([one.whole for one in seen])
    painted = [one.foreground for one in seen if one.foreground is not None and one.foreground.size]
    return Fingerprint(
        found.folder, found.cases, facts, labels, _modality(found.folder, facts, whole),
        _intensities(painted) if painted else None, whole,
    )  # fmt: skip


def side_by_side(work: Any, items: Sequence[Work], processes: int) -> Iterator[Any]:
    """`work` done for every item, in order, by so many processes; whatever ends the loop ends them too."""
    if processes <= 1 or len(items) <= 1:
        yield from map(work, items)
        return
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    # A fresh interpreter for each: a copy of this one could inherit a lock that torch holds.
    pool = ProcessPoolExecutor(min(processes, len(items)), mp_context=get_context("spawn"))
    try:
        yield from pool.map(work, items)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def describe(fingerprint: Fingerprint) -> tuple[str, ...]:
    """The facts in a few lines, for the head of a plan and for the terminal."""
    facts = fingerprint.facts
    sizes, spacings = np.array([one.size for one in facts]), np.array([one.spacing for one in facts])
    turned = ", ".join(f"{letters} ({n})" for letters, n in Counter(one.orientation for one in facts).most_common(4))
    lines = [
        f"{len(facts)} cases of {len({case.patient for case in fingerprint.cases})} patients, "
        f"{fingerprint.labelled} of them labelled; {fingerprint.modality}",
        f"stored as {turned}; below, axes are right, anterior, superior",
        f"size     {_by(np.median(sizes, axis=0))} voxels in the middle, {_by(sizes.min(0))} to {_by(sizes.max(0))}",
        f"spacing  {_by(np.median(spacings, axis=0))} mm in the middle, {_by(spacings.min(0))} to "
        f"{_by(spacings.max(0))}",
        _line("intensity of all voxels     ", fingerprint.whole),
    ]
    if fingerprint.foreground:
        lines.append(_line("intensity of labelled voxels", fingerprint.foreground))
    for label in fingerprint.labels:
        volumes = [one.volumes[label.value] for one in facts if one.volumes.get(label.value)]
        size = f"{np.median(volumes):.3g} ml in the middle" if volumes else "nowhere painted"
        lines.append(f"{label.value:3d} {label.name}: in {len(volumes)} cases, {size}")
    return tuple(lines)


def _look_at(files: CaseFiles, labels: Sequence[Label] | None) -> _Seen:
    try:
        case = read_case(files, labels)
    except InputError as error:
        return _Seen(None, mistake=str(error).rstrip("."))
    scan = case.scan.reoriented("RAS")
    random = np.random.default_rng(crc32(files.name.encode()))
    flat = scan.voxels.reshape(-1) if scan.voxels.flags.c_contiguous else scan.voxels.ravel()
    whole = flat[random.integers(0, flat.size, _SAMPLED)].astype(np.float32)
    modality = scan.modality or ("CT" if np.percentile(whole, 0.5) <= _AIR else "")
    box = body_box(replace(scan, modality=modality))
    body = float(np.prod([(s.stop - s.start) / n for s, n in zip(box, scan.shape, strict=True)]))
    volumes, centres, foreground, cut = {}, {}, None, 0.0
    if case.labels is not None:
        truth = case.labels.reoriented("RAS").voxels
        counts = np.bincount(truth.reshape(-1), minlength=256)
        volumes = {int(v): float(counts[v] * scan.voxel_ml) for v in np.flatnonzero(counts) if v}
        painted = np.flatnonzero(truth.reshape(-1))
        if painted.size:
            centres = _centres(truth, painted, scan.spacing)
            cut = 1 - float(np.count_nonzero(truth[box]) / painted.size)
            foreground = flat[random.choice(painted, min(_SAMPLED, painted.size), replace=False)].astype(np.float32)
    facts = CaseFacts(
        files.name, scan.shape[::-1], tuple(float(mm) for mm in scan.spacing), case.scan.orientation, modality,
        body, cut, float(np.mean(whole == 0)), volumes, centres,
    )  # fmt: skip
    return _Seen(facts, whole, foreground, case.named)


def _centres(truth: np.ndarray, painted: np.ndarray, spacing: np.ndarray) -> dict[int, tuple[float, float, float]]:
    values = truth.reshape(-1)[painted]
    counts = np.bincount(values)
    k, j, i = np.unravel_index(painted, truth.shape)
    sums = np.stack([np.bincount(values, weights=axis) for axis in (i, j, k)], axis=1)
    middle = (np.array(truth.shape[::-1]) - 1) / 2
    found = {int(v): (sums[v] / counts[v] - middle) * spacing for v in np.flatnonzero(counts)}
    return {value: (float(x), float(y), float(z)) for value, (x, y, z) in found.items()}


def _labels_of(seen: Sequence[_Seen], cases: Sequence[CaseFiles], mistakes: list[str]) -> tuple[Label, ...]:
    """The labels that the files name or hold. One value must not mean two things."""
    values = {value for one in seen if one.facts for value in one.facts.volumes}
    named: dict[int, Label] = {}
    for one, case in zip(seen, cases, strict=True):
        for label in one.named:
            other = named.setdefault(label.value, label)
            if other.name.lower() != label.name.lower():
                mistakes.append(
                    f'{case.labels.name} calls value {label.value} "{label.name}", other files "{other.name}": '
                    "write a labels.json with the value of each name"
                )
    return tuple(named.get(label.value, label) for label in unnamed_labels(values | set(named)))


def _intensities(samples: Sequence[np.ndarray]) -> Intensities:
    voxels = np.concatenate(samples).astype(np.float64)
    low, median, high = np.percentile(voxels, (0.5, 50, 99.5))
    return Intensities(float(low), float(median), float(high), float(voxels.mean()), float(voxels.std()))


def _modality(folder: Path, facts: Iterable[CaseFacts], whole: Intensities) -> str:
    """What dataset.json says, else what most files say or look like: only CT has air far below zero."""
    described = describing(folder, "dataset.json")
    names = described.get("channel_names", described.get("modality", {}))
    said = str(names.get("0", "")).upper() if isinstance(names, dict) else ""
    for code, words in (("CT", ("CT",)), ("MR", ("MR", "MRI", "T1", "T2", "FLAIR", "LGE"))):
        if any(word in said.replace("-", " ").replace("_", " ").split() for word in words):
            return code
    return Counter(one.modality or "MR" for one in facts).most_common(1)[0][0]


def _line(name: str, values: Intensities) -> str:
    return (
        f"{name}  {values.low:.4g} / {values.median:.4g} / {values.high:.4g} (0.5th, 50th, 99.5th percentile), "
        f"{values.mean:.4g} ± {values.deviation:.4g}"
    )


def _by(values: np.ndarray) -> str:
    return " × ".join(f"{value:.4g}" for value in values)
