"""Keeper: which scans and sessions an engine holds, for whom and until when, and whether there is room for more."""

from __future__ import annotations

import gc
import logging
import secrets
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from SSLSegmentationLib.engine.jobs import Job, Worker
from SSLSegmentationLib.engine.results import Labelling, Result
from SSLSegmentationLib.engine.session import Models, Operation, Session
from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.progress import Tick
from SSLSegmentationLib.volume import Volume

URGENT = frozenset({"prompt"})
"""Operations that a user waits for with the mouse in hand; they go ahead of the others."""

_UNOPENED_SECONDS = 120.0  # how long a scan may wait for its session
_KEPT_PROPOSALS, _KEPT_LABELLINGS = 16, 2  # results of a session that can still be fetched
_MOST_WAITING = 64  # jobs of one session
_KEPT_INSTALLS = 16  # installations that have ended and can still be asked after

log = logging.getLogger(__name__)


class Refusal(Exception):  # noqa: N818 - it is an answer, not a defect
    """The engine will not do this now: a status of HTTP, and one sentence with the remedy."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(eq=False)
class Opened:
    """A session, and who still wants it."""

    id: str
    digest: str
    session: Session
    keep_alive: float | None
    """Seconds without a sign of its client after which it is freed; None leaves only the idle time."""
    seen: float
    attached: int = 0
    """Requests that are being answered right now: somebody is there."""
    jobs: dict[str, Job] = field(default_factory=dict)

    @property
    def busy(self) -> bool:
        return any(not job.ended for job in self.jobs.values())

    @property
    def nbytes(self) -> int:
        """What it takes beside its volume."""
        results = {id(job.result): job.result for job in self.jobs.values() if job.result is not None}
        results |= {id(result): result for result in self.session.last.values()}
        masks = sum(mask.bits.nbytes for mask in list(self.session.segments.values()))
        return masks + sum(result.nbytes for result in results.values())


@dataclass(eq=False)
class _Held:
    volume: Volume
    since: float


class Keeper:
    def __init__(
        self,
        *,
        models: Models | None = None,
        operations: Mapping[str, Operation] | None = None,
        max_bytes: int | None = None,
        idle_seconds: float = 3600.0,
        max_sessions: int = 256,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.models = models or Models()
        self.max_bytes = max_bytes if max_bytes is not None else _most_of_memory()
        self.worker = Worker()
        self.opened: dict[str, Opened] = {}
        self.installs: dict[str, Job] = {}
        """Downloads of models, each on a thread of its own, since the device has nothing to do with them."""
        self._operations = operations
        self._idle_seconds = idle_seconds
        self._max_sessions = max_sessions
        self._clock = clock
        self._volumes: dict[str, _Held] = {}
        self._reserved = 0
        self._freed = False
        self._lock = threading.RLock()

    # Volumes

    @contextmanager
    def room(self, nbytes: int) -> Iterator[None]:
        """Set bytes aside for something that is about to arrive."""
        with self._lock:
            self._make_room(nbytes)
            self._reserved += nbytes
        try:
            yield
        finally:
            with self._lock:
                self._reserved -= nbytes

    def hold(self, digest: str, volume: Volume) -> None:
        """Keep a volume until a session is opened on it; a volume that is held already is not held twice."""
        with self._lock:
            if digest in self._volumes:
                self._volumes[digest].since = self._clock()
                return
            self._make_room(volume.voxels.nbytes)
            self._volumes[digest] = _Held(volume, self._clock())

    def volume(self, digest: str) -> Volume:
        with self._lock:
            if digest not in self._volumes:
                raise Refusal(404, "This scan is not here: send it.")
            self._volumes[digest].since = self._clock()
            return self._volumes[digest].volume

    @property
    def bytes_held(self) -> int:
        with self._lock:
            volumes = sum(held.volume.voxels.nbytes for held in self._volumes.values())
            return volumes + self._reserved + sum(opened.nbytes for opened in self.opened.values())

    def _make_room(self, nbytes: int) -> None:
        if self.bytes_held + nbytes > self.max_bytes:
            used = {opened.digest for opened in self.opened.values()}
            self._volumes = {digest: held for digest, held in self._volumes.items() if digest in used}
        free = self.max_bytes - self.bytes_held
        if nbytes > free:
            raise Refusal(
                507,
                f"The engine has room for {max(free, 0) / 1e6:.0f} MB, but this takes {nbytes / 1e6:.0f} MB: close a "
                "scan, or start the engine with a larger --max-memory.",
            )

    # Sessions

    def open(self, digest: str, keep_alive: float | None = None) -> Opened:
        with self._lock:
            volume = self.volume(digest)
            if len(self.opened) >= self._max_sessions:
                raise Refusal(429, f"{len(self.opened)} sessions are open, as many as this engine takes: close one.")
            session = Session(volume, self.models, self._operations)
            opened = Opened(secrets.token_hex(8), digest, session, keep_alive, self._clock())
            self.opened[opened.id] = opened
        log.info("session %s opened", opened.id)
        return opened

    def session(self, id: str) -> Opened:
        """An open session, whose client has just given a sign."""
        with self._lock:
            if id not in self.opened:
                raise Refusal(404, "This session is not open here: open the scan again.")
            self.opened[id].seen = self._clock()
            return self.opened[id]

    @contextmanager
    def attached(self, opened: Opened | None) -> Iterator[None]:
        """Somebody waits for an answer of this session."""
        if opened is None:
            yield
            return
        with self._lock:
            opened.attached += 1
        try:
            yield
        finally:
            with self._lock:
                opened.attached -= 1
                opened.seen = self._clock()

    def close(self, id: str) -> None:
        """Cancel the session's jobs and free it; its volume goes with the last session on it."""
        with self._lock:
            opened = self.session(id)
            del self.opened[id]
            if all(other.digest != opened.digest for other in self.opened.values()):
                self._volumes.pop(opened.digest, None)
            self._freed = True
        for job in opened.jobs.values():
            job.cancel()
        self.worker.forget_session(id)
        log.info("session %s closed", id)

    # Jobs

    def start(self, id: str, operation: str, request: Any) -> Job:
        with self._lock:
            opened = self.session(id)
            if sum(not job.ended for job in opened.jobs.values()) >= _MOST_WAITING:
                raise Refusal(429, f"{_MOST_WAITING} jobs of this session are waiting: wait for one, or cancel it.")
            session = opened.session
            job = Job(
                operation,
                lambda tick: session.begin(operation, request, tick),
                session=id,
                model=getattr(request, "model", ""),
                urgent=operation in URGENT,
                keep=lambda result: session.last.__setitem__(operation, result),
            )
            _forget_old_results(opened)
            opened.jobs[job.id] = job
        return self.worker.submit(job)

    def job(self, id: str) -> tuple[Opened | None, Job]:
        """A job, and the session it belongs to if it does to one; its client has just given a sign."""
        with self._lock:
            if id in self.installs:
                return None, self.installs[id]
            for opened in self.opened.values():
                if id in opened.jobs:
                    return self.session(opened.id), opened.jobs[id]
        raise Refusal(404, "This job is not known here, or its result has made room for newer ones: start it again.")

    def cancel(self, id: str) -> Job:
        job = self.job(id)[1]
        job.cancel()
        self.worker.forget_ended()
        return job

    # Models

    def install(self, model: str, licence: str) -> Job:
        """Begin to download a model, or join the download that runs; `licence` is the one the user has accepted."""
        needed = self._about(model)["licence"]
        if licence != needed:
            raise Refusal(
                409,
                f'{model} is under the licence "{needed}": show it to the user, and send its name if they accept it.',
            )
        with self._lock:
            running = next((job for job in self.installs.values() if job.model == model and not job.ended), None)
            if running is not None:
                return running
            for old in [id for id, job in self.installs.items() if job.ended][:-_KEPT_INSTALLS]:
                del self.installs[old]
            job = Job("install", lambda tick: self._installing(model, tick), model=model)
            self.installs[job.id] = job
        threading.Thread(target=job.run, args=(lambda: None,), name=f"install {model}", daemon=True).start()
        return job

    def _installing(self, model: str, tick: Tick) -> Generator[Result, None, None]:
        self.models.install(model, tick)
        yield from ()

    def remove(self, model: str) -> None:
        """Delete a model that no job uses; jobs that begin later find it gone."""
        self._about(model)
        with self._lock:
            jobs = [job for opened in self.opened.values() for job in opened.jobs.values()]
            if any(job.model == model and not job.ended for job in (*jobs, *self.installs.values())):
                raise Refusal(409, f"{model} is in use by a job: wait until it is done, or cancel it.")
            try:
                self.models.remove(model)
            except InputError as error:
                raise Refusal(409, str(error)) from error

    def _about(self, model: str) -> dict[str, Any]:
        for row in self.models.listed():
            if row["id"] == model:
                return row
        raise Refusal(404, f'There is no model "{model[:100]}": look for its id in /models.')

    # Time

    def sweep(self) -> None:
        """Free what nobody wants any more: called every few seconds."""
        now = self._clock()
        with self._lock:
            gone = [opened.id for opened in self.opened.values() if self._is_left(opened, now)]
            used = {opened.digest for opened in self.opened.values()}
            for digest, held in list(self._volumes.items()):
                if digest not in used and now - held.since > _UNOPENED_SECONDS:
                    del self._volumes[digest]
        for id in gone:
            log.info("nobody has asked for session %s for a while", id)
            self.close(id)
        if self._freed:
            # A connection that broke leaves a traceback that holds itself and, with it, a scan; Python looks for such
            # rings only when it makes many new objects, which an engine without work does not.
            self._freed = False
            gc.collect()

    def _is_left(self, opened: Opened, now: float) -> bool:
        if opened.attached:
            return False
        away = now - opened.seen
        if opened.keep_alive is not None and away > opened.keep_alive:
            return True
        return not opened.busy and away > self._idle_seconds

    def close_all(self) -> None:
        for job in list(self.installs.values()):
            job.cancel()
        for id in list(self.opened):
            self.close(id)
        self._volumes.clear()
        self.worker.close()


def _forget_old_results(opened: Opened) -> None:
    proposals = [job for job in opened.jobs.values() if job.ended and not isinstance(job.result, Labelling)]
    labellings = [job for job in opened.jobs.values() if isinstance(job.result, Labelling)]
    for job in proposals[: max(0, len(proposals) - _KEPT_PROPOSALS)]:
        del opened.jobs[job.id]
    for job in labellings[: max(0, len(labellings) - _KEPT_LABELLINGS)]:
        del opened.jobs[job.id]


def _most_of_memory() -> int:
    import psutil

    return int(psutil.virtual_memory().total * 0.6)
