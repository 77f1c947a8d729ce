"""An engine for the tests of faults, started like any other: its operations go on for ever if they are asked to."""

from __future__ import annotations

import threading
from collections.abc import Generator
from typing import Any

from SSLSegmentationLib.engine.keeper import Keeper
from SSLSegmentationLib.engine.requests import PromptRequest, Request, SegmentRequest
from SSLSegmentationLib.engine.results import Result
from SSLSegmentationLib.engine.serve import with_parent
from SSLSegmentationLib.engine.session import OPERATIONS, Operation, Session
from SSLSegmentationLib.progress import Tick
from Testing.engine.engines import some_proposal

FOREVER = "forever"


def asked_for_ever(request: Request) -> bool:
    if isinstance(request, SegmentRequest):
        return request.model == FOREVER
    if isinstance(request, PromptRequest):
        return request.segment == FOREVER
    return FOREVER in request.segments


def patient(operation: Operation) -> Operation:
    """The operation, or one that streams and never ends."""

    def run(session: Session, request: Any, tick: Tick) -> Generator[Result, None, Result]:
        if asked_for_ever(request):
            while not threading.Event().wait(0.002):
                tick("Working", 0.5)
                yield some_proposal(session)
        outcome = operation(session, request, tick)
        return (yield from outcome) if isinstance(outcome, Generator) else outcome

    return run


def finish(session: Session, request: Any, tick: Tick) -> Result:
    return some_proposal(session)


def make_keeper(said: dict[str, Any]) -> Keeper:
    operations = {**OPERATIONS, "refine": finish, "propagate": finish}
    return Keeper(operations={name: patient(one) for name, one in operations.items()}, max_bytes=said["max_bytes"])


if __name__ == "__main__":
    with_parent(make_keeper)
