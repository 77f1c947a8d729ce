"""Jobs: operations that run one after the other on one thread, can be watched, and can be cancelled at any moment.

One thread owns the device for the life of the process, because a fresh thread costs a second per prompt on CUDA.
Prompts go ahead of long jobs, and a long job pauses between two tiles to let prompts by. Among equals, the session that
was served longest ago is next, so that nobody who queues ten scans keeps the others waiting.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Generator
from typing import Literal

from SSLSegmentationLib.engine.results import Result
from SSLSegmentationLib.errors import Cancelled, InputError
from SSLSegmentationLib.progress import Tick

State = Literal["queued", "running", "done", "failed", "cancelled"]
Work = Callable[[Tick], Generator[Result, None, Result | None]]

ENDED: frozenset[State] = frozenset({"done", "failed", "cancelled"})

_MOST_PARTS = 1024  # partial results that wait to be fetched; older ones give way

log = logging.getLogger(__name__)


class Job:
    """One operation. All of its state changes under one lock, and whoever watches is told after each change."""

    def __init__(
        self,
        operation: str,
        work: Work,
        *,
        session: str = "",
        model: str = "",
        urgent: bool = False,
        keep: Callable[[Result], None] | None = None,
    ) -> None:
        self.id = secrets.token_hex(8)
        self.operation = operation
        self.session = session
        self.model = model
        """The id of the model that it uses."""
        self.urgent = urgent
        self.state: State = "queued"
        self.stage = ""
        self.part = 0.0
        self.error = ""
        """One sentence for the user if it failed."""
        self.blame: Literal["", "input", "engine"] = ""
        """Whether what the user gave cannot be used, or the engine is at fault."""
        self.result: Result | None = None
        self.parts: dict[int, Result] = {}
        """Partial results by number, while it runs."""
        self.parts_so_far = 0
        self._started = self._stopped = 0.0
        self._work: Work | None = work
        self._keep = keep or _forget
        self._changed = threading.Condition()
        self._watchers: list[Callable[[], None]] = []

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def seconds(self) -> float:
        """How long it has been running, or ran."""
        if not self._started:
            return 0.0
        return (self._stopped or time.perf_counter()) - self._started

    def cancel(self) -> bool:
        """End it now, from any state. Its thread lets go at the next step; what it computes until then is dropped."""
        return self._end("cancelled")

    def wait(self, seconds: float | None = None) -> bool:
        """Whether it has ended, after waiting for that at most so long."""
        with self._changed:
            return self._changed.wait_for(lambda: self.ended, seconds)

    def watch(self, watcher: Callable[[], None]) -> Callable[[], None]:
        """Call the watcher after each change, on the thread that made it; returns how to stop that."""
        with self._changed:
            self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher) if watcher in self._watchers else None

    def run(self, between: Callable[[], None]) -> None:
        """Do the work on the calling thread. `between` is called in its pauses."""
        with self._changed:
            if self.state != "queued":
                return
            self.state = "running"
            self._started = time.perf_counter()
        self._tell()
        steps = self._work(self._ticker(between))  # type: ignore[misc] # only an ended job has none
        try:
            result = self._collect(steps)
        except Cancelled:
            self._end("cancelled")
        except InputError as error:
            self._end("failed", error=str(error), blame="input")
        except MemoryError:
            log.exception("job %s (%s) ran out of memory", self.id, self.operation)
            self._end("failed", error="The engine ran out of memory: close other scans and try again.", blame="engine")
        except Exception as error:
            log.exception("job %s (%s) failed", self.id, self.operation)
            sentence = f"The engine made an error ({type(error).__name__}); its log says more: try another setting."
            self._end("failed", error=sentence, blame="engine")
        else:
            self._end("done", result=result)
        finally:
            steps.close()  # a job that was left in the middle cleans up here, on its own thread

    def _collect(self, steps: Generator[Result, None, Result]) -> Result:
        while True:
            try:
                part = next(steps)
            except StopIteration as end:
                return end.value
            with self._changed:
                if self.ended:
                    raise Cancelled
                self.parts[self.parts_so_far] = part
                self.parts_so_far += 1
                self.parts.pop(self.parts_so_far - 1 - _MOST_PARTS, None)
            self._tell()

    def _ticker(self, between: Callable[[], None]) -> Tick:
        def tick(stage: str, part: float) -> None:
            with self._changed:
                if self.ended:
                    raise Cancelled
                self.stage, self.part = stage, min(1.0, max(0.0, float(part)))
            self._tell()
            between()
            if self.ended:
                raise Cancelled

        return tick

    def _end(
        self,
        state: State,
        *,
        result: Result | None = None,
        error: str = "",
        blame: Literal["", "input", "engine"] = "",
    ) -> bool:
        with self._changed:
            if self.ended:
                return False
            # Under the lock, so that a result is either kept and told, or cancelled and forgotten.
            if result is not None:
                self._keep(result)
            self.state, self.result, self.error, self.blame = state, result, error, blame
            self.parts.clear()
            self._work, self._keep = None, _forget
            self._stopped = time.perf_counter()
        self._tell()
        return True

    def _tell(self) -> None:
        with self._changed:
            self._changed.notify_all()
            watchers = list(self._watchers)
        for watcher in watchers:
            watcher()


def _forget(result: Result) -> None:
    """Who keeps no results."""


class Worker:
    def __init__(self) -> None:
        self._queue: list[Job] = []
        self._served: dict[str, int] = {}
        self._turns = 0
        self._closed = False
        self._news = threading.Condition()
        self.finished: dict[tuple[str, State], int] = {}
        """How many jobs have ended, by operation and state."""
        self.seconds: dict[str, float] = {}
        """Time spent, by operation."""
        self._thread = threading.Thread(target=self._live, name="device", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        with self._news:
            return sum(job.state == "queued" for job in self._queue)

    def submit(self, job: Job) -> Job:
        with self._news:
            if self._closed:
                raise InputError("The engine is stopping: connect again.")
            self._queue.append(job)
            self._news.notify_all()
        return job

    def forget_ended(self) -> None:
        """Jobs that were cancelled while they waited leave the queue, and let go of what they hold."""
        with self._news:
            for job in [job for job in self._queue if job.ended]:
                self._queue.remove(job)
                self._count(job)

    def forget_session(self, session: str) -> None:
        """A session was closed, and its jobs were cancelled."""
        with self._news:
            self._served.pop(session, None)
            self.forget_ended()

    def close(self, seconds: float = 5.0) -> bool:
        """Cancel what waits and stop; whether the thread has ended in this time."""
        with self._news:
            self._closed = True
            waiting, self._queue = self._queue, []
            self._news.notify_all()
        for job in waiting:
            job.cancel()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _live(self) -> None:
        while (job := self._next()) is not None:
            self._do(job)
            del job  # a thread that waits must not keep the last scan alive

    def _next(self) -> Job | None:
        with self._news:
            while not self._closed:
                if (job := self._take(urgent=False)) is not None:
                    return job
                self._news.wait()
        return None

    def _take(self, urgent: bool) -> Job | None:
        """The job whose turn it is; only prompts if `urgent`."""
        with self._news:
            self.forget_ended()
            ready = [job for job in self._queue if job.urgent or not urgent]
            if not ready:
                return None
            job = min(ready, key=lambda job: (not job.urgent, self._served.get(job.session, 0)))
            self._queue.remove(job)
            self._turns += 1
            self._served[job.session] = self._turns
            return job

    def _let_prompts_by(self) -> None:
        while (job := self._take(urgent=True)) is not None:
            self._do(job)

    def _do(self, job: Job) -> None:
        job.run(between=(lambda: None) if job.urgent else self._let_prompts_by)
        self._count(job)

    def _count(self, job: Job) -> None:
        with self._news:
            key = (job.operation, job.state)
            self.finished[key] = self.finished.get(key, 0) + 1
            self.seconds[job.operation] = self.seconds.get(job.operation, 0.0) + job.seconds
