"""Long work in pieces: a generator that pauses where a window may look up, and ends with a result."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")

Steps = Generator[None, None, T]
"""Each piece takes a few hundredths of a second. Closing it before its end leaves all as it was."""


def finish(steps: Generator[object, None, T]) -> T:
    """Do all pieces at once; what comes on the way is dropped."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
