"""`sslseg worklist`: which scan to look at next, and who looks at which."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.markup import escape
from rich.table import Table

from SSLSegmentationLib.commands.console import JSON, people, print_json

if TYPE_CHECKING:
    from SSLSegmentationLib.dataset.worklist import Item

app = typer.Typer(
    no_args_is_help=True,
    help="Review what `sslseg batch` has segmented, the scans that the model doubts most first. Several people can "
    "share one folder: nobody gets a case that somebody else has open.",
)

FOLDER = typer.Argument(..., help="The folder that `sslseg batch` has written.")
NAME = typer.Argument(..., help="The case, as `show` and `next` name it.")
BY = typer.Option(None, "--by", help="Your name; by default the user who is logged in.")


@app.command()
def show(
    folder: Path = FOLDER,
    most: int = typer.Option(30, "--most", min=1, help="Cases to show."),
    everything: bool = typer.Option(False, "--all", help="Show reviewed cases as well."),
    as_json: bool = JSON,
) -> None:
    """List the cases, the most doubtful first."""
    from SSLSegmentationLib.dataset.worklist import WorkList

    items = WorkList(folder).items()
    reviewed = [item for item in items if item.state in {"done", "skipped"}]
    shown = items if everything else [item for item in items if item not in reviewed]
    if as_json:
        print_json([_plain(item) for item in shown])
        return
    table = Table(box=None, pad_edge=False)
    for title, justify in (("case", "left"), ("doubt", "right"), ("ml", "right"), ("state", "left"), ("", "left")):
        table.add_column(title, justify=justify, overflow="fold")
    for item in shown[:most]:
        state = f"{item.state} ({item.by})" if item.by else item.state
        row = (item.name, f"{100 * item.doubt:.1f} %", f"{item.ml:.1f}", state, "; ".join(item.flags))
        table.add_row(*(escape(cell) for cell in row))
    people.print(table)
    more = f", {len(shown) - most} more not shown" if len(shown) > most else ""
    people.print(f"{len(reviewed)} of {len(items)} cases are reviewed{more}.")


@app.command("next")
def next_(folder: Path = FOLDER, by: str = BY, as_json: bool = JSON) -> None:
    """Take the case to look at next. It is yours until you finish it, skip it or give it back."""
    from SSLSegmentationLib.dataset.worklist import WorkList

    item = WorkList(folder).next(_me(by))
    if as_json:
        print_json(None if item is None else _plain(item))
    elif item is None:
        people.print("Every case is reviewed, or somebody has it open.")
    else:
        people.print(f"{escape(item.name)}: {100 * item.doubt:.1f} % doubtful. {escape('; '.join(item.flags))}")
        people.print(f"  scan     {item.scan}\n  results  {item.folder}", soft_wrap=True)


@app.command()
def done(folder: Path = FOLDER, name: str = NAME, by: str = BY, note: str = typer.Option("", "--note")) -> None:
    """Say that a case has been reviewed."""
    from SSLSegmentationLib.dataset.worklist import WorkList

    WorkList(folder).finish(name, _me(by), "done", note)


@app.command()
def skip(folder: Path = FOLDER, name: str = NAME, by: str = BY, note: str = typer.Option("", "--note")) -> None:
    """Leave a case out, for a reason that can be noted."""
    from SSLSegmentationLib.dataset.worklist import WorkList

    WorkList(folder).finish(name, _me(by), "skipped", note)


@app.command("give-back")
def give_back(folder: Path = FOLDER, name: str = NAME, by: str = BY) -> None:
    """Let others have a case that you had taken."""
    from SSLSegmentationLib.dataset.worklist import WorkList

    WorkList(folder).give_back(name, _me(by))


def _me(by: str | None) -> str:
    from SSLSegmentationLib.dataset.provenance import this_user

    return by or this_user() or "unknown"


def _plain(item: Item) -> dict[str, Any]:
    return asdict(item) | {"folder": str(item.folder), "scan": str(item.scan)}
