"""`sslseg models`: what there is, get it, check it, remove it, and carry it to a machine without a network."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from SSLSegmentationLib.commands.console import JSON, QUIET, people, print_json, progress_bar
from SSLSegmentationLib.errors import Cancelled, InputError
from SSLSegmentationLib.models import install, store
from SSLSegmentationLib.models import pack as packing
from SSLSegmentationLib.models.adding import what_is
from SSLSegmentationLib.models.catalogue import VARIABLE as CATALOGUE_VARIABLE
from SSLSegmentationLib.models.catalogue import Entry, Licence, load_catalogue, near, size_text
from SSLSegmentationLib.models.overview import Known, known_models
from SSLSegmentationLib.models.store import Installed

app = typer.Typer(
    no_args_is_help=True,
    help="List, download, check, remove and pack models. Licences are shown before anything is downloaded.",
)

FOLDER = typer.Option(
    None,
    "--models-dir",
    metavar="FOLDER",
    envvar=store.VARIABLE,
    help="Folder of installed models, instead of your own data folder.",
    show_default=False,
)
CATALOGUE = typer.Option(
    None,
    "--catalogue",
    metavar="FILE",
    envvar=CATALOGUE_VARIABLE,
    help="A catalogue of your own, added to that of the program: the same JSON format as Resources/Models.json.",
    show_default=False,
)
ACCEPT = typer.Option(False, "--accept-licence", help="Accept the licence without being asked; it is still shown.")
YES = typer.Option(False, "--yes", "-y", help="Do not ask.")

_COLOURS = {"installed": "green", "bundled": "green", "damaged": "bold red", "available": "", "by hand": "dim"}
_results = Console(highlight=False)


@app.command("list")
def list_models(catalogue: Path = CATALOGUE, folder: Path = FOLDER, json: bool = JSON) -> None:
    """Show every model: installed ones, bundled ones, and those that can be got.

    "available" models are downloaded with `sslseg models get ID`. "by hand" means that only a person can get the file,
    in a browser; `sslseg models get ID` says where. "damaged" models are mended by getting or adding them again.
    """
    rows = [_row(known) for known in known_models(folder, load_catalogue(catalogue))]
    if json:
        print_json({"folder": str(store.models_folder(folder)), "models": rows})
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("id", "model", "for", "licence"):
        table.add_column(column, overflow="fold")
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for row in rows:
        licence = escape(row["licence"]["name"]) + (
            " [dim](not commercial)[/]" if row["licence"]["commercial"] is False else ""
        )
        style = _COLOURS[row["state"]]
        state = f"[{style}]{row['state']}[/]" if style else row["state"]
        texts = (escape(row[key]) for key in ("id", "title"))
        table.add_row(*texts, escape(row["modality"] or "any"), licence, size_text(row["bytes"]), state)
    _results.print(table)
    for row in rows:
        if row["damage"]:
            people.print(f"{row['id']} is damaged: {row['damage']}.", markup=False, soft_wrap=True)
    people.print(f"Installed models are in {store.models_folder(folder)}", markup=False, soft_wrap=True)


@app.command()
def get(
    ids: list[str] = typer.Argument(metavar="ID...", help="Ids of models, as `sslseg models list` shows them."),
    accept: bool = ACCEPT,
    catalogue: Path = CATALOGUE,
    folder: Path = FOLDER,
    json: bool = JSON,
    quiet: bool = QUIET,
) -> None:
    """Download models, after showing their licences.

    A download that was interrupted, by Ctrl-C or by the network, goes on where it stopped when the same command is
    given again. What arrives is compared with the SHA-256 of the catalogue before it is put in its place; where none
    is published, the first download on this machine decides what later ones have to be. Proxies named in HTTPS_PROXY
    are used. A model that is there is verified, and only downloaded again if it has changed. Example:
    `sslseg models get sam2.1-tiny`
    """
    entries = load_catalogue(catalogue)
    wanted = [_entry(id_, entries) for id_ in dict.fromkeys(ids)]
    there = [model for model in store.installed(folder) if model.id in ids]
    with progress_bar(bool(there) and not (quiet or json)) as tick:
        here = {model.id: model for model in there if not store.verify(model, entries, tick)}
    missing = [entry for entry in wanted if entry.id not in here]
    for entry in missing:
        if not entry.address:
            raise InputError(install.by_hand(entry))
    accepted = {entry.id: _accepted(entry, accept, quiet) for entry in missing}
    results = [here[entry.id] for entry in wanted if entry.id in here]
    for model in results:
        _say(f"{model.id} is installed already, and as it should be.", quiet or json)
    for entry in missing:
        try:
            with progress_bar(not quiet) as tick:
                model = install.get(entry, accepted[entry.id], folder, tick)
        except KeyboardInterrupt:
            _say("What has arrived is kept: the same command goes on from there.", quiet)
            raise Cancelled from None
        results.append(model)
        _say(f"{model.id} is installed in {model.folder}", quiet or json)
        if entry.sha256 is None:
            _say(f"No SHA-256 is published for it; from now on it has to be {model.record.sha256}.", quiet or json)
    if json:
        print_json([_row(Known(model.id, entries.get(model.id), model)) for model in results])


@app.command()
def verify(
    ids: list[str] = typer.Argument(None, metavar="[ID]...", help="Ids of installed models; all of them if none."),
    catalogue: Path = CATALOGUE,
    folder: Path = FOLDER,
    json: bool = JSON,
    quiet: bool = QUIET,
) -> None:
    """Read installed models whole and compare them with the SHA-256 they had when they were installed.

    Packages are also read as `sslseg segment` reads them. The exit code is 1 if any model is not as it should be.
    """
    entries = load_catalogue(catalogue)
    models = _chosen(ids, folder)
    with progress_bar(not (quiet or json)) as tick:
        problems = {model.id: store.verify(model, entries, tick) for model in models}
    if json:
        print_json([{"id": id_, "good": not found, "problems": found} for id_, found in problems.items()])
    elif not models:
        _say("No model is installed.", quiet)
    for model in models if not json else ():
        for problem in problems[model.id]:
            people.print(f"{model.id}: {problem}.", markup=False, soft_wrap=True)
        if problems[model.id]:
            people.print(f"{model.id}: to mend it, {store.remedy(model, entries)}.", markup=False, soft_wrap=True)
        else:
            note = "" if model.record.files else "; it has no record of hashes, so it was only read"
            _say(f"{model.id} is as it should be{note}.", quiet)
    if any(problems.values()):
        raise typer.Exit(1)


@app.command()
def remove(
    ids: list[str] = typer.Argument(metavar="ID...", help="Ids of installed models."),
    yes: bool = YES,
    forget: bool = typer.Option(
        False, "--forget-hash", help="Forget also the SHA-256 pinned on the first download of a model without one."
    ),
    folder: Path = FOLDER,
    quiet: bool = QUIET,
) -> None:
    """Delete installed models, and what has arrived of a download that was interrupted.

    Models that come with the program cannot be removed.
    """
    here = {model.id: model for model in store.installed(folder)}
    known = [id_ for id_ in ids if id_ in here or not forget]
    if forget:
        for id_ in ids:
            had = store.is_id(id_) and store.forget_pin(store.models_folder(folder), id_)
            _say(f"{id_}: {'its hash is forgotten.' if had else 'no hash was pinned.'}", quiet)
    for id_ in known:
        if id_ in here and not here[id_].bundled and not yes:
            _ask(
                f"Delete {id_} ({size_text(here[id_].bytes)}) from {here[id_].folder.parent}?",
                f"{id_} is not removed, because nobody can be asked here: add --yes.",
            )
        _say(f"{id_} is removed from {store.remove(id_, folder)}", quiet)


@app.command()
def add(
    path: Path = typer.Argument(
        metavar="FILE_OR_FOLDER", help="A weights file of the catalogue, a model package, or the zip of one."
    ),
    id_: str = typer.Option(
        None, "--as", metavar="ID", help="Id of the model that a weights file belongs to, where its name does not say."
    ),
    accept: bool = ACCEPT,
    catalogue: Path = CATALOGUE,
    folder: Path = FOLDER,
    json: bool = JSON,
    quiet: bool = QUIET,
) -> None:
    """Copy a model you have into the folder of models.

    A model package, such as the trainer writes, is a folder with configs/ and models/ in it; it keeps its own id. A
    weights file (.pth, .pt) is recognised by its SHA-256 or its name as a model of the catalogue, for files that only
    a browser can download. Example: `sslseg models add Downloads/medsam_vit_b.pth`
    """
    path, kind = what_is(path)
    if kind == "packed":
        raise InputError(f'{path.name} is a packed file: use "sslseg models unpack {path}".')
    if kind == "package" and id_:
        raise InputError(f"{path.name} is a package, which names itself: leave --as {id_} away.")
    entries = load_catalogue(catalogue)
    with progress_bar(kind == "weights" and not quiet) as tick:
        entry = install.recognise(path, entries, id_, tick) if kind == "weights" else None
    when = _accepted(entry, accept, quiet) if entry else ""
    with progress_bar(not quiet) as tick:
        if entry:
            model = install.add_weights(path, entry, when, folder, tick)
        else:
            model = install.add_package(path, folder, tick)
    if json:
        print_json(_row(Known(model.id, entries.get(model.id), model)))
    _say(f"{model.id} is installed in {model.folder}", quiet or json)


@app.command()
def pack(
    out: Path = typer.Argument(metavar="OUT", help="The file to write, such as models.zip."),
    ids: list[str] = typer.Argument(None, metavar="[ID]...", help="Ids of installed models; all of them if none."),
    replace: bool = typer.Option(False, "--replace", help="Write over a file that is there."),
    folder: Path = FOLDER,
    quiet: bool = QUIET,
) -> None:
    """Write installed models into one file, for a machine without a network.

    Carry the file there and give `sslseg models unpack FILE`. It holds the models, their licences and the SHA-256 of
    every file. Example: `sslseg models pack models.zip sam2.1-tiny`
    """
    if out.exists() and not replace:
        raise InputError(f"{out} is there already: choose another name, or add --replace.")
    models = [model for model in _chosen(ids, folder) if ids or not model.bundled]
    with progress_bar(not quiet) as tick:
        packing.pack(models, out, tick)
    names = ", ".join(model.id for model in models)
    _say(f"{out} holds {names} ({size_text(out.stat().st_size)}).", quiet)


@app.command()
def unpack(
    path: Path = typer.Argument(metavar="FILE", help="A file that `sslseg models pack` has written."),
    folder: Path = FOLDER,
    json: bool = JSON,
    quiet: bool = QUIET,
) -> None:
    """Install the models of a packed file.

    Every file is checked before the first model is put in its place; if anything is wrong, nothing is installed.
    """
    for record in packing.read_manifest(path):
        if not quiet:
            people.print(f"[bold]{escape(record.id)}[/]: {escape(_licence_line(record.licence))}", soft_wrap=True)
    with progress_bar(not quiet) as tick:
        placed, there = packing.unpack(path, folder, tick)
    if json:
        print_json({"installed": [model.id for model in placed], "already_there": there})
    for model in placed:
        _say(f"{model.id} is installed in {model.folder}", quiet or json)
    for id_ in there:
        _say(f"{id_} is installed already.", quiet or json)


def _row(known: Known) -> dict[str, Any]:
    """What the table and the JSON say of one model."""
    about, entry, model = known.about, known.entry, known.model
    return {
        "id": known.id,
        "title": about.title,
        "segments": about.segments,
        "kind": about.kind,
        "modality": about.modality,
        "licence": dataclasses.asdict(about.licence),
        "bytes": known.bytes,
        "state": known.state,
        "damage": model.damage if model else "",
        "folder": str(model.folder) if model else None,
        "address": entry.address if entry else None,
        "page": entry.page if entry else "",
        "sha256": entry.sha256 if entry else None,
        "config": about.config,
        "image_size": about.image_size,
        "source": entry.source if entry else "",
    }


def _entry(id_: str, entries: dict[str, Entry]) -> Entry:
    if id_ in entries:
        return entries[id_]
    likely = near(id_, entries)
    hint = f"did you mean {' or '.join(likely)}?" if likely else "look for its id."
    raise InputError(f'"{id_}" is not in the catalogue: {hint} "sslseg models list" shows all models.')


def _chosen(ids: list[str] | None, folder: Path | None) -> list[Installed]:
    here = {model.id: model for model in store.installed(folder)}
    for id_ in ids or ():
        if id_ not in here:
            likely = near(id_, here)
            hint = f"did you mean {' or '.join(likely)}?" if likely else '"sslseg models list" shows what is.'
            raise InputError(f'"{id_}" is not installed: {hint}')
    return [here[id_] for id_ in dict.fromkeys(ids)] if ids else list(here.values())


def _accepted(entry: Entry, accept: bool, quiet: bool) -> str:
    """Show what is about to be installed and under which licence; when the user accepted it."""
    if not (quiet and accept):
        size = size_text(entry.bytes) if entry.bytes else "its size is told by the server"
        people.print(f"\n[bold]{escape(entry.title)}[/] ({escape(entry.id)}, {size})")
        people.print(f"  segments  {escape(entry.segments)}", soft_wrap=True)
        people.print(f"  from      {escape(entry.address or entry.page)}", soft_wrap=True)
        people.print(f"  licence   {escape(_licence_line(entry.licence))}", soft_wrap=True)
    if not accept:
        _ask(
            "Do you accept this licence?",
            f"{entry.id} is not installed, because its licence ({entry.licence.name}) has to be accepted and nobody "
            "can be asked here: read it and add --accept-licence.",
        )
    return store.now()


def _licence_line(licence: Licence) -> str:
    use = {True: "commercial use allowed", False: "no commercial use", None: ""}[licence.commercial]
    return "; ".join(text for text in (licence.name, use, licence.note, licence.link) if text)


def _ask(question: str, refusal: str) -> None:
    """Go on if the user says yes; without a terminal, refuse with a sentence that names the option for scripts."""
    if not can_ask():
        raise InputError(refusal)
    if not typer.confirm(question, err=True):
        people.print("Nothing was changed.")
        raise typer.Exit(1)


def can_ask() -> bool:
    """Whether somebody sits at the terminal."""
    return sys.stdin.isatty()


def _say(text: str, quiet: bool) -> None:
    if not quiet:
        people.print(text, markup=False, soft_wrap=True)
