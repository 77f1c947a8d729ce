"""`sslseg demo`: from a scan to its segmentation and its doubt, a correction, and its way through the slices."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import typer

from SSLSegmentationLib.commands.console import JSON, QUIET, people, print_json, progress_bar
from SSLSegmentationLib.commands.segment import DEVICE, MODEL, chosen_package, segment_into, show

if TYPE_CHECKING:
    from SSLSegmentationLib.progress import Tick
    from SSLSegmentationLib.volume import Volume

DEMO_MODEL = "abdomen-ct-fast"
SCAN = "scan.nii.gz"
CORRECTED, SPREAD = "corrected", "spread"


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

    Then a simulated user, who knows the truth of the synthetic scan, corrects the worst place with a few clicks, and
    spreads that one slice to a dozen on each side. All of it is written, the scan as well, to be opened together in
    Slicer.
    """
    from SSLSegmentationLib.commands.results import REPORT, prepare_folder
    from SSLSegmentationLib.inference.segment import Settings
    from SSLSegmentationLib.io.read import read_volume
    from SSLSegmentationLib.io.write import write_volume
    from SSLSegmentationLib.phantom import abdomen_phantom
    from SSLSegmentationLib.report.report import write_report

    package = chosen_package(model or DEMO_MODEL)
    prepare_folder(out, (), overwrite=True)
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
            report["simulated_user"], more = _corrected(out, volume, truth, device, tick)
            write_report(out / REPORT, report)
            files = [out / SCAN, *files, *more]
    if as_json:
        print_json(report | {"files": [str(file) for file in files]})
    if not quiet:
        show(report, files)
        if truth is not None:
            scores = report["dice_to_the_phantom"].values()
            mean = sum(scores) / len(scores)
            people.print(f"Mean Dice to the truth of this phantom over {len(scores)} organs: {mean:.2f}")
            people.print("A synthetic abdomen is not a patient: see docs/models.md for how good the model is on these.")
            _tell(report["simulated_user"], out)


def _corrected(out: Path, volume: Volume, truth: Volume, device: str, tick: Tick) -> tuple[dict[str, Any], list[Path]]:
    """One correction and its spreading, each written into a folder of its own."""
    from SSLSegmentationLib.commands import corrected, simulated
    from SSLSegmentationLib.commands.results import SEGMENTATION
    from SSLSegmentationLib.prompting.stack import acquired

    network, stack = corrected.promptable(None, device), acquired(volume)
    opened = corrected.open_segmentation(out / SEGMENTATION, volume)
    labels = {label.name: label for label in opened.labels if (truth.voxels == label.value).any()}
    done = simulated.correct(stack, truth, opened.segments, labels, network, tick)
    if done is None:
        return {}, []
    led = simulated.spread(stack, truth, labels[done.organ], done, network, opened.kept([done.organ]), tick)
    model, files = network.key if network else "grey values", []
    for folder, proposal, drawn in (
        (CORRECTED, done.proposal, opened),
        (SPREAD, led.proposal, corrected.Opened((labels[done.organ],), {done.organ: led.drawn})),
    ):
        (out / folder).mkdir(exist_ok=True)
        told = {"operation": folder, "model": model, "remarks": []}
        files += corrected.write_corrected(out / folder, volume, drawn, {done.organ: proposal}, told, tick)[1]
    before, after = done.dice
    facts = {
        "model": model,
        "organ": done.organ,
        "slice": done.slice,
        "clicks": done.clicks,
        "dice_on_the_slice": {"before": round(before, 4), "after": round(after, 4)},
        "spread_to_slices": led.slices,
        "dice_on_these": round(led.dice, 4),
    }
    return facts, files


def _tell(user: dict[str, Any], out: Path) -> None:
    if not user:
        return
    organ, scores, reached = user["organ"], user["dice_on_the_slice"], user["spread_to_slices"]
    clicks = f"{user['clicks']} click{'s' if user['clicks'] > 1 else ''}"
    model = user["model"].rpartition("-")[0] or user["model"]  # without what tells weights apart
    people.print(
        f"Corrected: {organ} on slice {user['slice']} with {clicks} ({model}): Dice there "
        f"{scores['before']:.2f} before, {scores['after']:.2f} after. See {out / CORRECTED}.",
        soft_wrap=True,
    )
    if not reached:
        people.print("Spread from that one slice: none beside it could be followed with confidence.", soft_wrap=True)
        return
    people.print(
        f"Spread from that one slice to {len(reached)} others: Dice {user['dice_on_these']:.2f}. See {out / SPREAD}.",
        soft_wrap=True,
    )


def _dice(out: Path, truth: np.ndarray) -> dict[str, float]:
    """The overlap with the phantom's truth, of what was written: so the file is checked as well."""
    from SSLSegmentationLib.commands.results import SEGMENTATION
    from SSLSegmentationLib.io.segmentation import read_segmentation
    from SSLSegmentationLib.prompting.robot import dice

    found = read_segmentation(out / SEGMENTATION)
    scores = {}
    for index, label in enumerate(found.labels):
        one, other = found.mask(index).voxels, truth == label.value
        if other.any():
            scores[label.name] = round(dice(one, other), 4)
    return scores
