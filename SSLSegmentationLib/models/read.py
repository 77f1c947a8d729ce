"""Read a model package: a folder of our own, or a bundle of the MONAI Model Zoo. Nothing of it is ever run."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import re
import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.models import bundle
from SSLSegmentationLib.models.configs import find_config, inside, read_data
from SSLSegmentationLib.models.package import IntensityRule, ModelPackage, Preprocessing, Sliding, UncertaintyRule
from SSLSegmentationLib.volume import AXIS_LETTERS

FORMAT = 1
"""Version of our keys in the metadata. A program refuses packages with a higher number."""

METADATA = "configs/metadata.json"
WEIGHTS_ENDINGS = (".safetensors", ".pt", ".pth")

_OWN_KEYS = {
    "format",
    "id",
    "licence",
    "labels",
    "preprocessing",
    "sliding",
    "activation",
    "uncertainty",
    "keep_largest",
    "keep_surest",
    "training",
    "scores",
    "members",
}
_LICENCES = (
    ("Apache License", "Apache-2.0"),
    ("MIT License", "MIT"),
    ("BSD 3-Clause", "BSD-3-Clause"),
    ("Attribution-NonCommercial-ShareAlike 4.0", "CC-BY-NC-SA-4.0"),
    ("Attribution-NonCommercial 4.0", "CC-BY-NC-4.0"),
    ("Attribution-ShareAlike 4.0", "CC-BY-SA-4.0"),
    ("Attribution 4.0", "CC-BY-4.0"),
)


def read_package(folder: Path) -> ModelPackage:
    """All that a package says about its model. Weights are not opened, so this is fast and needs no torch.

    What our own keys ("sslsegmentation" in the metadata) do not say is taken from the bundle's own configuration.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: name the folder of a model package.")
    name = folder.resolve().name
    where = f"{name}/{METADATA}"
    metadata = read_data(inside(folder, METADATA, where), where)
    own = _own_keys(metadata, where)
    config = find_config(folder, "inference")

    modality = bundle.modality(metadata, where)
    network = bundle.network(config)
    channels = network.get("out_channels")
    if isinstance(channels, bool) or not isinstance(channels, int) or channels < 1:
        raise config.refuse("network_def", 'does not say its "out_channels": add them.')

    def own_or(key: str, kind: Any, other: Any) -> Any:
        return from_plain(kind, own[key], f'{where}: "sslsegmentation.{key}"') if key in own else other()

    activation, largest = "softmax", ()
    if not {"activation", "keep_largest"} <= own.keys():
        activation, largest = bundle.finishing(config, channels)
    package = ModelPackage(
        folder=folder,
        id=own_or("id", str, lambda: re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "model"),
        title=_text(metadata, "name", name, where),
        version=_text(metadata, "version", "", where),
        modality=modality,
        licence=own_or("licence", str, lambda: _licence(folder, metadata, where)),
        labels=own_or("labels", tuple[Label, ...], lambda: bundle.labels(metadata, channels, where)),
        network=network,
        weights=_members(folder, own["members"], where) if "members" in own else bundle.weights(folder),
        sliding=own_or("sliding", Sliding, lambda: bundle.sliding(config)),
        preprocessing=own_or("preprocessing", Preprocessing, lambda: bundle.preprocessing(config)),
        activation=own_or("activation", Literal["softmax", "sigmoid"], lambda: activation),
        uncertainty=own_or("uncertainty", UncertaintyRule, UncertaintyRule),
        keep_largest=own_or("keep_largest", tuple[int, ...], lambda: largest),
        keep_surest=own_or("keep_surest", tuple[int, ...], tuple),
        description=_text(metadata, "description", "", where),
        training=own_or("training", dict[str, Any], dict),
        scores=own_or("scores", dict[str, Any], dict),
    )
    check_package(package, where)
    return package


