"""Watching: how the event loop of the service follows jobs that run on the thread of the device."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from SSLSegmentationLib.engine.answers import job_json
from SSLSegmentationLib.engine.jobs import Job
from SSLSegmentationLib.engine.keeper import Keeper, Opened

_HEARTBEAT_SECONDS = 10.0  # between two signs of life to somebody who watches a job


async def until_ended(job: Job, seconds: float) -> None:
    """Wait for the end of a job, at most so long."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    with _News(job) as news:
        while not job.ended and loop.time() < until:
            await news.wait(until - loop.time())


async def events(keeper: Keeper, opened: Opened, job: Job) -> AsyncIterator[str]:
    """What has changed since the last look; a slow reader misses steps, never the end."""
    told, parts = None, 0
    with keeper.attached(opened), _News(job) as news:
        while True:
            ended, now = job.ended, job_json(job)
            for number in range(parts, now["partial_results"]):
                yield _event("partial", {"number": number})
            parts = now["partial_results"]
            if ended:
                yield _event(job.state, job_json(job))
                return
            if (seen := (now["state"], now["stage"], now["part"])) != told:
                yield _event("progress", now)
                told = seen
            if not await news.wait(_HEARTBEAT_SECONDS):
                yield ": still here\n\n"


class _News:
    """Lets the event loop wait for the changes of a job, which come from another thread."""

    def __init__(self, job: Job) -> None:
        self._event = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._stop = job.watch(lambda: _call_in(loop, self._event.set))

    def __enter__(self) -> _News:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    async def wait(self, seconds: float) -> bool:
        """Whether something has changed since the last look, after waiting for that at most so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True


def _call_in(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(call)


def _event(name: str, data: Any) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"
