"""What `prompt`, `refine` and `propagate` have in common: files in, proposals accepted, files out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import typer
from rich.markup import escape
from rich.table import Table

from SSLSegmentationLib.commands.console import people
from SSLSegmentationLib.commands.results import REPORT, SEGMENTATION, SHEET, UNCERTAINTY, together
from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.io.segmentation import read_segmentation, write_segmentation
from SSLSegmentationLib.io.write import write_volume
from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.placing import placed_on
from SSLSegmentationLib.progress import Tick
from SSLSegmentationLib.prompting.compose import Kept
from SSLSegmentationLib.prompting.picture import Window
from SSLSegmentationLib.prompting.protocol import Promptable
from SSLSegmentationLib.prompting.stack import Stack, acquired, slices_across, slices_along
from SSLSegmentationLib.proposal import NOTHING, Cropped, Proposal
from SSLSegmentationLib.report.report import build_report, write_report
from SSLSegmentationLib.report.sheet import write_sheet
from SSLSegmentationLib.volume import Volume

NO_MODEL = "none"

PROMPTABLE = typer.Option(
    None,
    "--model",
    "-m",
    help='Id of an installed model that takes prompts (see `sslseg models list`), a weights file, or "none".',
)
SEGMENTS = typer.Option(None, "--segment", "-s", help="Name of a segment; give it again for more. All by default.")
AXIS = typer.Option(
    None, "--axis", help="Slices along this axis of the file: k, j or i. By default the one with the largest spacing."
)
WINDOW = typer.Option(None, "--window", help="WIDTH,LEVEL of the grey values that the model sees, such as 400,40.")
SERIES = typer.Option(None, help="UID or number of the series, where a DICOM folder holds several.")


@dataclass(frozen=True, eq=False)
class Opened:
    """A segmentation on the grid of its scan, as operations and label maps need it."""

    labels: tuple[Label, ...]
    segments: Mapping[str, Cropped]
    remarks: tuple[str, ...] = ()

    def chosen(self, names: Sequence[str] | None) -> dict[str, Cropped]:
        """The segments the user named; all with something in them if there are none named."""
        if not names:
            return {name: mask for name, mask in self.segments.items() if mask.bits.any()}
        for name in names:
            if name not in self.segments:
                there = ", ".join(self.segments) or "none"
                raise InputError(f'There is no segment "{name}": choose one of these: {there}.')
        return {name: self.segments[name] for name in names}

    def kept(self, names: Sequence[str]) -> dict[str, Kept]:
        """The other segments keep their voxels."""
        others = tuple(mask for name, mask in self.segments.items() if name not in names)
        return {name: Kept(neighbours=others) for name in names}


def open_segmentation(path: Path, scan: Volume) -> Opened:
    found = read_segmentation(path)
    found = replace(found, layers=tuple(placed_on(layer, scan) for layer in found.layers))
    labels: list[Label] = []
    segments: dict[str, Cropped] = {}
    taken = np.zeros(scan.shape, dtype=bool)
    shared = 0
    for index, label in enumerate(found.labels):
        mask = found.mask(index).voxels
        if len(found.layers) > 1:
            shared += int((mask & taken).sum())
            mask = mask & ~taken
            taken |= mask
        name = label.name if label.name not in segments else f"{label.name} ({index + 1})"
        labels.append(Label(index + 1, name, label.color, label.terminology))
        segments[name] = Cropped.of(mask)
    remarks = (f"{shared} voxels in two segments were left to the first of them.",) if shared else ()
    return Opened(tuple(labels), segments, remarks)


def stack_of(volume: Volume, axis: str | None, normal: str | None = None) -> Stack:
    if axis is not None and normal is not None:
        raise InputError("Give --axis or --normal, not both.")
    if normal is not None:
        return slices_across(volume, np.array(numbers(normal, 3, "--normal")))
    if axis is None:
        return acquired(volume)
    if axis not in ("k", "j", "i"):
        raise InputError(f"--axis {axis} is none of k, j and i: choose one of these.")
    return slices_along(volume, "kji".index(axis))


def window_from(text: str | None) -> Window | None:
    return None if text is None else Window(*numbers(text, 2, "--window"))


def numbers(text: str, count: int, option: str) -> list[float]:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != count or not np.isfinite(values).all():
        raise InputError(f"{option} {text} is not {count} numbers: write them with commas between, without spaces.")
    return values


def promptable(model: str | None, device: str) -> Promptable | None:
    """The model the user named, the one the user brought, or the one that comes along; None if there is none."""
    from SSLSegmentationLib.models.store import installed
    from SSLSegmentationLib.prompting.backends import LOADERS, load_backend, preferred

    if model == NO_MODEL:
        return None
    if model is None:
        models = installed()
        chosen = preferred(models)
        if chosen is None:
            there = [one.id for one in models if one.kind in LOADERS and not one.damage]
            if not there:
                return None
            raise InputError(f"There are several models that take prompts ({', '.join(there)}): give --model ID.")
        model = chosen.id
    return load_backend(model, device)


def write_corrected(
    out: Path, scan: Volume, opened: Opened, proposals: Mapping[str, Proposal], report: dict[str, Any], tick: Tick
) -> tuple[dict[str, Any], list[Path]]:
    """Accept the proposals and write everything into a folder beside, then move it file by file.

    The report gets the numbers of all segments, and what was added to and removed from each.
    """
    tick("Writing", 0.0)
    labels = opened.labels
    missing = [name for name in proposals if name not in opened.segments]
    labels += tuple(Label(len(labels) + n, name, (0.9, 0.2, 0.2)) for n, name in enumerate(missing, start=1))
    voxels = np.zeros(scan.shape, dtype=np.min_scalar_type(len(labels)))
    doubt = np.zeros(scan.shape, dtype=np.float32)
    for name, mask in opened.segments.items():
        if name not in proposals:
            voxels[mask.box][mask.bits] = _value(labels, name)
    for name, proposal in proposals.items():
        mask = proposal.accepted_into(opened.segments.get(name, NOTHING))
        voxels[mask.box][mask.bits] = _value(labels, name)
        if proposal.uncertainty is not None:
            np.maximum(doubt[proposal.box], proposal.uncertainty, out=doubt[proposal.box])
    labelmap, uncertainty = scan.with_voxels(voxels), scan.with_voxels(doubt)
    numbers_of_all = build_report(scan, labelmap, labels, uncertainty, model={"id": report["model"]})
    for entry in numbers_of_all["labels"]:
        if entry["name"] in proposals:
            proposal = proposals[entry["name"]]
            entry["added_voxels"] = int(proposal.added.sum())
            entry["removed_voxels"] = int(proposal.removed.sum())
            entry["score"] = round(proposal.score, 4)
    report = {**numbers_of_all, **{key: value for key, value in report.items() if key != "model"}}
    report["remarks"] = [*opened.remarks, *report["remarks"]]
    with together(out) as (beside, placed):
        write_segmentation(beside / SEGMENTATION, labelmap, labels)
        tick("Writing", 0.3)
        write_volume(uncertainty, beside / UNCERTAINTY)
        millilitres = {entry["value"]: entry["ml"] for entry in report["labels"]}
        write_sheet(beside / SHEET, scan, labelmap, uncertainty, labels, title=scan.name, millilitres=millilitres)
        write_report(beside / REPORT, report)
        tick("Writing", 1.0)
    return report, placed


def show_corrected(report: dict[str, Any], files: Sequence[Path]) -> None:
    table = Table(box=None, pad_edge=False)
    for title in ("segment", "ml", "added", "removed", "score"):
        table.add_column(title, justify="left" if title == "segment" else "right")
    for entry in report["labels"]:
        if "score" in entry:
            added, removed = entry["added_voxels"], entry["removed_voxels"]
            table.add_row(
                escape(entry["name"]), f"{entry['ml']:.1f}", str(added), str(removed), f"{entry['score']:.2f}"
            )
    people.print()
    people.print(table)
    for remark in report["remarks"]:
        people.print(f"[yellow]Note:[/] {escape(remark)}", soft_wrap=True)
    for file in files:
        people.print(f"  {file}", soft_wrap=True)
    people.print("For research use, not a medical device.", style="dim")


def _value(labels: Sequence[Label], name: str) -> int:
    return next(label.value for label in labels if label.name == name)
