"""`sslseg export`: a scan and its corrected labels into a dataset that trainers read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from SSLSegmentationLib.commands.console import JSON, QUIET, people, print_json, progress_bar
from SSLSegmentationLib.commands.segment import chosen_package

if TYPE_CHECKING:
    from SSLSegmentationLib.commands.corrected import Opened
    from SSLSegmentationLib.volume import Volume


def export(
    scan: Path = typer.Argument(..., help="NIfTI, NRRD or MetaImage file, or a folder with a DICOM series."),
    segmentation: Path = typer.Argument(..., help="Its corrected labels: .seg.nrrd, DICOM SEG, or a label map."),
    dataset: Path = typer.Argument(..., help="Folder of the dataset; it is created with the first case."),
    uncertainty: Path = typer.Option(None, help="The doubt that goes with the labels, as `sslseg segment` writes it."),
    model: str = typer.Option(
        None, "--model", "-m", help="The model that made the first labels: a new dataset takes over its label values."
    ),
    name: str = typer.Option(None, help="What the case is called; by default a name that says nothing of the patient."),
    by: str = typer.Option(None, help="Who answers for the labels; by default the user who is logged in."),
    identifiers: bool = typer.Option(
        False, "--identifiers", help="Note patient, dates and UIDs of the DICOM series in the case's provenance."
    ),
    anonymise: bool = typer.Option(
        False, "--anonymise", help="Keep only words of protocols in descriptions, and nobody's name as author."
    ),
    series: str = typer.Option(None, help="UID or number of the series, where a DICOM folder holds several."),
    quiet: bool = QUIET,
    as_json: bool = JSON,
) -> None:
    """Export a case for training.

    The dataset is at once nnU-Net's raw format and a MONAI datalist, and what `python -m trainer` reads. A scan that is
    exported again becomes a new revision of its case; nothing is overwritten. Voxels and labels are written as they
    are; patient, dates and UIDs are not written unless you ask. Faces and burnt-in text are not removed.
    """
    from SSLSegmentationLib.commands.corrected import open_segmentation
    from SSLSegmentationLib.dataset.dataset import Case, Dataset
    from SSLSegmentationLib.dataset.provenance import Model, Provenance, Step, now, this_user
    from SSLSegmentationLib.dataset.source import source_of
    from SSLSegmentationLib.errors import InputError
    from SSLSegmentationLib.io.read import read_volume
    from SSLSegmentationLib.models.read import package_hash

    if identifiers and anonymise:
        raise InputError("--identifiers writes what --anonymise takes out: give one of them.")
    package = None if model is None else chosen_package(model)
    used = None if package is None else Model(package.id, package.version, package_hash(package))
    with progress_bar(not quiet) as tick:
        tick("Reading", 0.0)
        volume = read_volume(scan, series=series)
        opened = open_segmentation(segmentation, volume)
        doubt = None if uncertainty is None else read_volume(uncertainty)
        tick("Reading", 1.0)
        labels = label_map(opened, volume)
        step = Step("import", "accepted", added=int((labels.voxels > 0).sum()), when=now())
        case = Case(
            volume,
            labels,
            opened.labels,
            Provenance(
                model=used,
                history=(step,),
                by=by if by is not None else "" if anonymise else this_user(),
                source=source_of(scan, identifiers=identifiers, anonymise=anonymise),
            ),
            doubt,
            name or "",
        )
        tick("Exporting", 0.0)
        exported = Dataset(dataset).add(case, () if package is None else package.labels)
        tick("Exporting", 1.0)
    if as_json:
        print_json({"name": exported.name, "revision": exported.revision, "folder": str(exported.folder)})
    if not quiet:
        again = f", revision {exported.revision}" if exported.revision > 1 else ""
        people.print(f"{exported.name}{again} is in {dataset}, with {len(opened.labels)} labels.")


def label_map(opened: Opened, scan: Volume) -> Volume:
    """The segments in one array, each with its label's value."""
    import numpy as np

    voxels = np.zeros(scan.shape, np.uint8 if max(label.value for label in opened.labels) < 256 else np.uint16)
    for label in opened.labels:
        mask = opened.segments[label.name]
        voxels[mask.box][mask.bits] = label.value
    return scan.with_voxels(voxels, name="labels")
