"""`evaluate`, `package` and `report`: what comes of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.table import Table

from SSLSegmentationLib.errors import InputError
from trainer.commands.console import people, progress, say

if TYPE_CHECKING:
    from trainer.evaluate.judge import Evaluation
    from trainer.evaluate.prompting import Answers


def evaluate(
    runs: list[Path] = typer.Argument(..., help="Folders of runs."),
    cases: list[str] = typer.Option(None, "--cases", help="Names of cases to judge; test or validation cases else."),
    device: str = typer.Option("auto", help="auto, cpu, cuda, cuda:1 or mps."),
    tolerance: float = typer.Option(2.0, min=0.0, help="Millimetres a surface may be off for NSD."),
    flips: bool = typer.Option(
        False,
        "--flips",
        help="See scans mirrored as well, and take the mean: better and slower. The package then does so.",
    ),
) -> None:
    """Judge runs on cases they were not trained on, each on the grid of its own scan.

    Writes RUN/evaluation: cases.csv, summary.json, box plots, a reliability diagram, learning curves. The temperature
    that makes the confidence right is fitted here, and goes into the package.
    """
    from trainer.evaluate.run import evaluate as judge

    for run in runs:
        with progress() as tick:
            found = judge(run, cases or None, device=device, tolerance_mm=tolerance, flips=flips, tick=tick)
        _show(run, found)


def package(
    runs: list[Path] = typer.Argument(..., help="Folder of a run; several become members of one model."),
    out: Path = typer.Option(..., "--out", "-o", help="Folder of the package; its name is the model's id."),
    licence: str = typer.Option(
        ..., "--licence", help="Licence of the weights, as SPDX writes it (CC-BY-SA-4.0): mind that of the data."
    ),
    licence_file: Path = typer.Option(None, help="Its text; a notice with the name is written else."),
    title: str = typer.Option("", help="What the radiologist sees; the plan's name by default."),
    version: str = typer.Option("1.0", help="Of the model."),
    data: str = typer.Option("", help="What it was trained on, in words, with attribution where the licence asks."),
    description: str = typer.Option("", help="For the model card."),
    half: bool = typer.Option(
        False, "--half", help="Weights with half as many digits: half the file; a voxel in many thousands may differ."
    ),
    judges: list[Path] = typer.Option(
        None, "--judge", help="Evaluated runs of a cross-validation, for the scores of a run that no case is left for."
    ),
) -> None:
    """Write the model package that Slicer and `sslseg segment --model FOLDER` load.

    It holds the weights, the plan, the scores and temperature of `evaluate`, the licence, and how to make it again. It
    segments exactly as the trainer does.
    """
    from trainer.package import check_target, package_runs
    from trainer.run import Run

    check_target(out)
    text = ""
    if licence_file is not None:
        if not licence_file.is_file():
            raise InputError(f"{licence_file} does not exist: correct the path of the licence.")
        text = licence_file.read_text("utf-8")
    written = package_runs(
        [Run(run) for run in runs],
        out,
        licence=licence,
        licence_text=text,
        title=title,
        version=version,
        description=description,
        data=data,
        judges=[Run(judge) for judge in judges or ()],
        half=half,
    )
    if not written.scores:
        say("Its card has no scores and its doubt is not calibrated, because the run was not evaluated.")
    say(f"Written: {written.folder}. Try it: sslseg segment SCAN --model {written.folder} --out RESULT")


def report(
    runs: list[Path] = typer.Argument(..., help="Folders of evaluated runs."),
    baseline: str = typer.Option("supervised", help="The method that the others are compared with."),
    out: Path = typer.Option(None, "--out", "-o", help="Write the table into this file as well."),
) -> None:
    """One table of several evaluated runs: mean and deviation over seeds, and the gain over the baseline.

    Folds of a seed are put together; gains are paired by case, with their 95 % bootstrap interval.
    """
    from SSLSegmentationLib.io.atomic import replacing
    from trainer.report import lines_of, markdown, read_run

    table = markdown(lines_of([read_run(run) for run in runs], baseline), baseline)
    typer.echo(table, nl=False)
    if out is not None:
        with replacing(out) as temporary:
            temporary.write_text(table, encoding="utf-8")


def _show(run: Path, found: Evaluation | Answers) -> None:
    scores, facts = found.summary()["scores"], found.facts
    if "labels" in scores:
        _show_labels(scores)
        errors = ", ".join(f"{name} {one.error:.3f}" for name, one in found.reliabilities.items())
        say(f"{facts['cases']} {facts['judged']} cases; calibration error: {errors or 'not measured'}.")
    else:
        told = ", ".join(f"{name} {one['value']:.3f}" for name, one in scores["all"].items())
        say(f"{facts['cases']} {facts['judged']} cases; mean Dice: {told}.")
    say(f"Written: {run / 'evaluation'}. Research use, not a medical device.")


def _show_labels(scores: dict[str, Any]) -> None:
    table = Table(box=None, pad_edge=False)
    for title, justify in (
        ("label", "left"),
        ("Dice", "right"),
        ("95 %", "left"),
        ("95HD mm", "right"),
        ("NSD", "right"),
    ):
        table.add_column(title, justify=justify)
    for name, row in {**scores["labels"], "all": scores["all"]}.items():
        dice = row["dice"]
        between = f"{_figure(dice['low'], 3)} – {_figure(dice['high'], 3)}"
        table.add_row(
            name,
            _figure(dice["value"], 3),
            between,
            _figure(row["hd95_mm"]["value"], 2),
            _figure(row["nsd"]["value"], 3),
        )
    people.print(table)


def _figure(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
