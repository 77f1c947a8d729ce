"""Glimpses: slices of a long job are shown as they come, so that one need not wait to see it go wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

import numpy as np
from SSLSegmentationLib.engine import calls
from SSLSegmentationLib.engine.calls import EngineError
from SSLSegmentationLib.proposal import Cropped, Proposal
from SSLSegmentationLib.volume import Volume

from SSLSegmentationUI.Engine import Engine
from SSLSegmentationUI.Errand import Errand

BETWEEN_SECONDS = 0.5
LARGEST_VOXELS = 2_000_000
"""A larger change is drawn once, at the end: drawing it again and again would hold the window."""


class Glimpses:
    def __init__(self, engine: Engine, volume: Volume, show: Callable[[dict[str, Proposal]], None]) -> None:
        self._engine = engine
        self._volume = volume
        self._show = show
        self._numbers: list[int] = []
        self._errand: Errand | None = None
        self._seen: dict[str, Proposal] = {}
        self._shown = 0.0

    def take(self, job: str, number: int) -> None:
        """A partial result is there to be fetched."""
        self._numbers.append(number)
        if self._errand is None or self._errand.ended:
            self._errand = Errand(self._fetching(job), failed=self._passOver).start()

    def end(self) -> None:
        """The whole result has come, or will not."""
        self._numbers.clear()
        if self._errand is not None:
            self._errand.drop()

    def _fetching(self, job: str) -> Generator[Any, Any, None]:
        while self._numbers:
            number = self._numbers.pop(0)
            part = yield self._engine.asking(calls.fetch_partial(job, number, self._volume, packed=self._engine.isFar))
            if isinstance(part, Proposal) and part.mask.size:
                known = self._seen.get(part.segment)
                self._seen[part.segment] = part if known is None else together(known, part)
            if time.monotonic() - self._shown > BETWEEN_SECONDS and self._isSmall():
                self._show(self._seen)
                self._shown = time.monotonic()
            yield

    def _isSmall(self) -> bool:
        return bool(self._seen) and sum(one.mask.size for one in self._seen.values()) <= LARGEST_VOXELS

    @staticmethod
    def _passOver(error: Exception) -> None:
        """What cannot be fetched any more is in the whole result; a lost engine is told where that is waited for."""
        if not isinstance(error, EngineError):
            raise error


def together(first: Proposal, second: Proposal) -> Proposal:
    """Two proposals for one segment as one, in the box around both; the second one holds where they meet."""
    around = tuple(
        slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(first.box, second.box, strict=True)
    )
    inside = tuple(slice(b.start - a.start, b.stop - a.start) for a, b in zip(around, second.box, strict=True))
    mask, before = (Cropped(first.box, bits).within(around) for bits in (first.mask, first.before))
    mask[inside], before[inside] = second.mask, second.before
    return replace(second, box=around, mask=mask, before=np.asarray(before), uncertainty=None)
