"""`sslseg refine`: a coarse segmentation in, a better one out, where a promptable model is sure of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path

import typer

from SSLSegmentationLib.commands import corrected
from SSLSegmentationLib.commands.console import JSON, QUIET, print_json, progress_bar
from SSLSegmentationLib.commands.segment import DEVICE, OVERWRITE
from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.steps import finish


def refine(
    scan: Path = typer.Argument(..., help="NIfTI, NRRD or MetaImage file, or a folder with a DICOM series."),
    segmentation: Path = typer.Argument(..., help="The coarse segmentation, on the scan's grid."),
    model: str = corrected.PROMPTABLE,
    out: Path = typer.Option(..., "--out", "-o", help="Folder for the results; it is created if need be."),
    segment: list[str] = corrected.SEGMENTS,
    axis: str = corrected.AXIS,
    normal: str = typer.Option(None, "--normal", help="R,A,S: slices at a right angle to any direction instead."),
    one_box: bool = typer.Option(False, "--one-box", help="One box around all parts of a segment on a slice."),
    window: str = corrected.WINDOW,
    device: str = DEVICE,
    series: str = corrected.SERIES,
    overwrite: bool = OVERWRITE,
    quiet: bool = QUIET,
    as_json: bool = JSON,
) -> None:
    """Refine a coarse segmentation slice by slice.

    A model that takes prompts sees a box around each part of each segment. Its answer is taken where it is plausible;
    elsewhere the coarse part stays. Slices without a segment are not touched. report.json tells of every part.

    For research use, not a medical device.
    """
    from SSLSegmentationLib.commands.results import RESULTS, prepare_folder
    from SSLSegmentationLib.io.read import read_volume
    from SSLSegmentationLib.prompting import refine as refining

    prepare_folder(out, RESULTS, overwrite)
    network = corrected.promptable(model, device)
    if network is None:
        raise InputError(
            "Refining needs a model that takes prompts, and none is installed or named: "
            "see `sslseg models list`, then give --model ID or a weights file."
        )
    with progress_bar(not quiet) as tick:
        tick("Reading", 0.0)
        volume = read_volume(scan, series=series)
        opened = corrected.open_segmentation(segmentation, volume)
        chosen = opened.chosen(segment)
        stack = corrected.stack_of(volume, axis, normal)
        tick("Reading", 1.0)
        steps = refining.refine(
            stack,
            chosen,
            network,
            window=corrected.window_from(window),
            one_box=one_box,
            kept=opened.kept(list(chosen)),
            tick=tick,
        )
        refined = finish(steps)
        reasons = Counter(part.reason for part in refined.report if not part.accepted)
        kept = f"; kept: {', '.join(f'{count} {reason}' for reason, count in reasons.most_common())}" if reasons else ""
        report = {
            "operation": "refine",
            "model": network.key,
            "parts": [asdict(part) for part in refined.report],
            "accepted": refined.accepted,
            "kept": len(refined.report) - refined.accepted,
            "remarks": [f"{refined.accepted} of {len(refined.report)} parts were refined{kept}."],
        }
        report, files = corrected.write_corrected(out, volume, opened, refined.proposals, report, tick)
    if as_json:
        print_json(report | {"files": [str(file) for file in files]})
    if not quiet:
        corrected.show_corrected(report, files)
