"""Errand: several steps that wait for an engine, written one below the other, without ever holding the window.

    def ask():
        session = yield engine.asking(calls.open_session(digest))     # waits, while the window lives on
        for slab in slabs:
            work(slab)
            yield                                                     # lets the window breathe
        return session

    Errand(ask(), done=use, failed=tell).start()

A yield hands over something to wait for: a function that begins it, given what to call when it is done and when it has
failed, and that returns how to give it up. Nothing waits in a loop, and there are no threads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any

import qt
from SSLSegmentationLib.errors import Cancelled

GiveUp = Callable[[], None]
Waiting = Callable[[Callable[[Any], None], Callable[[Exception], None]], GiveUp]
Steps = Generator[Waiting | None, Any, Any]

TURN_SECONDS = 0.012
"""How long an errand works before it lets the window do something else."""


class Errand:
    def __init__(
        self,
        steps: Steps,
        done: Callable[[Any], None] | None = None,
        failed: Callable[[Exception], None] | None = None,
    ) -> None:
        """`failed` is told of Cancelled as well; without it, errors are raised where Qt calls."""
        self._steps = steps
        self._done = done
        self._failed = failed
        self._giveUp: GiveUp | None = None
        self._turn = 0
        self._cancelWanted = False
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(0)
        self._timer.connect("timeout()", self._goOn)
        self.ended = False

    def start(self) -> Errand:
        self._timer.start()
        return self

    def cancel(self) -> None:
        """Give up what is being waited for; the steps clean up after themselves as Cancelled goes through them."""
        if self._steps.gi_running:  # something that a step did asks for it: as soon as that step is over
            self._cancelWanted = True
        elif not self.ended:
            self._stopWaiting()
            self._advance(self._throwCancelled)

    def drop(self) -> None:
        """The same, and nobody is told."""
        self._done, self._failed = None, lambda error: None
        self.cancel()

    def _throwCancelled(self) -> Waiting | None:
        return self._steps.throw(Cancelled())

    def _goOn(self) -> None:
        self._advance(self._next)

    def _advance(self, step: Callable[[], Waiting | None]) -> None:
        until = time.perf_counter() + TURN_SECONDS
        while not self.ended:
            try:
                waiting = step()
            except StopIteration as end:
                self._end(lambda value=end.value: self._done and self._done(value))
                return
            except Exception as error:
                if self._failed is None:
                    self._end(lambda: None)
                    raise
                self._end(lambda error=error: self._failed(error))
                return
            if self._cancelWanted:
                self._cancelWanted, step = False, self._throwCancelled
            elif waiting is not None:
                self._wait(waiting)
                return
            elif time.perf_counter() > until:
                self._timer.start()
                return
            else:
                step = self._next

    def _next(self) -> Waiting | None:
        return self._steps.send(None)

    def _wait(self, waiting: Waiting) -> None:
        self._turn += 1
        turn = self._turn

        def resume(step: Callable[[], Waiting | None]) -> None:
            # What was given up, or has answered already, may not answer again.
            if turn == self._turn and not self.ended:
                self._turn += 1
                self._giveUp = None
                self._advance(step)

        giveUp = waiting(
            lambda value: resume(lambda: self._steps.send(value)),
            lambda error: resume(lambda: self._steps.throw(error)),
        )
        if turn == self._turn:  # it may have answered at once
            self._giveUp = giveUp

    def _stopWaiting(self) -> None:
        self._turn += 1
        self._timer.stop()
        giveUp, self._giveUp = self._giveUp, None
        if giveUp is not None:
            giveUp()

    def _end(self, tell: Callable[[], Any]) -> None:
        self.ended = True
        self._timer.stop()
        self._steps.close()
        tell()


def pausing(milliseconds: int) -> Waiting:
    """Something to wait for: time."""

    def begin(done: Callable[[Any], None], failed: Callable[[Exception], None]) -> GiveUp:
        timer = qt.QTimer()
        timer.setSingleShot(True)
        timer.setInterval(milliseconds)
        timer.connect("timeout()", lambda: done(None))
        timer.start()
        return timer.stop

    return begin
