"""Engines for the tests: scans with a ball in them, operations that wait to be told, and a service in a thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np

from SSLSegmentationLib.engine.client import Client, HttpxTransport
from SSLSegmentationLib.engine.keeper import Keeper
from SSLSegmentationLib.engine.results import Result
from SSLSegmentationLib.engine.serve import Address, serve
from SSLSegmentationLib.engine.session import OPERATIONS, Operation, Session
from SSLSegmentationLib.progress import Tick
from SSLSegmentationLib.proposal import Proposal, propose
from SSLSegmentationLib.volume import Volume

TOKEN = "-".join(["a", "token", "that", "only", "the", "tests", "know"])
LONG = 20.0
"""Seconds after which a test that waits has failed."""


def scan_with_ball(centre: tuple[int, int, int] = (16, 16, 16), radius: float = 6.0, side: int = 32) -> Volume:
    """A bright ball in a darker box with a little noise; the centre is (i, j, k), and voxels are millimetres."""
    i, j, k = centre
    z, y, x = np.ogrid[:side, :side, :side]
    voxels = np.random.default_rng(i + 100 * j).normal(0, 5, (side,) * 3)
    voxels += 200.0 * ((z - k) ** 2 + (y - j) ** 2 + (x - i) ** 2 <= radius**2)
    return Volume(voxels.astype(np.int16), name=f"ball at {i}, {j}, {k}", modality="CT")


def some_proposal(session: Session, at: int = 0) -> Proposal:
    """One voxel, at a place along the diagonal."""
    before = np.zeros(session.volume.shape, bool)
    after = before.copy()
    after[at, at, at] = True
    window = tuple(slice(0, n) for n in session.volume.shape)
    return propose(window, before, after, score=1.0)


@dataclass
class Gate:
    """An operation that begins, goes on until it is told to finish, and says where it is."""

    begun: threading.Event = field(default_factory=threading.Event)
    finish: threading.Event = field(default_factory=threading.Event)
    left: threading.Event = field(default_factory=threading.Event)

    def __call__(self, session: Session, request: Any, tick: Tick) -> Proposal:
        try:
            self.begun.set()
            while not self.finish.wait(0.002):
                tick("Working", 0.5)
            return some_proposal(session)
        finally:
            self.left.set()


def stream(session: Session, request: Any, tick: Tick) -> Generator[Result, None, Result]:
    """Three partial results, then the whole."""
    for number in range(3):
        tick("Streaming", number / 3)
        yield some_proposal(session, number)
    return some_proposal(session, 3)


@dataclass
class Served:
    url: str
    keeper: Keeper
    http: httpx.Client

    def open(self, volume: Volume) -> str:
        """The id of a session on the volume."""
        from SSLSegmentationLib.engine.wire import FRAME, volume_frame

        body = b"".join(volume_frame(volume, compress=False))
        scan = self.http.post("/volumes", content=body, headers={"content-type": FRAME})
        return self.http.post("/sessions", json={"volume": scan.json()["digest"]}).json()["id"]


@contextmanager
def served(keeper: Keeper, **options: Any) -> Iterator[Served]:
    """The service in a thread of this process."""
    found: dict[str, Any] = {}
    ready, stop = threading.Event(), threading.Event()

    def tell(where: dict[str, Any]) -> None:
        found.update(where)
        ready.set()

    thread = threading.Thread(
        target=serve, args=(keeper, Address(token=TOKEN), tell), kwargs={"until": stop.wait, **options}
    )
    thread.start()
    try:
        assert ready.wait(LONG)
        with httpx.Client(base_url=found["url"], headers={"authorization": f"Bearer {TOKEN}"}, timeout=LONG) as http:
            yield Served(found["url"], keeper, http)
    finally:
        stop.set()
        thread.join(LONG)
        assert not thread.is_alive()


@contextmanager
def client_of(engine: Served, **options: Any) -> Iterator[Client]:
    with Client(HttpxTransport(engine.url, TOKEN), **options) as client:
        yield client


def keeper_with(operations: Mapping[str, Operation] | None = None, **options: Any) -> Keeper:
    return Keeper(operations={**OPERATIONS, **(operations or {})}, max_bytes=options.pop("max_bytes", 2**28), **options)


def eventually(fact: Callable[[], bool], seconds: float = LONG) -> bool:
    """Whether something that another process does comes true in time."""
    patience = threading.Event()
    for _ in range(int(seconds / 0.02)):
        if fact():
            return True
        patience.wait(0.02)
    return False


def click(volume: Volume, ijk: tuple[int, int, int]) -> dict[str, Any]:
    """A prompt job at a voxel, in JSON."""
    ras = volume.to_ras(np.array(ijk)).tolist()
    return {"operation": "prompt", "prompts": [{"kind": "point", "ras": ras}]}
