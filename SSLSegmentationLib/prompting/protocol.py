"""What a promptable model is to the rest of the program: pictures and prompts in pixels go in, masks come out.

Nothing outside a backend knows which network answers, nor how it wants its picture scaled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from SSLSegmentationLib.progress import Tick, silent


@dataclass(frozen=True, eq=False)
class PixelPrompts:
    """What was placed on one picture for one segment; columns and rows, with whole numbers at pixel centres."""

    points: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))
    """(n, 2) columns and rows."""
    positive: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=bool))
    box: tuple[float, float, float, float] | None = None
    """Least column and row, greatest column and row."""
    mask: np.ndarray | None = None
    """Boolean (rows, columns): what the segment is believed to be."""


@dataclass(frozen=True, eq=False)
class Answer:
    logits: np.ndarray
    """float32 (rows, columns); above zero is inside."""
    score: float
    """The model's own estimate of the overlap with what was meant, 0 to 1."""

    @property
    def mask(self) -> np.ndarray:
        return self.logits > 0


class Promptable(Protocol):
    """Encodes a picture once and answers any number of prompts on it."""

    @property
    def key(self) -> str:
        """What tells this model and its weights from others, for caches."""
        ...

    def encode(self, picture: np.ndarray, tick: Tick = silent) -> Any:
        """An embedding of a uint8 (rows, columns) picture; it remembers the size of the picture.

        Encoding may take seconds: the Tick is called several times on the way, and what it raises ends the work.
        """
        ...

    def decode(self, embedding: Any, prompts: Sequence[PixelPrompts], tick: Tick = silent) -> list[Answer]:
        """One answer for each set of prompts, at the size of the picture; the Tick is called between them."""
        ...

    def bytes_of(self, embedding: Any) -> int:
        """Memory that an embedding takes."""
        ...


class Spreader(Protocol):
    """Follows segments from pictures on which they are known to the pictures before and behind."""

    def spread(
        self,
        picture: Callable[[int], np.ndarray],
        order: Sequence[int],
        known: Mapping[int, Mapping[str, np.ndarray]],
        tick: Tick = silent,
    ) -> Iterator[tuple[int, dict[str, Answer]]]:
        """Answers for the pictures of `order`, one after the other, as they are made.

        `picture(n)` gives the uint8 (rows, columns) picture of slice n; `known` the masks by slice and segment. All
        pictures have one size. Embeddings of pictures may be kept between calls, so that the way back costs less.
        """
        ...
