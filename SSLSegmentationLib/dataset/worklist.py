"""Work list: the scans that were segmented, the one the model doubts most first, and who works on which.

It is the folder that `sslseg batch` writes. What people do with a case lies beside its results, so that several people
can share the folder:

    CASE/claim.json      somebody has it open (created by one of them only, however many try)
    CASE/review.json     it is done, or was skipped
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from SSLSegmentationLib.dataset.provenance import Model
from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.io.atomic import replacing
from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.steps import Steps, finish

State = Literal["open", "taken", "done", "skipped"]

REPORT, CLAIM, REVIEW = "report.json", "claim.json", "review.json"
SEGMENTATION, UNCERTAINTY = "segmentation.seg.nrrd", "uncertainty.nii.gz"
_ABANDONED = timedelta(hours=12)


@dataclass(frozen=True)
class Item:
    name: str
    folder: Path
    """With segmentation, uncertainty and report."""
    scan: Path
    series: str | None
    doubt: float
    """Doubtful volume as a share of what was found, 0 to 1; the order of the list."""
    ml: float
    """What was found in all."""
    flags: tuple[str, ...]
    """What a reader should know before opening it."""
    state: State
    by: str = ""
    """Who has it, or who reviewed it."""


class WorkList:
    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder).expanduser().resolve()
        if not self.folder.is_dir():
            raise InputError(f"{self.folder} is not a folder: name the one that `sslseg batch` has written.")

    def items(self) -> list[Item]:
        """All cases, the most doubtful first."""
        return finish(self.reading())

    def reading(self) -> Steps[list[Item]]:
        """The same case by case, for a window: the folder may lie on a slow drive."""
        found = []
        for folder in sorted(self.folder.iterdir()):
            item = self._item(folder)
            if item is not None:
                found.append(item)
            yield
        return sorted(found, key=lambda item: (-item.doubt, item.name))

    def next(self, by: str) -> Item | None:
        """The case to work on: the one this person has open, else the most doubtful that is free; None if all is done.

        From here on nobody else gets it, until it is done, skipped or given back.
        """
        items = self.items()
        for item in items:
            if item.state == "taken" and item.by == by:
                self._claim_again(item, by)
                return item
        for item in items:
            if item.state == "open" and self._claim(item, by):
                return item
        return None

    def take(self, name: str, by: str) -> Item:
        """A certain case; refused if somebody else has it."""
        item = self._named(name)
        if item.state == "taken" and item.by != by:
            raise InputError(f"{item.by} has {name} open: choose another case, or ask.")
        with suppress(FileNotFoundError):
            (item.folder / REVIEW).unlink()
        if not self._claim(item, by) and self._holder(item.folder) != by:
            raise InputError(f"Somebody else has just taken {name}: choose another case.")
        return item

    def finish(self, name: str, by: str, state: Literal["done", "skipped"] = "done", note: str = "") -> None:
        item = self._named(name)
        if item.state == "taken" and item.by != by:
            raise InputError(f"{item.by} has {name} open: leave it to them, or ask.")
        _write(item.folder / REVIEW, {"state": state, "by": by, "note": note, "when": _now().isoformat()})
        self.give_back(name, by)

    def give_back(self, name: str, by: str) -> None:
        """Let others have it again."""
        folder = self._named(name).folder
        if self._holder(folder) == by:
            with suppress(FileNotFoundError):
                (folder / CLAIM).unlink()

    def _named(self, name: str) -> Item:
        item = self._item(self.folder / name) if (self.folder / name).parent == self.folder else None
        if item is None:
            raise InputError(f"The work list has no case {name}: see `sslseg worklist show {self.folder}`.")
        return item

    def _item(self, folder: Path) -> Item | None:
        report = _read(folder / REPORT) if folder.is_dir() and not folder.name.startswith(".") else None
        if report is None:
            return None
        review, holder = _read(folder / REVIEW), self._holder(folder)
        state: State = review["state"] if review else "taken" if holder is not None else "open"
        source = report.get("source", {})
        return Item(
            folder.name,
            folder,
            Path(source.get("path", "")),
            source.get("series"),
            float((report.get("doubt") or {}).get("share", 0.0)),
            sum(one["ml"] for one in report["labels"]),
            tuple(_flags(report)),
            state,
            str(review["by"]) if review else holder or "",
        )

    def _holder(self, folder: Path) -> str | None:
        """Who has the case, unless they have left it for half a day."""
        path = folder / CLAIM
        claim = _read(path)
        if claim is None:
            return "somebody" if path.exists() else None  # it is being written at this moment
        return None if _now() - datetime.fromisoformat(claim["when"]) > _ABANDONED else str(claim["by"])

    def _claim(self, item: Item, by: str) -> bool:
        """Whether this person has it now. Of several who try at once only one has."""
        path = item.folder / CLAIM
        if path.exists() and self._holder(item.folder) is None:
            # Abandoned: whoever manages to move it away may try; for all others it is gone.
            aside = path.with_name(f".{secrets.token_hex(8)}")
            with suppress(FileNotFoundError):
                os.rename(path, aside)
                aside.unlink()
        with suppress(FileExistsError), path.open("x", encoding="utf-8") as file:
            file.write(json.dumps({"by": by, "when": _now().isoformat()}))
            return True
        return False

    def _claim_again(self, item: Item, by: str) -> None:
        """It is still being worked on."""
        _write(item.folder / CLAIM, {"by": by, "when": _now().isoformat()})


@dataclass(frozen=True)
class Made:
    """How the segmentation of a case came about."""

    model: Model | None
    labels: tuple[Label, ...]
    """What the model has looked for."""
    absent: tuple[str, ...]
    """Names of what it has not found."""


def made_by(folder: Path) -> Made:
    report = _read(folder / REPORT) or {}
    model, labels = report.get("model") or {}, report.get("labels", ())
    return Made(
        Model(model["id"], model.get("version", ""), model.get("weights_sha256", "")) if "id" in model else None,
        tuple(Label(one["value"], one["name"]) for one in labels if "value" in one),
        tuple(one["name"] for one in labels if not one["voxels"]),
    )


def _flags(report: Mapping[str, Any]) -> Iterator[str]:
    cut = [one["name"] for one in report["labels"] if one["touches_border"] and one["voxels"]]
    missing = [one["name"] for one in report["labels"] if not one["voxels"]]
    if len(missing) == len(report["labels"]):
        yield "nothing found"
    elif missing:
        yield f"not found: {_some(missing)}"
    if cut:
        yield f"cut off: {_some(cut)}"
    yield from report.get("remarks", ())


def _some(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])} and {len(names) - 3} more"


def _read(path: Path) -> dict[str, Any] | None:
    """A small table; None where it is missing, or just being written by somebody else."""
    try:
        said = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return said if isinstance(said, dict) else None


def _write(path: Path, content: Mapping[str, Any]) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, ensure_ascii=False) + "\n", "utf-8")


def _now() -> datetime:
    return datetime.now(UTC)
