"""Write a model package of our own. It is built beside its place and put there in one step, after it was read back."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.models.card import card
from SSLSegmentationLib.models.networks import check_network
from SSLSegmentationLib.models.package import ModelPackage
from SSLSegmentationLib.models.read import FORMAT, METADATA, check_package, read_package
from SSLSegmentationLib.models.weights import check_weights

if TYPE_CHECKING:
    import torch


def write_package(
    folder: Path, package: ModelPackage, states: Sequence[Mapping[str, torch.Tensor]], licence_text: str
) -> ModelPackage:
    """Write the package with one state dict for each member, and give it back as it is read from there.

    `folder` must not exist yet, and `package.folder` and `package.weights` play no part. Nothing is left behind if
    anything does not fit: the fields, the weights and the network, or the disk.
    """
    folder = Path(folder)
    if folder.exists():
        raise InputError(f"{folder} exists already: choose another name or remove it first.")
    if not states or not licence_text.strip():
        raise InputError(f"{folder.name} needs weights and the text of a licence: give both.")
    where = f"{folder.name}/{METADATA}"
    package = _as_it_will_be_read(folder, package, len(states), where)
    check_package(package, where)
    folder.parent.mkdir(parents=True, exist_ok=True)
    workshop = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        draft = _placed(package, workshop / folder.name)
        _write_files(draft, states, licence_text)
        if read_package(draft.folder) != draft:
            raise InputError(f"{where} would not say what was asked: give texts without surrounding blanks or links.")
        for member in range(len(states)):
            check_weights(draft, member)
        os.replace(draft.folder, folder)
    finally:
        shutil.rmtree(workshop)
    return package


def _as_it_will_be_read(folder: Path, package: ModelPackage, members: int, where: str) -> ModelPackage:
    """With its new place, and with what JSON makes of the free fields (tuples become lists)."""
    names = [f"member_{n + 1}" for n in range(members)] if members > 1 else ["model"]
    try:
        free = {key: _plain(getattr(package, key)) for key in ("training", "scores", "network")}
    except (TypeError, ValueError) as error:
        raise InputError(f"{where} cannot hold the training, scores or network as they are: {error}.") from None
    free["network"] = check_network(free["network"], where)
    weights = tuple(folder / "models" / f"{name}.safetensors" for name in names)
    return dataclasses.replace(package, folder=folder, weights=weights, **free)


def _placed(package: ModelPackage, folder: Path) -> ModelPackage:
    weights = tuple(folder / path.relative_to(package.folder) for path in package.weights)
    return dataclasses.replace(package, folder=folder, weights=weights)


def _write_files(package: ModelPackage, states: Sequence[Mapping[str, torch.Tensor]], licence_text: str) -> None:
    from safetensors.torch import save_file

    for name in ("configs", "models", "docs"):
        (package.folder / name).mkdir(parents=True)
    _write_json(package.folder / METADATA, _metadata(package))
    _write_json(package.folder / "configs/inference.json", {"network_def": package.network})
    (package.folder / "LICENSE").write_text(licence_text, encoding="utf-8")
    (package.folder / "docs/README.md").write_text(card(package), encoding="utf-8")
    for path, state in zip(package.weights, states, strict=True):
        # Cloned, because safetensors refuses tensors that share memory, as tied weights do.
        own = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
        save_file(own, path, metadata={"format": "pt"})


def _metadata(package: ModelPackage) -> dict[str, Any]:
    """As the schema of MONAI Bundles has it, and our own keys below it."""
    channels = package.network["out_channels"]
    names = {label.value: label.name for label in package.labels}
    background = {"0": "background"} if package.activation == "softmax" else {"0": names[1]}
    side = list(package.sliding.patch)
    tensor = {"type": "image", "spatial_shape": side, "dtype": "float32", "value_range": [], "is_patch_data": True}
    image = {"format": "magnitude", "modality": package.modality, "num_channels": 1, "channel_def": {"0": "image"}}
    defined = background | {str(value): names[value] for value in sorted(names) if value < channels}
    own = {
        key: _plain(dataclasses.asdict(package)[key])
        for key in (
            *("id", "licence", "labels", "preprocessing", "sliding", "activation"),
            *("uncertainty", "keep_largest", "keep_surest", "training", "scores"),
        )
    }
    members = [path.relative_to(package.folder).as_posix() for path in package.weights]
    return {
        "version": package.version,
        "monai_version": _version("monai"),
        "pytorch_version": _version("torch"),
        "numpy_version": _version("numpy"),
        "name": package.title,
        "task": f"Segmentation of {', '.join(names.values())}",
        "description": package.description,
        "authors": "",
        "copyright": "",
        "intended_use": "Research use, not a medical device",
        "network_data_format": {
            "inputs": {"image": tensor | image},
            "outputs": {
                "pred": tensor | {"format": "segmentation", "num_channels": channels, "channel_def": defined},
            },
        },
        "sslsegmentation": {"format": FORMAT, **own, "members": members},
    }


def _plain(value: Any) -> Any:
    """What is left of a value after a way through JSON; raises TypeError or ValueError where it has no place there."""
    return json.loads(json.dumps(value, allow_nan=False))


def _write_json(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""
