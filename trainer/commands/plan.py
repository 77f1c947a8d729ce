"""`plan`: look at a folder of cases and propose how to train on it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import typer

from SSLSegmentationLib.errors import InputError
from trainer.commands.console import progress, say


class Dims(StrEnum):
    volumes = "3"
    slices = "2"


class Budget(StrEnum):
    auto = "auto"
    cpu = "cpu"
    gpu = "gpu"


def plan(
    data: Path = typer.Argument(
        ..., help="Folder with images/ and labels/ (same names), an nnU-Net raw folder, or a Dataset that Slicer wrote."
    ),
    out: Path = typer.Option(..., "--out", "-o", help="Folder for plan.yaml; prepared cases will lie beside it."),
    dims: Dims = typer.Option(
        Dims.volumes, help="3: whole volumes. 2: slice by slice, for thick slices and 2D methods."
    ),
    budget: Budget = typer.Option(
        Budget.auto, help="What the patch and the network are made for; auto looks whether there is a GPU."
    ),
    like: Path = typer.Option(
        None, "--like", help="A model package to be trained on: network, grid and classes stay as they are in it."
    ),
    name: str = typer.Option(None, help="What the model will be called; the folder's name by default."),
    seed: int = typer.Option(0, min=0, help="Written into the plan."),
    processes: int = typer.Option(1, min=1, help="Files that are read at the same time."),
) -> None:
    """Look at a folder of cases and propose a plan.

    Every file is read once: sizes, spacings, intensities, labels. All mistakes (missing pairs, grids that differ,
    unknown label values) are listed together. The plan is a YAML file that explains itself: read it, change what you
    know better, then `train` with it.
    """
    from SSLSegmentationLib.models.read import read_package
    from trainer.data.continuing import continuing
    from trainer.data.fingerprint import describe, inspect
    from trainer.data.plan import propose
    from trainer.data.plan_file import write_plan

    path = out / "plan.yaml"
    if path.exists():
        raise InputError(f"{path} exists already: train with it, or choose another --out.")
    with progress() as tick:
        found = inspect(data, processes, tick)
    room = budget.value if budget is not Budget.auto else _budget()
    proposal = propose(found, dims=int(dims.value), budget=room, name=name, seed=seed)
    if like is not None:
        proposal = continuing(proposal, read_package(like))
    out.mkdir(parents=True, exist_ok=True)
    notes = describe(found)
    write_plan(path, proposal, notes)
    for note in notes:
        say(note)
    spacing = " × ".join(f"{mm:g}" for mm in proposal.preprocessing.spacing or ())
    patch = " × ".join(map(str, proposal.patch))
    say(f"Proposed: {proposal.network['_target_']}, grid of {spacing} mm, {proposal.batch} patches of {patch} voxels.")
    start = "" if like is None else f" --from {like}"
    say(f"Written: {path}. Read it, then: python -m trainer train {path}{start} --out RUN")


def _budget() -> str:
    import torch

    return "gpu" if torch.cuda.is_available() else "cpu"
