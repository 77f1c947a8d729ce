"""`sslseg dicom-seg`: a segmentation as a DICOM object that an archive takes."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import typer

from SSLSegmentationLib.commands.console import QUIET, people, progress_bar
from SSLSegmentationLib.errors import InputError


class Made(StrEnum):
    automatic = "automatic"
    semiautomatic = "semiautomatic"
    manual = "manual"


def dicom_seg(
    series: Path = typer.Argument(..., help="Folder with the DICOM series that the segmentation was made on."),
    segmentation: Path = typer.Argument(..., help="The segmentation: .seg.nrrd, or a label map, on the scan's grid."),
    out: Path = typer.Argument(..., help="The file to write, ending in .dcm."),
    made: Made = typer.Option(Made.semiautomatic, help="How the segments came about."),
    model: str = typer.Option("", help="What made them, in words, to be noted in the file."),
    creator: str = typer.Option("", help="Who answers for them, as Family^Given; empty: nobody is named."),
    series_uid: str = typer.Option(None, "--series", help="UID or number of the series, where there are several."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace the file if it is there."),
    quiet: bool = QUIET,
) -> None:
    """Write a segmentation as DICOM SEG, with codes, colours and references to the images.

    It takes over patient and study from the series, as an archive needs them. `sslseg` reads DICOM SEG files wherever
    it takes a segmentation.

    For research use, not a medical device.
    """
    from SSLSegmentationLib.commands.corrected import open_segmentation
    from SSLSegmentationLib.commands.export import label_map
    from SSLSegmentationLib.io.dicom import series_files
    from SSLSegmentationLib.io.dicom_seg import write_dicom_seg

    if out.suffix.lower() != ".dcm":
        raise InputError(f"{out.name} does not end in .dcm, as DICOM files do: rename it.")
    if out.exists() and not overwrite:
        raise InputError(f"{out} exists already: choose another name, or give --overwrite.")
    with progress_bar(not quiet) as tick:
        tick("Reading", 0.0)
        _, scan = series_files(series, series_uid)
        opened = open_segmentation(segmentation, scan)
        labels = label_map(opened, scan)
        tick("Reading", 1.0)
        tick("Writing", 0.0)
        write_dicom_seg(
            out,
            series,
            labels,
            opened.labels,
            made=made.value.upper(),
            model=model,
            creator=creator,
            series_uid=series_uid,
        )
        tick("Writing", 1.0)
    if not quiet:
        found = sum(bool(mask.bits.any()) for mask in opened.segments.values())
        people.print(f"Written: {out} ({found} {'segment' if found == 1 else 'segments'}).", soft_wrap=True)
