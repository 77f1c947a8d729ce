"""The four files of a segmentation, put into a folder together or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.inference.segment import Segmentation
from SSLSegmentationLib.io.segmentation import write_segmentation
from SSLSegmentationLib.io.write import write_volume
from SSLSegmentationLib.models.package import ModelPackage
from SSLSegmentationLib.models.read import package_hash
from SSLSegmentationLib.progress import Tick, silent
from SSLSegmentationLib.regions import unsure_regions
from SSLSegmentationLib.report.report import build_report, write_report
from SSLSegmentationLib.report.sheet import write_sheet
from SSLSegmentationLib.volume import Volume

SEGMENTATION, UNCERTAINTY, SHEET, REPORT = "segmentation.seg.nrrd", "uncertainty.nii.gz", "sheet.png", "report.json"
DISAGREEMENT = "disagreement.nii.gz"
RESULTS = (SEGMENTATION, UNCERTAINTY, DISAGREEMENT, SHEET, REPORT)
"""Whatever a result may consist of."""

_LISTED_REGIONS = 20


def prepare_folder(out: Path, files: Sequence[str], overwrite: bool) -> None:
    """Create the folder, or refuse before any work is done: results are never overwritten silently."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"The folder {out} cannot be created ({error.strerror}): choose another with --out."
        ) from error
    there = [name for name in files if (out / name).exists()]
    if there and not overwrite:
        raise InputError(
            f"{out} already holds {' and '.join(there[:2])}: choose another folder with --out, or give --overwrite."
        )
    if not os.access(out, os.W_OK):
        raise InputError(f"The folder {out} cannot be written to: choose another with --out.")


def report_of(scan: Volume, package: ModelPackage, found: Segmentation) -> dict[str, Any]:
    """The report of a segmentation, with the places a reader should look at first."""
    model = {
        "id": package.id,
        "title": package.title,
        "version": package.version,
        "licence": package.licence,
        "weights_sha256": package_hash(package),
    }
    report = build_report(
        scan,
        found.labels,
        package.labels,
        found.uncertainty,
        model=model,
        device=found.device,
        seconds=found.seconds,
        memory_steps=found.ladder,
    )
    report["plan"] = asdict(found.plan)
    regions = [] if found.uncertainty is None else unsure_regions(found.uncertainty)
    report["unsure_regions"] = [asdict(region) for region in regions[:_LISTED_REGIONS]]
    unsure = sum(region.burden for region in regions)
    sure = sum(one["ml"] for one in report["labels"])
    # Of what was found and what might be: by this, work lists put the scans in order.
    report["doubt"] = {"ml": round(unsure, 4), "share": round(unsure / (unsure + sure), 6) if unsure else 0.0}
    report["remarks"] = _remarks(scan, package, found)
    return report


def _remarks(volume: Volume, package: ModelPackage, found: Segmentation) -> list[str]:
    """What the user should know about this result, one sentence each."""
    remarks = []
    if volume.modality and package.modality and volume.modality != package.modality:
        remarks.append(f"The scan is {volume.modality}, but {package.title} was made for {package.modality}.")
    if not volume.modality and package.modality == "CT" and volume.voxels.min() >= 0:
        remarks.append(
            "The file does not say what kind of scan it is, and its values are no Hounsfield units: is it CT?"
        )
    if found.ladder:
        remarks.append(f"To get by with the memory there is: {', then '.join(found.ladder)}.")
    if not found.labels.voxels.any():
        remarks.append("Nothing was found: does the scan show what the model is for?")
    return remarks


@contextmanager
def together(out: Path) -> Iterator[tuple[Path, list[Path]]]:
    """A folder beside to write into, and the list of where its files are, filled once the block ends well.

    The files are moved one by one: a crash leaves whole files only, and an error or a cancel none at all. What an
    earlier result had and this one has not is removed, since it would be taken for a part of this one.
    """
    with tempfile.TemporaryDirectory(prefix=".writing-", dir=out) as folder:
        placed: list[Path] = []
        yield Path(folder), placed
        for file in sorted(Path(folder).iterdir()):
            os.replace(file, out / file.name)
            placed.append(out / file.name)
        for name in set(RESULTS) - {file.name for file in placed}:
            (out / name).unlink(missing_ok=True)


def write_results(
    out: Path, scan: Volume, package: ModelPackage, found: Segmentation, report: dict[str, Any], tick: Tick = silent
) -> list[Path]:
    """Write everything there is of a segmentation; the paths of the files."""
    with together(out) as (beside, placed):
        tick("Writing", 0.0)
        write_segmentation(beside / SEGMENTATION, found.labels, package.labels)
        tick("Writing", 0.3)
        if found.uncertainty is not None:
            write_volume(found.uncertainty, beside / UNCERTAINTY)
        if found.disagreement is not None:
            write_volume(found.disagreement, beside / DISAGREEMENT)
        tick("Writing", 0.7)
        write_sheet(
            beside / SHEET,
            scan,
            found.labels,
            found.uncertainty,
            package.labels,
            title=scan.name,
            subtitle=f"{package.title} {package.version}",
            millilitres={entry["value"]: entry["ml"] for entry in report["labels"]},
        )
        write_report(beside / REPORT, report)
        tick("Writing", 1.0)
    return placed
