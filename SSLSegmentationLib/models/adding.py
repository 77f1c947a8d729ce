"""Adding a model from a file, as a program of its own that answers with a line of JSON: for the module in Slicer.

    adding.main PATH [accepted]

PATH is a package (its folder, its zip, or the metadata.json in it), a file of packed models, or a weights file of the
catalogue. The answer is {"added": [title, …]}; or {"accept": id} where somebody has to accept a licence first, and the
same with `accepted` is the next call; or {"error": sentence}.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Literal

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.models import install, pack, store
from SSLSegmentationLib.models.catalogue import load_catalogue


def main() -> None:
    try:
        answer = added(Path(sys.argv[1]), accepted="accepted" in sys.argv[2:])
    except InputError as error:
        answer = {"error": str(error)}
    except OSError as error:
        answer = {"error": f"The model could not be copied ({error.strerror or error}): see that there is room."}
    print(json.dumps(answer))


def added(path: Path, *, accepted: bool, folder: Path | None = None) -> dict[str, Any]:
    path, kind = what_is(path)
    if kind == "packed":
        return {"added": [model.record.title for model in pack.unpack(path, folder)[0]]}
    if kind == "package":
        return {"added": [install.add_package(path, folder).record.title]}
    entry = install.recognise(path, load_catalogue(None))
    if not accepted:
        return {"accept": entry.id}
    return {"added": [install.add_weights(path, entry, store.now(), folder).record.title]}


def what_is(path: Path) -> tuple[Path, Literal["package", "packed", "weights"]]:
    """Where the model begins that somebody points at, and how it comes."""
    path = path.expanduser()
    if path.name == "metadata.json" and path.parent.name == "configs":
        path = path.parent.parent
    if not path.exists():
        raise InputError(f"{path} is not there: choose a weights file, or the folder, zip or metadata.json of a model.")
    if path.is_dir():
        return path, "package"
    if path.suffix.lower() != ".zip":
        return path, "weights"
    return path, "packed" if pack.is_packed(path) else "package"
