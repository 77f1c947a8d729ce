"""`sslseg`: the list of its commands. What each one does is in `commands/`."""

from __future__ import annotations

import logging
import sys

import typer
from rich.logging import RichHandler
from rich.markup import escape

from SSLSegmentationLib import __version__
from SSLSegmentationLib.commands.batch import batch
from SSLSegmentationLib.commands.console import people
from SSLSegmentationLib.commands.demo import demo
from SSLSegmentationLib.commands.dicom_seg import dicom_seg
from SSLSegmentationLib.commands.doctor import doctor
from SSLSegmentationLib.commands.export import export
from SSLSegmentationLib.commands.models import app as models
from SSLSegmentationLib.commands.prompt import prompt
from SSLSegmentationLib.commands.propagate import propagate
from SSLSegmentationLib.commands.refine import refine
from SSLSegmentationLib.commands.segment import segment
from SSLSegmentationLib.commands.serve import serve
from SSLSegmentationLib.commands.worklist import app as worklist
from SSLSegmentationLib.errors import Cancelled, InputError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    rich_markup_mode="markdown",
    help="Segment medical scans and see where the model is unsure. For research use, not a medical device.",
)
app.command()(segment)
app.command()(prompt)
app.command()(refine)
app.command()(propagate)
app.command()(batch)
app.command()(export)
app.command("dicom-seg")(dicom_seg)
app.command()(demo)
app.command()(doctor)
app.command()(serve)
app.add_typer(models, name="models")
app.add_typer(worklist, name="worklist")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"sslsegmentation {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Options that come before a command."""


def main() -> None:
    """The entry point: what the user gave wrong ends with one sentence and code 2, never with a traceback."""
    logging.basicConfig(
        level=logging.WARNING,
        format="%(message)s",
        handlers=[RichHandler(console=people, show_time=False, show_path=False)],
    )
    try:
        app()
    except InputError as error:
        people.print(f"[bold red]sslseg:[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(2)
    except (Cancelled, KeyboardInterrupt):
        people.print("Cancelled.")
        sys.exit(130)