def package_hash(package: ModelPackage) -> str:
    """SHA-256 of the weights: that of the file, or that of the members' hashes in a row."""
    hashes = []
    for path in package.weights:
        try:
            with path.open("rb") as file:
                hashes.append(hashlib.file_digest(file, "sha256").hexdigest())
        except OSError as error:
            raise InputError(
                f"{package.id}: {path.name} cannot be read ({error.strerror}): get the package again."
            ) from None
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def check_package(package: ModelPackage, where: str) -> None:
    """Refuse a package whose numbers cannot be meant."""
    values = [label.value for label in package.labels]
    channels = package.network.get("out_channels")
    expected = list(range(1, channels)) if package.activation == "softmax" else [1]
    rules, rule = [], package.preprocessing.intensity
    while rule is not None:
        rules.append(rule)
        rule = rule.then
    spacing, sliding, doubt = package.preprocessing.spacing, package.sliding, package.uncertainty
    problems = (
        ("id", not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", package.id), "letters, digits, dots and dashes"),
        ("labels", sorted(values) != expected, f"one label for each output channel: {_listed(expected)}"),
        ("labels", not all(_is_title(label.name) for label in package.labels), "short names in one line"),
        ("labels", not all(0 <= c <= 1 for label in package.labels for c in label.color), "colours from 0 to 1"),
        ("activation", package.activation == "sigmoid" and channels != 1, "softmax for more than one output channel"),
        ("keep_largest", not set(package.keep_largest) <= set(values), "values of labels"),
        ("keep_surest", not set(package.keep_surest) <= set(values), "values of labels"),
        ("preprocessing.orientation", not _is_orientation(package.preprocessing.orientation), "letters such as RAS"),
        ("preprocessing.spacing", spacing and not all(0 < s <= 100 for s in spacing), "millimetres up to 100"),
        ("preprocessing.intensity", not all(map(_is_rule, rules)), "low below high, and percentiles from 0 to 100"),
        ("preprocessing.intensity.then", len(rules) > 4, "at most four rules in a row"),
        ("sliding.patch", not all(1 <= n <= 1024 for n in sliding.patch), "sides from 1 to 1024 voxels"),
        ("sliding.overlap", not 0 <= sliding.overlap < 0.95, "a part from 0 to below 0.95"),
        ("uncertainty.temperature", not 1e-3 <= doubt.temperature <= 1e3, "a number from 0.001 to 1000"),
        ("uncertainty.passes", not 1 <= doubt.passes <= 1000, "a number from 1 to 1000"),
        ("uncertainty.flip_axes", not {0, 1, 2} >= set(doubt.flip_axes), "axes 0, 1 and 2"),
        ("uncertainty.source", doubt.source == "members" and len(package.weights) < 2, "two or more members for that"),
        ("members", not package.weights, "at least one weights file"),
    )
    for key, wrong, needed in problems:
        if wrong:
            raise InputError(f'{where}: "{key}" cannot be used: it needs {needed}.')


def from_plain(kind: Any, value: Any, where: str) -> Any:
    """A value of JSON as the type of a data class's field, with an error that names the place where it is not."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        return from_plain(next(k for k in inner if k is not type(None)), value, where)
    if origin is Literal:
        if value not in inner:
            raise InputError(f"{where} is {value!r}: it has to be one of {', '.join(map(str, inner))}.")
        return value
    if origin is tuple:
        return _tuple_from_plain(inner, value, where)
    if dataclasses.is_dataclass(kind):
        return _record_from_plain(kind, value, where)
    fits = {
        float: isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value),
        int: isinstance(value, int) and not isinstance(value, bool),
        bool: isinstance(value, bool),
        str: isinstance(value, str),
    }.get(kind, isinstance(value, dict))
    if not fits:
        name = {float: "a number", int: "a whole number", bool: "true or false", str: "a text"}.get(kind, "a table")
        raise InputError(f"{where} is {_shown(value)}: it has to be {name}.")
    return float(value) if kind is float else value


def _tuple_from_plain(inner: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list) or (... not in inner and len(value) != len(inner)):
        count = "" if ... in inner else f" of {len(inner)}"
        raise InputError(f"{where} is {_shown(value)}: it has to be a list{count}.")
    kinds = [inner[0]] * len(value) if ... in inner else inner
    return tuple(
        from_plain(k, item, f"{where}, item {n},") for n, (k, item) in enumerate(zip(kinds, value, strict=True))
    )


def _record_from_plain(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise InputError(f"{where} is {_shown(value)}: it has to be a table.")
    hints = get_type_hints(kind)
    if unknown := sorted(set(value) - set(hints)):
        raise InputError(f"{where} has no key {_shown(unknown[0])}: it knows {', '.join(hints)}.")
    given = {key: from_plain(hints[key], item, f"{where}.{key}") for key, item in value.items()}
    for field in dataclasses.fields(kind):
        if field.name not in given and field.default is field.default_factory is dataclasses.MISSING:
            raise InputError(f'{where} lacks "{field.name}": add it.')
    return kind(**given)


def _own_keys(metadata: dict[str, Any], where: str) -> dict[str, Any]:
    own = metadata.get("sslsegmentation")
    if own is None:
        return {}
    if not isinstance(own, dict):
        raise InputError(f'{where}: "sslsegmentation" is {_shown(own)}: it has to be a table.')
    number = own.get("format")
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise InputError(f'{where}: "sslsegmentation.format" is {_shown(number)}: it has to be {FORMAT}.')
    if number > FORMAT:
        raise InputError(
            f"{where} is of format {number}, but this program knows formats up to {FORMAT}: install a newer version."
        )
    if unknown := sorted(set(own) - _OWN_KEYS):
        raise InputError(
            f'{where}: "sslsegmentation" has no key {_shown(unknown[0])}: it knows {", ".join(sorted(_OWN_KEYS))}.'
        )
    return own


def _members(folder: Path, names: Any, where: str) -> tuple[Path, ...]:
    at = f'{where}: "sslsegmentation.members"'
    paths = tuple(inside(folder, name, at) for name in from_plain(tuple[str, ...], names, at))
    for path in paths:
        if path.suffix not in WEIGHTS_ENDINGS:
            raise InputError(f"{at} names {path.name}: weights have to be .safetensors files (or .pt, .pth).")
    return paths


def _licence(folder: Path, metadata: dict[str, Any], where: str) -> str:
    """The short name of the licence in the file, or how its text begins."""
    path = inside(folder, "LICENSE", where)
    if not path.is_file():
        return _text(metadata, "license", "", where)
    with path.open("rb") as file:
        text = file.read(4000).decode("utf-8", "replace")
    for words, name in _LICENCES:
        if words.lower() in text.lower():
            return name
    return next((line.strip()[:80] for line in text.splitlines() if line.strip()), "")


def _text(metadata: dict[str, Any], key: str, default: str, where: str) -> str:
    value = metadata.get(key, default)
    if not isinstance(value, str):
        raise InputError(f'{where}: "{key}" is {_shown(value)}: it has to be a text.')
    return value


def _is_title(text: str) -> bool:
    return 0 < len(text.strip()) <= 200 and text.isprintable()


def _is_orientation(letters: str) -> bool:
    return len(letters) == 3 and all(any(letter in pair for letter in letters) for pair in AXIS_LETTERS)


def _is_rule(rule: IntensityRule) -> bool:
    if rule.kind in {"none", "zscore"}:
        return True
    within = rule.kind == "window" or (rule.low >= 0 and rule.high <= 100)
    return within and rule.low < rule.high and rule.out_low < rule.out_high


def _listed(values: list[int]) -> str:
    return ", ".join(map(str, values)) if len(values) < 4 else f"{values[0]} to {values[-1]}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"
