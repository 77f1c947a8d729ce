"""Dataset: a folder of exported cases that nnU-Net, MONAI and the trainer read as it is.

    dataset.json                     nnU-Net's raw format, and a MONAI datalist under "training"
    imagesTr/CASE_0000.nii.gz        the scan
    labelsTr/CASE.nii.gz             its labels as they were exported last
    cases/CASE/r0001/                every export of it: labels.nii.gz, uncertainty.nii.gz, provenance.json, about.json

What is exported appears as a new revision under cases/ first, by one renaming, and counts from then on. The rest
follows from that: whatever a crash has left undone is done by the next export, or by `settle`. Until then dataset.json
still describes the state before. A revision is never changed.

A label keeps its value for ever: new names get the next value, and names that no case uses any more stay. So networks
trained on an older state still mean the same by their outputs.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from SSLSegmentationLib.dataset.provenance import Provenance, read_provenance, write_provenance
from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.identity import digest
from SSLSegmentationLib.io.atomic import replacing
from SSLSegmentationLib.io.locks import locked
from SSLSegmentationLib.io.write import write_volume
from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.volume import Volume

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*(_[A-Za-z0-9.-]+)*")
_CHANNEL_ENDING = re.compile(r".*_\d{4}")
_MOST_LABELS = 255
_PLACE_DIGITS = 4  # of a millimetre
_OWN = "sslsegmentation"
_ABOUT, _WRITING = "about.json", ".writing-"


@dataclass(frozen=True, eq=False)
class Case:
    """What is exported: a scan, its accepted labels, and how they came about."""

    scan: Volume
    labels: Volume
    """Label values on the scan's grid, 0 where there is nothing."""
    names: tuple[Label, ...]
    """Every label that was looked for in this case, whether it was found or not. Others count as not annotated."""
    provenance: Provenance
    uncertainty: Volume | None = None
    name: str = ""
    """What the case is called in the dataset; made from the scan's content if empty."""


@dataclass(frozen=True)
class Exported:
    name: str
    revision: int
    folder: Path


