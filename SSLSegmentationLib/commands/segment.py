"""`sslseg segment`: a scan in, its segmentation, its doubt, a picture and a report out."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.markup import escape
from rich.table import Table

from SSLSegmentationLib.commands.console import JSON, QUIET, people, print_json, progress_bar
from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.progress import Tick

if TYPE_CHECKING:
    from SSLSegmentationLib.inference.segment import Settings
    from SSLSegmentationLib.models.package import ModelPackage
    from SSLSegmentationLib.volume import Volume


class Doubt(StrEnum):
    auto = "auto"
    none = "none"
    entropy = "entropy"
    flips = "flips"
    dropout = "dropout"
    members = "members"


class Backend(StrEnum):
    auto = "auto"
    torch = "torch"
    openvino = "openvino"


MODEL = typer.Option(
    None, "--model", "-m", help="Id of an installed model (see `sslseg models list`), or the folder of a package."
)
DEVICE = typer.Option("auto", "--device", help="auto, cpu, cuda, cuda:1 or mps.")
OVERWRITE = typer.Option(False, "--overwrite", help="Replace results that are already in the folder.")


def segment(
    scan: Path = typer.Argument(..., help="NIfTI, NRRD or MetaImage file, or a folder with a DICOM series."),
    model: str = MODEL,
    out: Path = typer.Option(..., "--out", "-o", help="Folder for the results; it is created if need be."),
    doubt: Doubt = typer.Option(
        Doubt.auto,
        help="Where the uncertainty comes from: one look (entropy), mirrored looks (flips), random looks (dropout), "
        "several networks (members), what the model recommends (auto), or none.",
    ),
    passes: int = typer.Option(None, min=2, max=100, help="Random looks with --doubt dropout."),
    device: str = DEVICE,
    backend: Backend = typer.Option(Backend.auto, help="Program that runs the network; auto takes the fastest."),
    overlap: float = typer.Option(
        None, min=0.0, max=0.9, help="Overlap of neighbouring tiles; the model says by default."
    ),
    whole_scan: bool = typer.Option(False, "--whole-scan", help="Look at the air around the body as well."),
    series: str = typer.Option(None, help="UID or number of the series, where a DICOM folder holds several."),
    replace_nonfinite: bool = typer.Option(
        False, "--replace-nonfinite", help="Set voxels that are not finite numbers to the smallest value and go on."
    ),
    overwrite: bool = OVERWRITE,
    quiet: bool = QUIET,
    as_json: bool = JSON,
) -> None:
    """Segment a scan.

    Writes segmentation.seg.nrrd (opens in Slicer with names and colours), uncertainty.nii.gz (0 sure to 1 unsure, on
    the scan's grid), sheet.png (three planes) and report.json (volumes in ml, times, device).

    For research use, not a medical device.
    """
    from SSLSegmentationLib.commands.results import RESULTS, prepare_folder
    from SSLSegmentationLib.inference.segment import Settings
    from SSLSegmentationLib.io.read import read_volume

    package = chosen_package(model)
    prepare_folder(out, RESULTS, overwrite)
    settings = Settings(
        device=device,
        backend=backend.value,
        overlap=overlap,
        doubt=doubt.value,
        passes=passes,
        crop_to_body=not whole_scan,
    )
    with progress_bar(not quiet) as tick:
        tick("Reading", 0.0)
        volume = read_volume(scan, series=series, replace_nonfinite=replace_nonfinite)
        tick("Reading", 1.0)
        report, files = segment_into(volume, package, out, settings, tick)
    if as_json:
        print_json(report | {"files": [str(file) for file in files]})
    if not quiet:
        show(report, files)


def segment_into(
    volume: Volume, package: ModelPackage, out: Path, settings: Settings, tick: Tick
) -> tuple[dict[str, Any], list[Path]]:
    """Segment a volume and write its results; what `segment` and `demo` have in common."""
    from SSLSegmentationLib.commands.results import report_of, write_results
    from SSLSegmentationLib.inference.segment import Segmenter

    found = Segmenter(package, settings)(volume, tick)
    report = report_of(volume, package, found)
    return report, write_results(out, volume, package, found, report, tick)


def chosen_package(model: str | None) -> ModelPackage:
    """The package the user named, or the only one there is."""
    from SSLSegmentationLib.models.read import read_package
    from SSLSegmentationLib.models.store import find, installed

    if model is None:
        packages = [one for one in installed() if one.kind == "package"]
        if len(packages) != 1:
            names = ", ".join(one.id for one in packages) or "none is installed"
            raise InputError(f"No model is named, and there is not just one to choose ({names}): give --model ID.")
        return read_package(packages[0].path)
    chosen = find(model)
    if chosen.kind != "package":
        raise InputError(f"{chosen.id} answers clicks and boxes, and cannot segment by itself: choose another --model.")
    return read_package(chosen.path)


def show(report: dict[str, Any], files: list[Path]) -> None:
    """The result for people: what was found, how sure, and where the files are."""
    table = Table(box=None, pad_edge=False)
    for title, justify in (("segment", "left"), ("ml", "right"), ("doubt", "right"), ("", "left")):
        table.add_column(title, justify=justify)
    for entry in report["labels"]:
        if entry["voxels"]:
            doubt = "" if entry["mean_uncertainty"] is None else f"{entry['mean_uncertainty']:.2f}"
            table.add_row(entry["name"], f"{entry['ml']:.1f}", doubt, "cut off" if entry["touches_border"] else "")
    missing = [entry["name"] for entry in report["labels"] if not entry["voxels"]]
    people.print()
    people.print(table)
    if missing:
        people.print(f"Not found: {', '.join(missing)}", style="dim")
    for remark in report["remarks"]:
        people.print(f"[yellow]Note:[/] {escape(remark)}", soft_wrap=True)
    if report["unsure_regions"]:
        worst = report["unsure_regions"][0]
        place = " ".join(f"{axis} {value:.0f}" for axis, value in zip("RAS", worst["centre_ras"], strict=True))
        people.print(f"{len(report['unsure_regions'])} unsure regions; the worst at {place} mm ({worst['ml']:.1f} ml)")
    people.print(f"{sum(report['seconds'].values()):.1f} s on {report['device']}", style="dim")
    for file in files:
        people.print(f"  {file}", soft_wrap=True)
    people.print("For research use, not a medical device.", style="dim")
