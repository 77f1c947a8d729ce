"""What the labels of a folder are called: dataset.json, labels.json or a colour table, whichever it has."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.models.bundle import color
from SSLSegmentationLib.phantom.names import organ_labels

_MOST = 255  # truth is stored as bytes


def named_labels(folder: Path) -> tuple[Label, ...] | None:
    """The labels a folder names, by rising value; None where it names none."""
    described = describing(folder, "dataset.json")
    ours = described.get("sslsegmentation", {})  # with colours and terminology, which nnU-Net has no place for
    for file, table in (
        ("dataset.json", ours["labels"] if isinstance(ours, dict) and "labels" in ours else described.get("labels")),
        ("labels.json", describing(folder, "labels.json") or None),
    ):
        if table is not None:
            return _from_table(table, file)
    for path in sorted([*folder.glob("*.ctbl"), *folder.glob("labels.txt")]):
        return _from_color_table(path)
    return None


def unnamed_labels(values: Iterable[int]) -> tuple[Label, ...]:
    """Labels for values that nobody has named."""
    return tuple(Label(value, f"label {value}", color(value)) for value in sorted(values))


def describing(folder: Path, name: str) -> dict[str, Any]:
    """The table in a JSON file of the folder; empty where there is no such file."""
    path = folder / name
    if not path.is_file():
        return {}
    try:
        table = json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be understood ({error}): correct it.") from None
    if not isinstance(table, dict):
        raise InputError(f"{path} holds no table of names and values: correct it.")
    return table


def _from_table(table: Any, file: str) -> tuple[Label, ...]:
    """{"spleen": 1}, {"1": "spleen"}, or {"labels": [{"value": 1, "name": "spleen", "color": [157, 108, 162]}]}."""
    if isinstance(table, Mapping) and isinstance(table.get("labels"), (list, Mapping)):
        table = table["labels"]
    found = []
    try:
        if isinstance(table, Mapping):
            for key, value in table.items():
                name, number = (value, int(key)) if isinstance(value, str) else (key, value)
                found.append(_label(number, name))
        else:
            for entry in table:
                known = _label(entry["value"], entry["name"])
                rgb = _unit(entry["color"]) if "color" in entry else known.color
                found.append(replace(known, color=rgb, terminology=entry.get("terminology", known.terminology)))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f'{file} has labels that cannot be used ({error}): write each as "name": value, with whole numbers.'
        ) from None
    return _checked(found, file)


def _from_color_table(path: Path) -> tuple[Label, ...]:
    """A colour table of 3D Slicer: value, name, red, green, blue and opacity in each line."""
    found = []
    for line in path.read_text("utf-8-sig").splitlines():
        parts = line.split()
        if not parts or parts[0].startswith("#"):
            continue
        try:
            value, name, rgb = int(parts[0]), parts[1].replace("_", " "), [int(part) for part in parts[2:5]]
            found.append(replace(_label(value, name), color=_unit(rgb)))
        except (ValueError, IndexError):
            raise InputError(
                f'{path.name} has the line "{line.strip()}", where a colour table has value, name, red, green and '
                "blue: correct it."
            ) from None
    return _checked(found, path.name)


def _unit(rgb: Sequence[float]) -> tuple[float, float, float]:
    """From 0 to 1, whether it was written so or from 0 to 255."""
    red, green, blue = (float(part) / (255 if max(rgb) > 1 else 1) for part in rgb)
    return red, green, blue


def _label(value: Any, name: Any) -> Label:
    """With the colour and the terminology of the organ, where the name is that of one we know."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f'"{name}" is {value!r}, which is no whole number')
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise ValueError(f"{name!r} is no name")
    organs = {organ.name.lower(): organ for organ in organ_labels()}
    organ = organs.get(name.strip().lower().replace("_", " "))
    return replace(organ, value=value, name=name.strip()) if organ else Label(value, name.strip(), color(value))


def _checked(labels: list[Label], file: str) -> tuple[Label, ...]:
    labels = sorted((label for label in labels if label.value != 0), key=lambda label: label.value)
    values, names = [label.value for label in labels], [label.name for label in labels]
    if any(label.name == "ignore" for label in labels):
        raise InputError(
            f'{file} has an "ignore" label, which is not supported: name what each case annotates instead.'
        )
    if not labels or len(set(values)) < len(values) or len(set(names)) < len(names) or not 1 <= values[0] <= _MOST:
        raise InputError(
            f"{file} needs labels with different names and different values from 1 to {_MOST}: correct it."
        )
    if values[-1] > _MOST:
        raise InputError(f"{file} has the label value {values[-1]}, but values go up to {_MOST}: number them anew.")
    return tuple(labels)
