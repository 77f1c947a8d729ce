"""The configuration files of a package, read as data: references are followed, expressions are never run.

A MONAI Bundle writes "@a#b" for "the value of b in a", "%a#b" for a copy of it (also from another file), and "$..." for
Python code. Code is refused where its value is needed, and never looked at elsewhere.
"""

from __future__ import annotations

import json
import re
from pathlib import Path, PureWindowsPath
from typing import Any

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.io.text import text_of

_MOST_VALUES = 100_000  # looked up in one file: references can multiply a few lines into billions of values
_DEEPEST = 60

_REFERENCE = re.compile(r"[@%]\w[\w.\- ]*(?:(?:#|::)[\w.\- ]+)*")
_FILE_MACRO = re.compile(r"%(.+\.(?:json|ya?ml))(?:#|::)?(.*)", re.IGNORECASE)


class Config:
    """One file of a package. A key such as "inferer#roi_size" or "preprocessing#transforms#0" names a value in it."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.where = f"{folder.name}/{name}"
        self._values_seen = 0
        self._data = read_data(inside(folder, name, self.where), self.where)

    def has(self, key: str) -> bool:
        return key in self._data

    def get(self, key: str) -> Any:
        """The value of a key with everything inside it, references followed."""
        return self._whole(self.shallow(key), key, 0)

    def shallow(self, key: str) -> Any:
        """The value of a key; what a dict or list holds is left as it is written, so that it may hold expressions."""
        return self._walk(key, 0)

    def refuse(self, key: str, fact: str) -> InputError:
        """An error that names the file and the key."""
        return InputError(f'{self.where}: "{key}" {fact}')

    def _walk(self, key: str, depth: int) -> Any:
        value: Any = self._data
        for position, part in enumerate(parts := re.split("#|::", key)):
            here = "#".join(parts[: position + 1])
            try:
                value = value[int(part)] if isinstance(value, list) else value[part]
            except (LookupError, TypeError, ValueError):
                raise self.refuse(here, "is missing: add it, or get the package again from its author.") from None
            value = self._follow(value, here, depth)
        return value

    def _follow(self, value: Any, key: str, depth: int) -> Any:
        """What a reference or macro stands for; other values as they are."""
        self._values_seen += 1
        if depth > _DEEPEST or self._values_seen > _MOST_VALUES:
            raise self.refuse(key, "refers to itself or to too many values: write the values out.")
        if not isinstance(value, str):
            return value
        if value.startswith("$"):
            raise self.refuse(
                key,
                f'is the expression "{_short(value)}", and code in packages is never run: '
                "write the value that it gives instead.",
            )
        if macro := _FILE_MACRO.fullmatch(value):
            other = Config(self.folder, macro[1])
            return self._follow(other._walk(macro[2], depth + 1) if macro[2] else other._data, key, depth + 1)
        if _REFERENCE.fullmatch(value):
            return self._walk(value[1:], depth + 1)
        if value[:2] in {"@#", "@:", "%#", "%:"}:
            raise self.refuse(
                key, f'is the relative reference "{_short(value)}": write it from the top of the file, such as "@name".'
            )
        return value

    def _whole(self, value: Any, key: str, depth: int) -> Any:
        if isinstance(value, dict):
            items = ((name, f"{key}#{name}", item) for name, item in value.items())
            return {name: self._whole(self._follow(item, at, depth + 1), at, depth + 1) for name, at, item in items}
        if isinstance(value, list):
            items = ((f"{key}#{index}", item) for index, item in enumerate(value))
            return [self._whole(self._follow(item, at, depth + 1), at, depth + 1) for at, item in items]
        return value


def find_config(folder: Path, stem: str) -> Config:
    """`configs/<stem>` as JSON or YAML, whichever the package has."""
    names = [f"configs/{stem}.{ending}" for ending in ("json", "yaml", "yml")]
    for name in names:
        if (folder / name).exists():
            return Config(folder, name)
    raise InputError(f"{folder.name} has no {names[0]}: a model package is a folder with configs/ and models/ in it.")


def read_data(path: Path, where: str) -> dict[str, Any]:
    """The top level of a JSON or YAML file, which has to be a table of names and values."""
    text = text_of(path, where, "get the package again.")
    try:
        data = json.loads(text, parse_constant=_no_constant) if path.suffix.lower() == ".json" else _yaml(text)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else _short(str(error))
        raise InputError(f"{where} cannot be understood ({reason}): correct it or get the package again.") from None
    if not _is_shallow(data):
        raise InputError(f"{where} is nested more than {_DEEPEST} levels deep: write it flatter.")
    if not isinstance(data, dict):
        raise InputError(f"{where} holds no table of names and values: get the package again.")
    return data


def inside(folder: Path, name: str, where: str) -> Path:
    """The path of a file that a package names, which has to lie in the package, also when links are followed."""
    parts = PureWindowsPath(name)  # knows drive letters and both kinds of slashes, on every system
    if not parts.parts or parts.anchor or ".." in parts.parts:
        raise InputError(f'{where} names the file "{_short(name)}", which is not in the package: name one inside it.')
    path = folder.joinpath(*parts.parts)
    try:
        real, root = path.resolve(), folder.resolve()
    except (OSError, RuntimeError, ValueError):
        raise InputError(f'{where} names the file "{_short(name)}", which cannot be found: correct the name.') from None
    if not real.is_relative_to(root):
        raise InputError(f'{where} names "{_short(name)}", a link out of the package: put the file itself there.')
    return path


def _yaml(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None


def _is_shallow(data: Any) -> bool:
    """Whether lists and tables end above the deepest level; YAML can even put a list into itself."""
    level = {0: data}
    for _ in range(_DEEPEST):
        inner = (v.values() if isinstance(v, dict) else v for v in level.values() if isinstance(v, (dict, list)))
        level = {id(item): item for items in inner for item in items}
        if not level:
            return True
    return False


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number in JSON")


def _short(text: str, most: int = 120) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"