class Dataset:
    """A folder of cases; it is created with the first one."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder).expanduser().resolve()

    @property
    def labels(self) -> tuple[Label, ...]:
        return _labels_in(self._described())

    @property
    def cases(self) -> tuple[str, ...]:
        """The names of all cases, whether or not a crash has kept them out of dataset.json so far."""
        folder = self.folder / "cases"
        return tuple(sorted(one.name for one in folder.iterdir() if _revisions(one))) if folder.is_dir() else ()

    def revisions(self, name: str) -> tuple[Path, ...]:
        """The folders of all exports of a case, the last one last."""
        return tuple(_revisions(self.folder / "cases" / name))

    def provenance(self, name: str) -> Provenance:
        return read_provenance(self.revisions(name)[-1] / "provenance.json")

    def add(self, case: Case, expected: Sequence[Label] = ()) -> Exported:
        """Export a case: a new one, or a new revision of the case with the same scan.

        `expected` are the labels of the model in use: a new dataset gives them their values first, in their order, so
        that the model can be trained on from there.
        """
        self._check(case)
        self._create()
        with self._alone():
            described = self._settled()
            modality = described[_OWN]["modality"]
            if modality and case.scan.modality and modality != case.scan.modality:
                raise InputError(
                    f"{self.folder.name} holds {modality} scans, and {case.scan.name} is {case.scan.modality}: "
                    "export it into another dataset."
                )
            labels = _with(_labels_in(described), (*expected, *case.names), self.folder.name)
            scan = scan_identity(case.scan)
            name = self._name_for(case, scan)
            folder = self._write_revision(name, scan, case, labels)
            self._settled()
        return Exported(name, int(folder.name[1:]), folder)

    def settle(self) -> None:
        """Finish what a crash may have left undone. Harmless at any time."""
        if self.folder.is_dir():
            with self._alone():
                self._settled()

    def _alone(self) -> AbstractContextManager[None]:
        return locked(self.folder / ".lock", f"{self.folder.name} is being written to by somebody else: try again.")

    def _check(self, case: Case) -> None:
        if not case.labels.same_grid_as(case.scan):
            raise InputError(f"The labels of {case.scan.name} lie on another grid than the scan: resample them to it.")
        if case.uncertainty is not None and not case.uncertainty.same_grid_as(case.scan):
            raise InputError(f"The uncertainty of {case.scan.name} lies on another grid than the scan: leave it out.")
        if not case.names:
            raise InputError(f"{case.scan.name} has no segment to export: choose at least one.")
        names, values = [label.name for label in case.names], [label.value for label in case.names]
        if twice := [name for name in names if names.count(name) > 1]:
            raise InputError(f'{case.scan.name} has two segments called "{twice[0]}": give them different names.')
        if bad := [name for name in names if name in {"", "background", "ignore"} or not name.isprintable()]:
            raise InputError(f'A segment is called "{bad[0]}", which has another meaning in datasets: rename it.')
        if nameless := sorted(set(np.unique(case.labels.voxels).tolist()) - {0, *values}):
            raise InputError(
                f"The labels of {case.scan.name} hold the value {nameless[0]:g}, which has no name: name it."
            )
        if case.name and (not _NAME.fullmatch(case.name) or _CHANNEL_ENDING.fullmatch(case.name)):
            raise InputError(
                f'"{case.name}" cannot be the name of a case: use letters, digits, dots, hyphens and single '
                "underscores, without four digits at the end."
            )

    def _create(self) -> None:
        try:
            for part in ("imagesTr", "labelsTr", "cases"):
                (self.folder / part).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{self.folder} cannot be written to ({error.strerror}): choose another folder."
            ) from error

    def _described(self) -> dict[str, Any]:
        """dataset.json, or what stands in it at first."""
        path = self.folder / "dataset.json"
        if not path.exists():
            return {"dataset": {}, _OWN: {"modality": "", "labels": [], "revisions": {}}}
        try:
            said = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{path} cannot be read ({error}): restore it, or export into another folder.") from error
        if not isinstance(said, dict) or _OWN not in said:
            raise InputError(f"{self.folder} is a dataset that another program made: export into another folder.")
        return said

    def _name_for(self, case: Case, scan: str) -> str:
        """The name under which this scan is known already, the user's, or one that says nothing about the patient."""
        if case.provenance.scan not in ("", scan):
            raise ValueError("the provenance belongs to another scan")
        for known in self.cases:
            if self._about(known, len(self.revisions(known)))["scan"] == scan:
                if case.name not in ("", known):
                    raise InputError(f"This scan is in the dataset as {known}: export it under that name, or none.")
                return known
        name = case.name or f"case-{scan[:12]}"
        if name in self.cases:
            raise InputError(f"{self.folder.name} has another scan under the name {name}: choose another name.")
        return name

    def _write_revision(self, name: str, scan: str, case: Case, labels: tuple[Label, ...]) -> Path:
        """The folder of the new revision, which is there whole or not at all."""
        number = len(self.revisions(name)) + 1
        with tempfile.TemporaryDirectory(prefix=_WRITING, dir=self.folder) as made:
            beside = Path(made) / "revision"
            beside.mkdir()
            write_volume(_translated(case, labels), beside / "labels.nii.gz")
            if case.uncertainty is not None:
                write_volume(case.uncertainty, beside / "uncertainty.nii.gz")
            write_provenance(beside / "provenance.json", replace(case.provenance, scan=scan))
            about = {
                "scan": scan,
                "modality": case.scan.modality,
                "annotated": [label.name for label in case.names],
                "labels": [_said(label) for label in labels],
            }
            _write_json(beside / _ABOUT, about)
            if number == 1:  # before the revision, which could not be finished without it; later ones have the same
                write_volume(case.scan, self.folder / _image(name))
            target = self.folder / "cases" / name / f"r{number:04d}"
            target.parent.mkdir(exist_ok=True)
            os.rename(beside, target)
        return target

    def _settled(self) -> dict[str, Any]:
        """Make labelsTr/ and dataset.json say what the revisions say, and give what dataset.json says then.

        Readers go by dataset.json, and it is right at every moment: names of values that are new are written before the
        labels that use them, and cases after their files.
        """
        for left in self.folder.glob(f"{_WRITING}*"):
            shutil.rmtree(left, ignore_errors=True)
        described = self._described()
        last = {name: len(self.revisions(name)) for name in self.cases}
        done: dict[str, int] = described[_OWN]["revisions"]
        behind = [name for name in last if done.get(name) != last[name]]
        if not behind:
            return described
        labels = _labels_in(described)
        for name in behind:
            about = self._about(name, last[name])
            labels = _with(labels, [_label(one) for one in about["labels"]], self.folder.name)
            described[_OWN]["modality"] = described[_OWN]["modality"] or about["modality"]
        described[_OWN]["labels"] = [_said(label) for label in labels]
        if done:
            self._write(described)
        for name in behind:
            with replacing(self.folder / _truth(name)) as temporary:
                shutil.copyfile(self.revisions(name)[-1] / "labels.nii.gz", temporary)
            done[name] = last[name]
        return self._write(described)

    def _write(self, described: dict[str, Any]) -> dict[str, Any]:
        """Write dataset.json for the revisions it names."""
        done, labels = described[_OWN]["revisions"], _labels_in(described)
        names = sorted(done)
        annotated = {name: self._about(name, done[name])["annotated"] for name in names}
        described |= {
            "name": self.folder.name,
            "channel_names": {"0": described[_OWN]["modality"] or "scan"},
            "labels": {"background": 0, **{label.name: label.value for label in labels}},
            "file_ending": ".nii.gz",
            "numTraining": len(names),
            "dataset": {name: {"images": [_image(name)], "label": _truth(name)} for name in names},
            "training": [{"image": _image(name), "label": _truth(name)} for name in names],
            "annotated": {name: found for name, found in annotated.items() if len(found) < len(labels)},
        }
        _write_json(self.folder / "dataset.json", described)
        return described

    def _about(self, name: str, revision: int) -> dict[str, Any]:
        return json.loads((self.folder / "cases" / name / f"r{revision:04d}" / _ABOUT).read_text("utf-8"))


