"""Handing over: a case on its way from a window to a dataset.

Compressing a scan takes seconds, and a window must not stand still. So the window writes plain arrays into a folder,
piece by piece, and another process takes them from there into the dataset:

    python -c "...; from SSLSegmentationLib.dataset.handing import main; main()" FOLDER

It prints one line of JSON: what the case is called and its revision, or what the user has to know.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from SSLSegmentationLib.dataset.dataset import Case, Dataset, Exported
from SSLSegmentationLib.dataset.provenance import read_provenance, write_provenance
from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.steps import Steps
from SSLSegmentationLib.volume import Volume

_PIECE = 4_000_000  # bytes written before the window may look up
_SAID, _PROVENANCE = "case.json", "provenance.json"


@dataclass(frozen=True, eq=False)
class Parcel:
    """A case, and where it is to go."""

    case: Case
    dataset: Path
    expected: Sequence[Label] = ()


def handing_over(folder: Path, parcel: Parcel) -> Steps[None]:
    """Write a case into an empty folder, in pieces."""
    case = parcel.case
    try:
        yield from _writing(folder / "scan.npy", case.scan.voxels)
        yield from _writing(folder / "labels.npy", case.labels.voxels)
        if case.uncertainty is not None:
            yield from _writing(folder / "uncertainty.npy", case.uncertainty.voxels)
        write_provenance(folder / _PROVENANCE, case.provenance)
        said = {
            "dataset": str(parcel.dataset),
            "ijk_to_ras": case.scan.ijk_to_ras.tolist(),
            "scan": case.scan.name,
            "modality": case.scan.modality,
            "name": case.name,
            "names": [asdict(label) for label in case.names],
            "expected": [asdict(label) for label in parcel.expected],
            "uncertainty": case.uncertainty is not None,
        }
        (folder / _SAID).write_text(json.dumps(said), "utf-8")
    except OSError as error:
        raise InputError(
            f"The case cannot be put together in {folder.parent} ({error.strerror}): free some space on that disk."
        ) from error


def taken_over(folder: Path) -> Exported:
    """Put the case of a folder into its dataset."""
    said = json.loads((folder / _SAID).read_text("utf-8"))
    scan = Volume(_read(folder / "scan.npy"), np.array(said["ijk_to_ras"]), said["scan"], said["modality"])
    doubt = scan.with_voxels(_read(folder / "uncertainty.npy"), name="uncertainty") if said["uncertainty"] else None
    case = Case(
        scan,
        scan.with_voxels(_read(folder / "labels.npy"), name="labels"),
        _labels(said["names"]),
        read_provenance(folder / _PROVENANCE),
        doubt,
        said["name"],
    )
    return Dataset(said["dataset"]).add(case, _labels(said["expected"]))


def main() -> None:
    folder = Path(sys.argv[1])
    try:
        exported = taken_over(folder)
    except InputError as error:
        print(json.dumps({"error": str(error)}))
        sys.exit(2)
    except OSError as error:
        sentence = (
            f"The case could not be written ({error.strerror or error}): see that the folder has room, and retry."
        )
        print(json.dumps({"error": sentence}))
        sys.exit(2)
    shutil.rmtree(folder, ignore_errors=True)  # here, since it takes a window too long
    print(json.dumps({"name": exported.name, "revision": exported.revision, "folder": str(exported.folder)}))


def _writing(path: Path, array: np.ndarray) -> Steps[None]:
    """As numpy.save does, but with pauses, and without a copy of the whole."""
    with path.open("wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False, "shape": array.shape}
        np.lib.format.write_array_header_1_0(file, header)
        thick = max(1, _PIECE // max(1, array[:1].nbytes))
        for first in range(0, len(array), thick):
            file.write(np.ascontiguousarray(array[first : first + thick]).data)
            yield


def _read(path: Path) -> np.ndarray:
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _labels(said: Sequence[dict[str, Any]]) -> tuple[Label, ...]:
    return tuple(Label(**{**one, "color": tuple(one["color"])}) for one in said)
