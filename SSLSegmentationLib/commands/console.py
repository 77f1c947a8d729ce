"""What the commands print and how: people read standard error, programs read standard output."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

from SSLSegmentationLib.progress import Tick, silent

QUIET = typer.Option(False, "--quiet", "-q", help="Print nothing but errors.")
JSON = typer.Option(False, "--json", help="Print the result as JSON on standard output, for scripts.")

people = Console(stderr=True, highlight=False)


@contextmanager
def progress_bar(shown: bool = True) -> Iterator[Tick]:
    """A Tick that draws one bar per stage on standard error; if not shown, the library's warnings are left out too."""
    if not shown:
        log = logging.getLogger("SSLSegmentationLib")
        level = log.level
        log.setLevel(logging.ERROR)
        try:
            yield silent
        finally:
            log.setLevel(level)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    bars = Progress(*columns, console=people)
    tasks: dict[str, Any] = {}

    def tick(stage: str, part: float) -> None:
        if stage not in tasks:
            bars.start()  # only now: an operation that never ticks leaves no empty line behind
            for earlier in tasks.values():
                bars.update(earlier, completed=1.0)
            tasks[stage] = bars.add_task(stage, total=1.0)
        bars.update(tasks[stage], completed=part)

    try:
        yield tick
    finally:
        if tasks:
            bars.stop()


def print_json(result: Any) -> None:
    typer.echo(json.dumps(result, indent=2, ensure_ascii=False))
