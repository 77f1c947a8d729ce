"""The engine as the window knows it: started when first needed, started again when it dies."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any
from urllib.parse import urlsplit

import qt
from SSLSegmentationLib.engine import calls
from SSLSegmentationLib.engine.calls import Call, EngineError, EngineLostError
from SSLSegmentationLib.engine.serve import is_loopback

from SSLSegmentationUI.Errand import GiveUp, Waiting
from SSLSegmentationUI.Place import Place
from SSLSegmentationUI.Process import Process
from SSLSegmentationUI.Transport import Transport

NONE, STARTING, READY, RESTARTED, LOST = "none", "starting", "ready", "restarted", "lost"
KEEP_ALIVE = 90.0
"""Seconds after which a server frees the sessions of a Slicer that has vanished."""

_DYING_MILLISECONDS = 3000  # the connection of a process that is killed breaks before the process is known to be gone
_MOST_DEATHS = 3
_DEATHS_SECONDS = 60.0


class Engine:
    def __init__(self, place: Place, changed: Callable[[], None]) -> None:
        """`changed` is called when the state does."""
        self.place = place
        self.state = NONE
        self.generation = 0
        """Counts the engines: what an earlier one knew, this one does not."""
        self.trouble: Exception | None = None
        """Why it could not be started, or was lost."""
        self._changed = changed
        self._process: Process | None = None
        self._transport: Transport | None = None
        self._waiting: list[tuple[Callable[[Any], None], Callable[[Exception], None]]] = []
        self._deaths: list[float] = []
        self._words = ""
        # Whoever lost the connection to a process hears of it when it is known whether the process is gone: then the
        # next call finds a new engine on its way.
        self._unsure: list[Callable[[], None]] = []
        self._patience = qt.QTimer()
        self._patience.setSingleShot(True)
        self._patience.setInterval(_DYING_MILLISECONDS)
        self._patience.connect("timeout()", self._tellUnsure)

    @property
    def isReady(self) -> bool:
        return self._transport is not None

    @property
    def isFar(self) -> bool:
        """Whether a network lies between, so that packing what is sent pays."""
        return self.place.isRemote and not is_loopback(urlsplit(self.place.address).hostname or "")

    @property
    def log(self) -> str:
        """The last words of the engine, or of the one before it."""
        return (self._process.words if self._process is not None else "") or self._words

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    def reached(self) -> Waiting:
        """To wait for: an engine that takes calls. It is started if there is none."""

        def begin(done: Callable[[Any], None], failed: Callable[[Exception], None]) -> GiveUp:
            if self._transport is not None:
                done(self.generation)
                return lambda: None
            me = (done, failed)
            self._waiting.append(me)
            if self.state != STARTING:
                self._start()
            return lambda: self._waiting.remove(me) if me in self._waiting else None

        return begin

    def asking(self, call: Call[Any]) -> Waiting:
        """To wait for: the answer to a call. A lost engine is noticed here."""

        def begin(done: Callable[[Any], None], failed: Callable[[Exception], None]) -> GiveUp:
            if self._transport is None:
                failed(EngineLostError("The engine is not there: try it again."))
                return lambda: None
            return self._transport.send(call, done, self._noticing(failed))

        return begin

    def watching(self, path: str, take: Callable[[str], None]) -> Waiting:
        """To wait for: the end of a stream of lines."""

        def begin(done: Callable[[Any], None], failed: Callable[[Exception], None]) -> GiveUp:
            if self._transport is None:
                failed(EngineLostError("The engine is not there: try it again."))
                return lambda: None
            return self._transport.streaming(path, take)(done, self._noticing(failed))

        return begin

    def ask(self, call: Call[Any]) -> Generator[Any, Any, Any]:
        """In an Errand: the answer to a call, from an engine that is started if need be."""
        yield self.reached()
        return (yield self.asking(call))

    def tell(self, call: Call[Any]) -> None:
        """Send a call whose answer nobody waits for, if there is an engine."""
        if self._transport is not None:
            self._transport.send(call, lambda value: None, lambda error: None)

    def move(self, place: Place) -> None:
        """From now on use the engine of another place."""
        self.stop()
        self.place = place

    def stop(self, atEnd: bool = False) -> None:
        """`atEnd` is for the end of Slicer: wait until the process is gone."""
        self._forget(EngineError("The engine was stopped."))
        self._tellUnsure()
        process, self._process = self._process, None
        if process is not None:
            process.stop(wait=atEnd)
        self._fail(EngineError("The engine was stopped."))
        self._deaths.clear()
        self._set(NONE)

    def _start(self) -> None:
        self.trouble = None
        try:
            if self.place.isRemote:
                url, token = self.place.server()
                self._set(STARTING)
                self._greet(Transport(url, token, self.place.certificate))
            else:
                command, environment = self.place.command(), self.place.environment()
                self._set(STARTING)
                self._process = Process(command, environment, self._onReady, self._onEnded)
        except Exception as error:  # noqa: BLE001 - what the user named cannot be used; whoever waits is told
            self._lose(error)

    def _greet(self, transport: Transport) -> None:
        """See whether an engine answers there, before anything relies on it."""

        def answered(said: dict[str, Any]) -> None:
            if self.state == STARTING:
                self._welcome(transport)

        transport.send(calls.health(), answered, lambda error: self._lose(error) if self.state == STARTING else None)
        self._greeting = transport

    def _onReady(self, url: str, token: str) -> None:
        self._welcome(Transport(url, token))

    def _welcome(self, transport: Transport) -> None:
        self._transport = transport
        self.generation += 1
        self._set(RESTARTED if self._deaths else READY)
        waiting, self._waiting = self._waiting, []
        for done, _ in waiting:
            done(self.generation)

    def _onEnded(self, error: Exception) -> None:
        """The process is gone without having been asked to go."""
        self._words = self._process.words if self._process is not None else self._words
        wasReady = self._transport is not None
        self._process = None
        now = time.monotonic()
        self._deaths = [death for death in self._deaths if now - death < _DEATHS_SECONDS] + [now]
        transport, self._transport = self._transport, None
        if wasReady and len(self._deaths) <= _MOST_DEATHS:
            self._start()
        elif wasReady:
            self._lose(EngineError(f"The engine has ended {len(self._deaths)} times within a minute: see its log."))
        else:
            self._lose(error)
        if transport is not None:
            transport.close(EngineLostError(str(error)))
        self._tellUnsure()

    def _noticing(self, failed: Callable[[Exception], None]) -> Callable[[Exception], None]:
        def told(error: Exception) -> None:
            if isinstance(error, EngineLostError) and self._transport is not None and self.place.isRemote:
                self._lose(error)
            if isinstance(error, EngineLostError) and self._transport is not None:
                self._unsure.append(lambda: failed(error))
                self._patience.start()
            else:
                failed(error)

        return told

    def _tellUnsure(self) -> None:
        self._patience.stop()
        unsure, self._unsure = self._unsure, []
        for tell in unsure:
            tell()

    def _forget(self, error: Exception) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close(error)

    def _lose(self, error: Exception) -> None:
        self.trouble = error
        self._forget(error)
        self._set(LOST)
        self._fail(error)

    def _fail(self, error: Exception) -> None:
        waiting, self._waiting = self._waiting, []
        for _, failed in waiting:
            failed(error)

    def _set(self, state: str) -> None:
        if state != self.state:
            self.state = state
            self._changed()
