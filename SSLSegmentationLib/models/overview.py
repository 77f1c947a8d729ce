"""Every model there is: installed here, known to the catalogue, or both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from SSLSegmentationLib.models import store
from SSLSegmentationLib.models.catalogue import Entry, load_catalogue
from SSLSegmentationLib.models.store import Installed, Record

State = Literal["installed", "bundled", "damaged", "available", "by hand"]


@dataclass(frozen=True)
class Known:
    id: str
    entry: Entry | None
    """What the catalogue says of it."""
    model: Installed | None
    """What is there of it on this machine."""

    @property
    def about(self) -> Record | Entry:
        """Title, licence and the like: of what is there, unless that is damaged and the catalogue knows better."""
        return self.model.record if self.model and (not self.model.damage or self.entry is None) else self.entry

    @property
    def state(self) -> State:
        if self.model is None:
            return "available" if self.entry.address else "by hand"
        if self.model.damage:
            return "damaged"
        return "bundled" if self.model.bundled else "installed"

    @property
    def bytes(self) -> int | None:
        """Of the files that are there, else of the download; None if nobody knows."""
        return self.model.bytes if self.model else self.entry.bytes


def known_models(folder: Path | str | None = None, catalogue: Mapping[str, Entry] | None = None) -> list[Known]:
    """Those that are here first, then the others of the catalogue."""
    entries = load_catalogue() if catalogue is None else catalogue
    here = {model.id: model for model in store.installed(folder)}
    return [Known(id_, entries.get(id_), here.get(id_)) for id_ in dict.fromkeys([*here, *entries])]
