"""`python -m trainer`: the list of its commands."""

from __future__ import annotations

import sys

import typer
from rich.markup import escape

from SSLSegmentationLib.errors import Cancelled, InputError
from trainer.commands.console import people
from trainer.commands.plan import plan
from trainer.commands.results import evaluate, package, report
from trainer.commands.train import pretrain, resume, train
from trainer.methods import METHODS

_FLOW = """\
Make better models of your own labels, and of the unlabelled archive beside them. For research use, not a medical
device.

From a folder of scans to a model in Slicer:

1. `python -m trainer plan SCANS --out WORK` looks at the data; read WORK/plan.yaml and change it

2. `python -m trainer train WORK --out WORK/run` trains; after an interruption `resume WORK/run`

3. `python -m trainer evaluate WORK/run` judges it on cases it has not seen

4. `python -m trainer package WORK/run --out my-model --licence CC-BY-4.0` makes the model for Slicer

With few labels and many scans choose a semi-supervised `--method`, or `pretrain` first and `train --from` it.
"""

_METHODS = f"Methods: {', '.join(sorted(METHODS))}."

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    rich_markup_mode="markdown",
    help=_FLOW,
)
app.command()(plan)
app.command(epilog=_METHODS)(pretrain)
app.command(epilog=_METHODS)(train)
app.command()(resume)
app.command()(evaluate)
app.command()(package)
app.command()(report)


def main(arguments: list[str] | None = None) -> None:
    """What the user gave wrong ends with one sentence and code 2, never with a traceback."""
    try:
        app(arguments)
    except InputError as error:
        people.print(f"[bold red]trainer:[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(2)
    except (Cancelled, KeyboardInterrupt):
        people.print("Cancelled.")
        sys.exit(130)
