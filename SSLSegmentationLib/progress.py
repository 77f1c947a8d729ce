"""How long operations report and how they are stopped."""

from __future__ import annotations

from collections.abc import Callable

Tick = Callable[[str, float], None]
"""Called between two steps of an operation with what is being done ("Segmenting") and the part done, 0 to 1.

It may raise `Cancelled`, which ends the operation there; nothing else is needed to make an operation cancellable. An
engine may also use the pause to answer something more urgent.
"""


def silent(stage: str, part: float) -> None:
    """The Tick of somebody who only waits for the result."""
