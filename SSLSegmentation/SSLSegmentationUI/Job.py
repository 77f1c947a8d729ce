"""Job: one operation of the engine, watched from its start to its result, in the steps of an Errand."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

from SSLSegmentationLib.engine import calls
from SSLSegmentationLib.engine.calls import Answer, EngineError, EngineLostError, JobState, NotThereError
from SSLSegmentationLib.engine.frames import Buffer
from SSLSegmentationLib.engine.pieces import result_in_pieces
from SSLSegmentationLib.engine.requests import Request
from SSLSegmentationLib.engine.results import Result
from SSLSegmentationLib.engine.wire import events
from SSLSegmentationLib.errors import Cancelled, InputError
from SSLSegmentationLib.volume import Volume

from SSLSegmentationUI.Engine import Engine

Progress = Callable[[str, float], None]

AT_ONCE = 0.25
"""Seconds in which most prompts are answered: then one round trip is all there is."""


def run(
    engine: Engine,
    session: str,
    request: Request,
    volume: Volume,
    progress: Progress,
    partial: Callable[[str, int], None] | None = None,
) -> Generator[Any, Any, Result]:
    """The result of a request. Cancelling the Errand cancels the job."""
    answer = yield engine.asking(calls.start(session, request, volume, wait=AT_ONCE, packed=engine.isFar))
    if not isinstance(answer, JobState):
        return answer
    yield from follow(engine, answer, progress, partial)
    fetch = replace(calls.fetch(answer.id, volume, packed=engine.isFar), read=_arrived)
    return (yield from result_in_pieces((yield engine.asking(fetch)), volume))


def follow(
    engine: Engine,
    state: JobState,
    progress: Progress,
    partial: Callable[[str, int], None] | None = None,
) -> Generator[Any, Any, None]:
    """Until a job is done; `partial` is given its id and the number of each partial result."""
    listener = _Listener(state, progress, partial)
    try:
        yield engine.watching(calls.watch_path(state.id), listener.take)
    except Cancelled:
        engine.tell(calls.cancel(state.id))
        raise
    except (EngineLostError, NotThereError) as error:
        raise _lost() from error
    state = listener.state
    if state.state == "failed":
        raise InputError(state.error) if state.blame == "input" else EngineError(state.error)
    if state.state == "cancelled":
        raise Cancelled
    if not state.ended:
        raise _lost()


def _arrived(answer: Answer) -> Buffer:
    calls.check(answer)
    return answer.body


class _Listener:
    """Puts the lines of a stream together to news of a job."""

    def __init__(self, state: JobState, progress: Progress, partial: Callable[[str, int], None] | None) -> None:
        self.state = state
        self._progress = progress
        self._partial = partial
        self._lines: list[str] = []

    def take(self, line: str) -> None:
        self._lines.append(line)
        if line:
            return
        lines, self._lines = self._lines, []
        for name, data in events(iter(lines)):
            if name == "partial":
                if self._partial is not None:
                    self._partial(self.state.id, int(json.loads(data)["number"]))
            else:
                self.state = calls.job_of(json.loads(data))
                if not self.state.ended:
                    self._progress(self.state.stage or "Waiting for its turn", self.state.part)


def _lost() -> EngineLostError:
    return EngineLostError("The engine has ended in the middle of the work; nothing was changed: try it again.")
