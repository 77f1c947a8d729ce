"""The course of a training as a table of step, name and value; and its reading."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path

from SSLSegmentationLib.io.atomic import replacing

_HEAD = "step,name,value\n"


def append(path: Path, step: int, values: Mapping[str, float]) -> None:
    new = not path.exists()
    with path.open("a", encoding="utf-8") as file:
        file.write((_HEAD if new else "") + "".join(f"{step},{name},{value:.7g}\n" for name, value in values.items()))


def read(path: Path) -> dict[str, tuple[list[int], list[float]]]:
    """The steps and values of every name. A line that was cut short, by whatever ended the run, is left out."""
    found: dict[str, tuple[list[int], list[float]]] = {}
    if not path.exists():
        return found
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.reader(file):
            if len(row) != 3 or not row[0].isdecimal() or not _is_number(row[2]):
                continue
            steps, values = found.setdefault(row[1], ([], []))
            steps.append(int(row[0]))
            values.append(float(row[2]))
    return found


def forget_after(path: Path, step: int) -> None:
    """Drop what was written beyond a step that is gone back to."""
    if not path.exists():
        return
    with path.open(encoding="utf-8") as file:
        kept = [line for line in file if _is_kept(line, step)]
    with replacing(path) as temporary:
        temporary.write_text(_HEAD + "".join(kept), encoding="utf-8")


def _is_kept(line: str, step: int) -> bool:
    parts = line.rstrip("\n").split(",")
    return line.endswith("\n") and len(parts) == 3 and parts[0].isdecimal() and int(parts[0]) <= step


def _is_number(text: str) -> bool:
    try:
        return not math.isinf(float(text))
    except ValueError:
        return False
