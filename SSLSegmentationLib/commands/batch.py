"""`sslseg batch`: a whole archive, over night, and again until all is done."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.markup import escape

from SSLSegmentationLib.commands.console import JSON, QUIET, people, print_json, progress_bar
from SSLSegmentationLib.commands.segment import MODEL, Backend, Doubt, chosen_package
from SSLSegmentationLib.errors import InputError

if TYPE_CHECKING:
    from SSLSegmentationLib.commands.archive import Scan
    from SSLSegmentationLib.commands.pipeline import Outcome
    from SSLSegmentationLib.progress import Tick

FAILURES = "failures.json"
_SHOWN = 20


def batch(
    scans: Path = typer.Argument(..., help="Folder with scans, at any depth: files, and folders of DICOM series."),
    out: Path = typer.Argument(..., help="Folder for the results, one folder a scan; it is created if need be."),
    model: str = MODEL,
    match: str = typer.Option("*", "--match", help='Only files whose names fit, such as "*_0000.nii.gz".'),
    doubt: Doubt = typer.Option(Doubt.auto, help="Where the uncertainty comes from, as in `sslseg segment`."),
    device: str = typer.Option(
        "auto", "--device", help="auto (every CUDA device, else the processor), or a list such as cuda:0,cuda:1."
    ),
    backend: Backend = typer.Option(Backend.auto, help="Program that runs the network; auto takes the fastest."),
    ray: str = typer.Option(
        None, "--ray", help='Address of a Ray cluster whose nodes see both folders, or "local" for one on this machine.'
    ),
    sheets: bool = typer.Option(False, "--sheets", help="Draw a picture of each result as well (a second each)."),
    overwrite: bool = typer.Option(
        False, "--overwrite", help="Do scans again that were done with another model, with other settings, or changed."
    ),
    quiet: bool = QUIET,
    as_json: bool = JSON,
) -> None:
    """Segment every scan of an archive.

    Each scan gets a folder as `sslseg segment` writes it, all at once: what is there is whole. Run the same command
    again and it goes on where it was ended, however it was ended. A scan that cannot be segmented never stops the
    others; all failures are listed at the end, with their reasons, and in failures.json. The exit code is 1 if there
    were any.

    For research use, not a medical device.
    """
    from SSLSegmentationLib.commands.archive import scans_in
    from SSLSegmentationLib.commands.hands import Assignment, by_processes, by_ray
    from SSLSegmentationLib.commands.pipeline import fingerprint, sweep
    from SSLSegmentationLib.commands.results import prepare_folder
    from SSLSegmentationLib.inference.segment import Settings
    from SSLSegmentationLib.io.locks import locked
    from SSLSegmentationLib.models.read import package_hash

    package = chosen_package(model)
    settings = Settings(backend=backend.value, doubt=doubt.value)
    listed = scans_in(scans, match)
    prepare_folder(out, (), overwrite)
    out = out.resolve()
    with locked(out / ".lock", f"Another batch is writing to {out}: wait for its end, or choose another folder."):
        sweep(out)
        print_of = fingerprint(package_hash(package), settings)
        todo = to_do(listed, out, print_of, overwrite)
        assignment = Assignment(package.folder, settings, out, sheets)
        with progress_bar(not quiet) as tick:
            outcomes = by_ray(todo, assignment, ray) if ray else by_processes(todo, assignment, devices(device))
            failed = finish(outcomes, len(todo), out, tick) if todo else []
    summary = {"scans": len(listed), "done": len(listed) - len(failed), "skipped": len(listed) - len(todo)}
    if as_json:
        print_json(summary | {"failed": [{"name": one.name, "reason": one.reason} for one in failed]})
    if not quiet:
        people.print(
            f"{summary['done']} of {len(listed)} scans are segmented in {out}"
            + (f"; {summary['skipped']} of them were before." if summary["skipped"] else "."),
            soft_wrap=True,
        )
    for one in failed[:_SHOWN]:
        people.print(f"[bold red]failed:[/] {escape(one.name)}: {escape(one.reason)}", soft_wrap=True)
    if failed:
        more = f" The list goes on in {out / FAILURES}." if len(failed) > _SHOWN else ""
        people.print(f"{len(failed)} failed; run the command again to try these once more.{more}", soft_wrap=True)
        raise typer.Exit(1)


def to_do(listed: list[Scan], out: Path, wanted: dict[str, Any], overwrite: bool) -> list[Scan]:
    """The scans without a result, or whose result is of another kind, if these may be replaced."""
    from SSLSegmentationLib.commands.archive import result_of

    missing, other = [], []
    for scan in listed:
        report = result_of(out, scan)
        if report is None:
            missing.append(scan)
        elif report.get("made_by") != wanted or report.get("source", {}).get("stamp") != list(scan.stamp):
            other.append(scan)
    if other and not overwrite:
        raise InputError(
            f"{out} holds results of {len(other)} scans, {other[0].name} for one, that were made with another model or "
            "other settings, or whose scans have changed since: choose another folder, or give --overwrite."
        )
    return missing + other


def finish(outcomes: Iterator[Outcome], count: int, out: Path, tick: Tick) -> list[Outcome]:
    """Wait for all of them; the failures, which are also kept in a file for as long as there are any."""
    import json

    from SSLSegmentationLib.io.atomic import replacing

    failed: list[Outcome] = []
    tick("Segmenting", 0.0)
    for number, outcome in enumerate(outcomes, start=1):
        if outcome.state == "failed":
            failed.append(outcome)
        tick("Segmenting", number / count)
    failures = out / FAILURES
    if failed:
        with replacing(failures) as temporary:
            reasons = [{"name": one.name, "reason": one.reason} for one in failed]
            temporary.write_text(json.dumps(reasons, indent=1, ensure_ascii=False) + "\n", "utf-8")
    else:
        failures.unlink(missing_ok=True)
    return failed


def devices(device: str) -> list[str]:
    """One name for each process."""
    from SSLSegmentationLib.inference.devices import choose_device

    if device != "auto":
        return [choose_device(one.strip()) for one in device.split(",")]
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return [f"cuda:{number}" for number in range(count)] or [choose_device("auto")]
