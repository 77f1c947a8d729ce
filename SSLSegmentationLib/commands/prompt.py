"""`sslseg prompt`: points and boxes in, a segment out."""

from __future__ import annotations

from pathlib import Path

import typer

from SSLSegmentationLib.commands import corrected
from SSLSegmentationLib.commands.console import JSON, QUIET, print_json, progress_bar
from SSLSegmentationLib.commands.segment import DEVICE, OVERWRITE
from SSLSegmentationLib.errors import InputError

POINTS = typer.Option(
    None, "--point", "-p", help="R,A,S in millimetres, or R,A,S,- for a place that does not belong. Repeat for more."
)
BOXES = typer.Option(
    None, "--box", "-b", help="R,A,S,R,A,S: two opposite corners in millimetres; flat or with depth. Repeat for more."
)


def prompt(
    scan: Path = typer.Argument(..., help="NIfTI, NRRD or MetaImage file, or a folder with a DICOM series."),
    point: list[str] = POINTS,
    box: list[str] = BOXES,
    model: str = corrected.PROMPTABLE,
    out: Path = typer.Option(..., "--out", "-o", help="Folder for the results; it is created if need be."),
    segmentation: Path = typer.Option(None, "--segmentation", help="A segmentation to correct, on the scan's grid."),
    segment: str = typer.Option("segment", "--segment", "-s", help="The segment that is meant; a new one if need be."),
    axis: str = corrected.AXIS,
    window: str = corrected.WINDOW,
    device: str = DEVICE,
    series: str = corrected.SERIES,
    overwrite: bool = OVERWRITE,
    quiet: bool = QUIET,
    as_json: bool = JSON,
) -> None:
    """Segment with points and boxes.

    Without a model that takes prompts, a region is grown from the points over similar grey values. Other segments keep
    their voxels. Writes segmentation.seg.nrrd, uncertainty.nii.gz, sheet.png and report.json.

    For research use, not a medical device.
    """
    from SSLSegmentationLib.commands.results import RESULTS, prepare_folder
    from SSLSegmentationLib.io.read import read_volume
    from SSLSegmentationLib.prompting.ask import ask
    from SSLSegmentationLib.prompting.grow import grow
    from SSLSegmentationLib.proposal import NOTHING

    prompts = [*(_point(text) for text in point or ()), *(_box(text) for text in box or ())]
    if not prompts:
        raise InputError("There is nothing to start from: give at least one --point or --box.")
    prepare_folder(out, RESULTS, overwrite)
    network = corrected.promptable(model, device)
    remarks = []
    with progress_bar(not quiet) as tick:
        tick("Reading", 0.0)
        volume = read_volume(scan, series=series)
        opened = corrected.open_segmentation(segmentation, volume) if segmentation else corrected.Opened((), {})
        stack = corrected.stack_of(volume, axis)
        kept = opened.kept([segment])
        tick("Reading", 1.0)
        if network is None:
            before = opened.segments.get(segment, NOTHING)
            grown = grow(volume, prompts, before, kept=kept[segment], segment=segment, tick=tick)
            proposals = {segment: grown}
            remarks.append("No model that takes prompts was used: a region was grown over similar grey values.")
        else:
            proposals = ask(
                volume,
                {segment: prompts},
                network,
                segments=opened.segments,
                window=corrected.window_from(window),
                stack=stack,
                kept=kept,
                tick=tick,
            )
        if not proposals[segment].mask.any():
            remarks.append("The prompts change nothing: place a point on what is meant, or draw a box around it.")
        report = {
            "operation": "prompt",
            "model": network.key if network else "region growing",
            "prompts": [*(f"point {text}" for text in point or ()), *(f"box {text}" for text in box or ())],
            "remarks": remarks,
        }
        report, files = corrected.write_corrected(out, volume, opened, proposals, report, tick)
    if as_json:
        print_json(report | {"files": [str(file) for file in files]})
    if not quiet:
        corrected.show_corrected(report, files)


def _point(text: str):
    from SSLSegmentationLib.prompts import PointPrompt

    place, sign = text, "+"
    if text.endswith((",+", ",-")):
        place, sign = text[:-2], text[-1]
    return PointPrompt(tuple(corrected.numbers(place, 3, "--point")), sign == "+")


def _box(text: str):
    import numpy as np

    from SSLSegmentationLib.prompts import BoxPrompt

    values = corrected.numbers(text, 6, "--box")
    low, high = np.minimum(values[:3], values[3:]), np.maximum(values[:3], values[3:])
    edges = [tuple(edge) for edge, size in zip(np.diag(high - low), high - low, strict=True) if size > 0]
    if len(edges) < 2:
        raise InputError(f"--box {text} has no area: give two opposite corners.")
    return BoxPrompt(tuple(low), tuple(edges))
