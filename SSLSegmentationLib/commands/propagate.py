"""`sslseg propagate`: some drawn slices in, the whole object out."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import typer

from SSLSegmentationLib.commands import corrected
from SSLSegmentationLib.commands.console import JSON, QUIET, print_json, progress_bar
from SSLSegmentationLib.commands.segment import DEVICE, OVERWRITE
from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.steps import finish

_SAID = {
    "ended": "ended",
    "leaked": "stopped, because the next slice looks like a leak",
    "limit": "stopped at --max-slices",
    "border": "reached the border of the scan",
    "met": "met the next drawn slice",
}


def propagate(
    scan: Path = typer.Argument(..., help="NIfTI, NRRD or MetaImage file, or a folder with a DICOM series."),
    segmentation: Path = typer.Argument(..., help="A segmentation in which some slices are drawn, on the scan's grid."),
    slices: str = typer.Option(
        None,
        "--slices",
        help="The drawn slices to start from, counted from 0, such as 40,52. All drawn ones by default.",
    ),
    model: str = corrected.PROMPTABLE,
    out: Path = typer.Option(..., "--out", "-o", help="Folder for the results; it is created if need be."),
    segment: list[str] = corrected.SEGMENTS,
    axis: str = corrected.AXIS,
    normal: str = typer.Option(None, "--normal", help="R,A,S: slices at a right angle to any direction instead."),
    max_slices: int = typer.Option(None, "--max-slices", min=1, help="Go no further than this in each direction."),
    direction: str = typer.Option(
        "both", "--direction", help="up: only to slices with larger numbers; down: with smaller ones; or both."
    ),
    stride: int = typer.Option(
        None, "--stride", min=1, help="Look at every second (third, …) slice and draw the others between."
    ),
    redo: int = typer.Option(None, "--redo", help="A slice you corrected: only what lies beyond it is done again."),
    window: str = corrected.WINDOW,
    device: str = DEVICE,
    series: str = corrected.SERIES,
    overwrite: bool = OVERWRITE,
    quiet: bool = QUIET,
    as_json: bool = JSON,
) -> None:
    """Spread drawn slices through the scan, both ways or one way, until the object ends.

    Drawn slices are kept to the last voxel, and other segments keep theirs. Without a model that takes prompts, the
    grey values of the segment are followed, which suits what stands out from its surroundings.

    For research use, not a medical device.
    """
    from SSLSegmentationLib.commands.results import RESULTS, prepare_folder
    from SSLSegmentationLib.io.read import read_volume
    from SSLSegmentationLib.prompting import propagate as following

    prepare_folder(out, RESULTS, overwrite)
    network = corrected.promptable(model, device)
    with progress_bar(not quiet) as tick:
        tick("Reading", 0.0)
        volume = read_volume(scan, series=series)
        opened = corrected.open_segmentation(segmentation, volume)
        chosen = opened.chosen(segment)
        stack = corrected.stack_of(volume, axis, normal)
        known = _slices(slices) if slices else sorted({n for mask in chosen.values() for n in stack.touched(mask)})
        if segment is None or not segment:
            # Of all segments those that are drawn on the slices; a segment that was named must be.
            chosen = {name: mask for name, mask in chosen.items() if set(known) & set(stack.touched(mask))} or chosen
        tick("Reading", 1.0)
        steps = following.propagate(
            stack,
            chosen,
            known,
            network,
            window=corrected.window_from(window),
            rule=following.usual_rule(network, max_slices),
            direction=direction,
            stride=stride,
            redo=redo,
            kept=opened.kept(list(chosen)),
            tick=tick,
        )
        found = finish(steps)
        remarks = [
            f"{end.segment}: from slice {end.start} {'up' if end.step > 0 else 'down'} to {end.last}, "
            f"where it {_SAID[end.reason]}."
            for end in found.ends
            if end.reason != "met"
        ]
        if network is None:
            remarks.insert(0, "No model that takes prompts was used: the grey values of the segments were followed.")
        report = {
            "operation": "propagate",
            "model": network.key if network else "grey values",
            "ends": [asdict(end) for end in found.ends],
            "slices": found.slices,
            "remarks": remarks,
        }
        report, files = corrected.write_corrected(out, volume, opened, found.proposals, report, tick)
    if as_json:
        print_json(report | {"files": [str(file) for file in files]})
    if not quiet:
        corrected.show_corrected(report, files)


def _slices(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError(f"--slices {text} is no list of whole numbers: write them with commas between.") from error
