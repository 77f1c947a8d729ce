"""Provenance: how the labels of a case came about. It is written beside them, for whoever trains on them later."""

from __future__ import annotations

import getpass
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from SSLSegmentationLib import __version__
from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.io.atomic import replacing

Operation = Literal["segment", "prompt", "refine", "propagate", "split", "paint", "import"]
Outcome = Literal["accepted", "rejected", "undone", "redone"]


def now() -> str:
    """The time with its zone, to the second."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


@dataclass(frozen=True)
class Model:
    id: str
    version: str = ""
    weights_sha256: str = ""


@dataclass(frozen=True)
class Step:
    """One thing that was done to the labels, or offered and not taken."""

    operation: Operation
    outcome: Outcome
    segment: str = ""
    """The name of the segment; empty if the step concerned several."""
    prompts: tuple[Mapping[str, Any], ...] = ()
    """In RAS millimetres, as they are sent to an engine."""
    model: Model | None = None
    added: int = 0
    removed: int = 0
    """Voxels."""
    when: str = ""


@dataclass(frozen=True)
class Provenance:
    scan: str = ""
    """SHA-256 of the scan's voxels and of its geometry to a ten-thousandth of a millimetre; the dataset fills it in."""
    model: Model | None = None
    """What made the first labels."""
    history: tuple[Step, ...] = ()
    left_out: int = 0
    """Steps before these, which were too many to keep."""
    by_hand: int = 0
    """Voxels that were painted or erased by hand since the model's last result."""
    by: str = ""
    """Who answers for the labels, in their own words."""
    when: str = field(default_factory=now)
    software: str = f"sslsegmentation {__version__}"
    source: Mapping[str, str] = field(default_factory=dict)
    """What the scan is called where it came from. Empty unless the user asked for it: names tell who a patient is."""


def this_user() -> str:
    """Who is logged in, where nobody gives a name."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no name in a container
        return ""


def write_provenance(path: Path, provenance: Provenance) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(asdict(provenance), indent=1, allow_nan=False) + "\n", "utf-8")


def read_provenance(path: Path) -> Provenance:
    """What a newer program has added is passed over."""
    try:
        said = json.loads(path.read_text("utf-8"))
        steps = tuple(
            _known(Step, step | {"prompts": tuple(step.get("prompts", ())), "model": _model(step.get("model"))})
            for step in said.get("history", ())
        )
        return _known(Provenance, said | {"history": steps, "model": _model(said.get("model"))})
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path} cannot be read as the history of a case ({error}): export the case again.") from error


def _model(said: Mapping[str, Any] | None) -> Model | None:
    return None if said is None else _known(Model, said)


def _known(kind: Any, said: Mapping[str, Any]) -> Any:
    return kind(**{name: said[name] for name in kind.__dataclass_fields__ if name in said})