def scan_identity(scan: Volume) -> str:
    """By which a scan is known again, whatever program has read it: their last digits of its place differ."""
    return digest(replace(scan, ijk_to_ras=np.round(scan.ijk_to_ras, _PLACE_DIGITS)))


def _revisions(case: Path) -> list[Path]:
    return sorted(case.glob("r[0-9][0-9][0-9][0-9]")) if case.is_dir() else []


def _image(name: str) -> str:
    return f"imagesTr/{name}_0000.nii.gz"


def _truth(name: str) -> str:
    return f"labelsTr/{name}.nii.gz"


def _with(known: tuple[Label, ...], wanted: Sequence[Label], dataset: str) -> tuple[Label, ...]:
    """The labels with those that are new, which get the next values in their order."""
    names = {label.name for label in known}
    for label in wanted:
        if label.name not in names:
            names.add(label.name)
            known = (*known, replace(label, value=len(known) + 1))
    if len(known) > _MOST_LABELS:
        raise InputError(f"{dataset} would have {len(known)} labels, and {_MOST_LABELS} are the most: start another.")
    return known


def _translated(case: Case, labels: tuple[Label, ...]) -> Volume:
    """The labels with the values they have in the dataset."""
    values = {label.name: label.value for label in labels}
    result = np.zeros(case.labels.shape, np.uint8)
    for label in case.names:
        result[case.labels.voxels == label.value] = values[label.name]
    return case.scan.with_voxels(result, name="labels")


def _labels_in(described: dict[str, Any]) -> tuple[Label, ...]:
    return tuple(_label(one) for one in described[_OWN]["labels"])


def _said(label: Label) -> dict[str, Any]:
    return {"value": label.value, "name": label.name, "color": list(label.color), "terminology": label.terminology}


def _label(said: dict[str, Any]) -> Label:
    return Label(said["value"], said["name"], tuple(said["color"]), said["terminology"])


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", "utf-8")
