"""`sslseg demo`: the whole way from a scan to its segmentation and its doubt, with nothing but what is installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import typer

from SSLSegmentationLib.commands.console import JSON, QUIET, people, print_json, progress_bar
from SSLSegmentationLib.commands.segment import DEVICE, MODEL, chosen_package, segment_into, show

DEMO_MODEL = "phantom-abdomen"
SCAN = "scan.nii.gz"


def demo(
    scan: Path = typer.Argument(None, help="A scan of your own; without one, a synthetic abdomen is made."),
    out: Path = typer.Option(
        Path("demo-output"), "--out", "-o", help="Folder for the results; earlier ones are replaced."
    ),
    seed: int = typer.Option(1, min=0, help="Which synthetic abdomen."),
    model: str = MODEL,
    device: str = DEVICE,
    quiet: bool = QUIET,
    as_json: bool = JSON,
) -> None:
    """Try it: make a synthetic abdomen, segment it, and see where the network is unsure.

    The synthetic scan is written as well, so that scan and segmentation can be opened together in Slicer.
    """
    from SSLSegmentationLib.commands.results import REPORT, prepare_folder
    from SSLSegmentationLib.inference.segment import Settings
    from SSLSegmentationLib.io.read import read_volume
    from SSLSegmentationLib.io.write import write_volume
    from SSLSegmentationLib.phantom import abdomen_phantom
    from SSLSegmentationLib.report.report import write_report

    package = chosen_package(model or DEMO_MODEL)
    prepare_folder(out, (), overwrite=True)
    if not quiet and package.id == DEMO_MODEL:
        people.print(
            "The demonstration network was trained on synthetic abdomens only. It shows how the program works, and "
            "says nothing about how well patients are segmented.",
            style="yellow",
        )
    truth = None
    with progress_bar(not quiet) as tick:
        tick("Making a scan" if scan is None else "Reading", 0.0)
        if scan is None:
            volume, truth = abdomen_phantom(seed)
            write_volume(volume, out / SCAN)
        else:
            volume = read_volume(scan)
        tick("Making a scan" if scan is None else "Reading", 1.0)
        report, files = segment_into(volume, package, out, Settings(device=device), tick)
    if truth is not None:
        report["dice_to_the_phantom"] = _dice(out, truth.voxels)
        write_report(out / REPORT, report)
        files = [out / SCAN, *files]
    if as_json:
        print_json(report | {"files": [str(file) for file in files]})
    if not quiet:
        show(report, files)
        if truth is not None:
            scores = report["dice_to_the_phantom"].values()
            mean = sum(scores) / len(scores)
            people.print(f"Mean Dice to the truth of this phantom over {len(scores)} organs: {mean:.2f}")


def _dice(out: Path, truth: np.ndarray) -> dict[str, float]:
    """The overlap with the phantom's truth, of what was written: so the file is checked as well."""
    from SSLSegmentationLib.commands.results import SEGMENTATION
    from SSLSegmentationLib.io.segmentation import read_segmentation

    found = read_segmentation(out / SEGMENTATION)
    scores = {}
    for index, label in enumerate(found.labels):
        one, other = found.mask(index).voxels, truth == label.value
        if other.any():
            scores[label.name] = round(float(2 * (one & other).sum() / (one.sum() + other.sum())), 4)
    return scores
