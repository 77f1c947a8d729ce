"""Which program runs a promptable model: by its kind in the store, or by the weights in a file.

A new kind of model joins by an entry in LOADERS; nothing else asks which kind there is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.models.catalogue import FOLDERS
from SSLSegmentationLib.models.read import read_package
from SSLSegmentationLib.models.store import Installed, find
from SSLSegmentationLib.prompting.protocol import Promptable

_ROOM = 2.0  # times the file: the weights read, and the network they go into
_ENDINGS = (".pt", ".pth", ".safetensors")


@dataclass(frozen=True)
class Weights:
    """A file, and what is known of it without opening it."""

    path: Path
    name: str
    """What the user calls it: the id of a model, or the name of a file."""
    kind: str
    config: str = ""
    image_size: int | None = None


Loader = Callable[[Weights, str], Promptable]


@dataclass(frozen=True)
class Kind:
    module: str
    """The package it needs."""
    load: Loader


def load_backend(model: str | Path, device: str = "auto") -> Promptable:
    """The promptable model of an id in the store, or of a weights file; the one loaded last stays loaded."""
    from SSLSegmentationLib.inference.devices import choose_device

    weights, device = locate(model), choose_device(device)
    stat = weights.path.stat()
    key = (weights, stat.st_mtime_ns, stat.st_size, device)
    if key not in _kept:
        # First out with the old one: two large models may not fit beside each other.
        _kept.clear()
        _kept[key] = _load(weights, device)
    return _kept[key]


def unload() -> None:
    """Give back the memory of the model that is kept."""
    _kept.clear()


def locate(model: str | Path) -> Weights:
    """The file of a promptable model, of which only a file given by its path is opened."""
    path = Path(model).expanduser()
    if path.is_file():
        if path.suffix not in _ENDINGS:
            raise InputError(f"{path.name} is no weights file: name one that ends in {', '.join(_ENDINGS)}.")
        return Weights(path, path.name, _kind_of(path))
    found = find(model)
    if found.kind not in LOADERS:
        able = ", ".join(LOADERS)
        raise InputError(f"{found.id} takes no prompts (it is of the kind {found.kind}): choose one of kind {able}.")
    path = read_package(found.path).weights[0] if found.kind in FOLDERS else found.path
    return Weights(path, found.id, found.kind, found.record.config, found.record.image_size)


def preferred(models: Sequence[Installed]) -> Installed | None:
    """The model for prompts where nobody has chosen: one that the user brought, else the one that comes along.

    None where there is none, or several that the user brought.
    """
    able = [one for one in models if one.kind in LOADERS and not one.damage]
    brought = [one for one in able if not one.bundled]
    return next(iter(brought or able), None) if len(brought) < 2 else None


def _kind_of(path: Path) -> str:
    """Told by the names of the weights, which differ between the two families."""
    from SSLSegmentationLib.models.weights import read_state

    names = read_state(path, path.name)
    if any(name.startswith("image_encoder.trunk.") for name in names):
        return "sam2"
    if any(name.startswith("image_encoder.patch_embed.") for name in names):
        return "sam"
    raise InputError(f"{path.name} holds no SAM or SAM 2: choose the weights file of a model that takes prompts.")


def _load(weights: Weights, device: str) -> Promptable:
    from SSLSegmentationLib.inference.memory import free_bytes, is_out_of_memory, release

    kind = LOADERS[weights.kind]
    if find_spec(kind.module) is None:
        raise InputError(
            f"{weights.name} needs {kind.module}, which is not installed: "
            'install it with pip install ".[prompting]" in a checkout of the program.'
        )
    need, room = _ROOM * weights.path.stat().st_size, free_bytes("cpu")
    if need > room:
        raise InputError(_no_room(weights, f" ({need / 2**30:.1f} GB needed, {room / 2**30:.1f} GB free)"))
    try:
        return kind.load(weights, device)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        release(device)
        raise InputError(_no_room(weights)) from error


def _no_room(weights: Weights, numbers: str = "") -> str:
    return f"{weights.name} does not fit into memory{numbers}: close other programs, or use a smaller model."


def _sam(weights: Weights, device: str) -> Promptable:
    from SSLSegmentationLib.prompting.sam import load_sam

    return load_sam(weights.path, weights.name, weights.config, device=device)


def _sam2(weights: Weights, device: str) -> Promptable:
    from SSLSegmentationLib.prompting.sam2 import load_sam2

    return load_sam2(weights.path, weights.name, weights.config, weights.image_size, device=device)


def _click(weights: Weights, device: str) -> Promptable:
    from SSLSegmentationLib.prompting.click import load_click

    return load_click(weights.path, weights.name, device=device)


LOADERS: dict[str, Kind] = {
    "click": Kind("monai", _click),
    "sam": Kind("segment_anything", _sam),
    "sam2": Kind("sam2", _sam2),
}

_kept: dict[tuple[Weights, int, int, str], Promptable] = {}
