"""Presets: YAML files that give a method's hyperparameters and its training; and changes to them from the command line.

    method: supervised
    settings: {optimiser: {lr: 0.01}}     fields of the method's Settings
    training: {steps: 6000}               fields of trainer.run.Training

What a file leaves out keeps its default.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.models.configs import read_data
from SSLSegmentationLib.models.read import from_plain
from trainer.methods import method_class
from trainer.run import Training

CONFIGS = Path(__file__).parent / "configs"

_POWER_OF_TEN = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")


def presets_of(method: str) -> dict[str, Path]:
    """The presets a method comes with; "default" is there for each."""
    found = {"default": CONFIGS / f"{method}.yaml"}
    return found | {path.name.split(".")[1]: path for path in sorted(CONFIGS.glob(f"{method}.*.yaml"))}


def load(method: str, preset: str = "default", changes: Sequence[str] = ()) -> tuple[Any, Training]:
    """The method's settings and the training of a preset (its name, or a file), with "key=value" changes."""
    kind = method_class(method)
    data = _read(method, preset)
    tables = {name: data.get(name) or {} for name in ("settings", "training")}
    fields = {
        "settings": [field.name for field in dataclasses.fields(kind.Settings)],
        "training": [field.name for field in dataclasses.fields(Training)],
    }
    for change in changes:
        _change(tables, fields, change, method)
    where = f"{method} ({preset})"
    settings = from_plain(kind.Settings, _numbers(tables["settings"]), f"{where}: settings")
    training = from_plain(Training, _numbers(tables["training"]), f"{where}: training")
    _check(training, where)
    return settings, training


def _read(method: str, preset: str) -> dict[str, Any]:
    known = presets_of(method)
    path = known.get(preset) or Path(preset).expanduser()
    if preset == "default" and not path.is_file():
        return {}
    if not path.is_file():
        raise InputError(
            f'{method} has no preset "{preset}": choose one of {", ".join(known)}, or name a YAML file that exists.'
        )
    data = read_data(path, path.name)
    if unknown := sorted(set(data) - {"method", "settings", "training"}):
        raise InputError(f'{path.name} has no key "{unknown[0]}": it knows method, settings and training.')
    if data.get("method", method) != method:
        raise InputError(
            f"{path.name} is a preset of {data['method']}: give --method {data['method']}, or another file."
        )
    return data


def _change(tables: dict[str, Any], fields: dict[str, list[str]], change: str, method: str) -> None:
    import yaml

    key, equals, text = change.partition("=")
    parts = key.strip().split(".")
    if parts[0] in tables and len(parts) > 1:
        table, parts = parts[0], parts[1:]
    else:
        table = next((name for name, known in fields.items() if parts[0] in known), "")
    if not equals or not table or parts[0] not in fields[table]:
        raise InputError(
            f"--set {change} changes nothing that {method} knows: write key=value with a key of "
            f"{', '.join(fields['settings'] + fields['training'])}, and dots for what lies inside (optimiser.lr=0.01)."
        )
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise InputError(f"--set {change}: the value cannot be read, write it as in a YAML file.") from None
    place = tables[table]
    for part in parts[:-1]:
        place = place.setdefault(part, {})
        if not isinstance(place, dict):
            raise InputError(f'--set {change}: "{part}" holds nothing that could be set: leave out what follows it.')
    place[parts[-1]] = value


def _numbers(value: Any) -> Any:
    """1e-4 is a text to YAML, which wants 1.0e-4; whoever writes it means the number."""
    if isinstance(value, dict):
        return {key: _numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    return float(value) if isinstance(value, str) and _POWER_OF_TEN.fullmatch(value) else value


def _check(training: Training, where: str) -> None:
    problems = (
        ("steps", training.steps < 1, "1 or more"),
        ("seed", training.seed < 0, "0 or more"),
        ("devices", training.devices < 1, "1 or more"),
        ("nodes", training.nodes < 1, "1 or more"),
        ("clip", training.clip < 0, "0 (none) or more"),
        ("average", not 0 <= training.average < 1, "from 0 to below 1"),
        ("start_share", not 0 <= training.start_share < 1, "from 0 to below 1"),
        ("workers", not -1 <= training.workers <= 256, "-1 (chosen for you) to 256"),
        ("log_every", training.log_every < 1, "1 or more"),
        ("save_every", training.save_every < 1, "1 or more"),
        ("validate_every", training.validate_every < 1, "1 or more"),
        ("validate_on", training.validate_on < 0, "0 (none) or more"),
    )
    for key, wrong, needed in problems:
        if wrong:
            raise InputError(f"{where}: training.{key} is {getattr(training, key)}, but it has to be {needed}.")
