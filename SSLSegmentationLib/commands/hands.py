"""Who does the work of a batch: a process for each device, or workers that Ray places on a cluster.

A process of its own, also for a single device: when a scan brings it down (out of memory, a driver's fault), that scan
has failed, and a new process goes on with the next.
"""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SSLSegmentationLib.commands.archive import Scan
from SSLSegmentationLib.commands.pipeline import Outcome, said, work
from SSLSegmentationLib.errors import InputError

if TYPE_CHECKING:
    from SSLSegmentationLib.inference.segment import Settings

_MOST_EMPTY_DEATHS = 3
_CHUNK = 4


@dataclass(frozen=True)
class Assignment:
    """What every worker of a batch is told."""

    package: Path
    settings: Settings
    out: Path
    sheets: bool


@dataclass(eq=False)
class _Hand:
    device: str
    process: Any = None
    pipe: Any = None
    given: list[Scan] = field(default_factory=list)
    """Not done yet."""
    begun: str = ""


def by_processes(scans: Sequence[Scan], assignment: Assignment, devices: Sequence[str]) -> Iterator[Outcome]:
    """The outcomes as they come. Leaving the loop early ends the processes."""
    crew = _Crew(scans, assignment, devices[: max(1, len(scans))])
    try:
        while working := [hand for hand in crew.hands if hand.process is not None]:
            for pipe in wait([hand.pipe for hand in working]):
                yield from crew.hear(next(hand for hand in working if hand.pipe is pipe))
    finally:
        crew.dismiss()


class _Crew:
    """The processes of a batch, and the scans that none of them has yet."""

    def __init__(self, scans: Sequence[Scan], assignment: Assignment, devices: Sequence[str]) -> None:
        self.waiting = deque(scans)
        self.assignment = assignment
        self.hands = [_Hand(device) for device in devices]
        self._empty_deaths = 0
        for hand in self.hands:
            _start(hand, assignment)

    def hear(self, hand: _Hand) -> Iterator[Outcome]:
        """Do what one message asks for."""
        try:
            kind, content = hand.pipe.recv()
        except EOFError:
            yield from self._replace(hand)
            return
        if kind == "next":
            scan = self.waiting.popleft() if self.waiting else None
            if scan is not None:
                hand.given.append(scan)
            with suppress(BrokenPipeError, ConnectionResetError):  # it has died since, which is heard next
                hand.pipe.send(scan)
        elif kind == "begin":
            hand.begun = content
        elif kind == "refused":
            raise InputError(content)
        else:
            hand.given = [scan for scan in hand.given if scan.name != content.name]
            hand.begun = "" if hand.begun == content.name else hand.begun
            self._empty_deaths = 0
            yield content

    def dismiss(self) -> None:
        for hand in self.hands:
            if hand.process is not None:
                hand.process.terminate()
                _ended(hand)

    def _replace(self, hand: _Hand) -> Iterator[Outcome]:
        """A process has ended: with its work done, or brought down by the scan it had begun, which has failed then."""
        code = _ended(hand)
        if code == 0:
            return
        self._empty_deaths = 0 if hand.begun else self._empty_deaths + 1
        if self._empty_deaths >= _MOST_EMPTY_DEATHS:
            raise InputError(
                f"The program ends as soon as it works on {hand.device} (code {code}): choose another --device."
            )
        if hand.begun:
            yield Outcome(hand.begun, "failed", f"the process ended with code {code}, maybe for lack of memory")
        self.waiting.extendleft(scan for scan in reversed(hand.given) if scan.name != hand.begun)
        _start(hand, self.assignment)


def by_ray(scans: Sequence[Scan], assignment: Assignment, address: str) -> Iterator[Outcome]:
    """The same on a Ray cluster, whose nodes see the scans and the results under the same paths.

    "local" starts a cluster on this machine, for as long as the batch runs.
    """
    try:
        import ray
        from ray.util import ActorPool
    except ImportError as error:
        raise InputError(
            'Ray is not installed: `pip install ".[cluster]"` in a checkout, or leave out --ray.'
        ) from error

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing is told to anybody about what runs here
    try:
        ray.init(
            address=None if address == "local" else address,
            include_dashboard=False if address == "local" else None,
            log_to_driver=False,
            logging_level="ERROR",
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise InputError(f"No Ray cluster answers at {address} ({said(error)}): check the address.") from error
    try:
        total = ray.cluster_resources()
        gpus, cpus = int(total.get("GPU", 0)), int(total.get("CPU", 1))
        count = min(gpus or max(1, cpus // 4), len(scans))
        need = {"num_gpus": 1} if gpus else {"num_cpus": min(4, cpus)}
        device = "cuda" if gpus else "cpu"
        settings = replace(assignment.settings, device=device)
        kind = ray.remote(**need)(_RayHand)
        pool = ActorPool([kind.remote(replace(assignment, settings=settings)) for _ in range(count)])
        chunks = [list(scans[at : at + _CHUNK]) for at in range(0, len(scans), _CHUNK)]
        for outcomes in pool.map_unordered(lambda hand, chunk: hand.do.remote(chunk), chunks):
            yield from outcomes
    finally:
        ray.shutdown()


class _RayHand:
    def __init__(self, assignment: Assignment) -> None:
        from SSLSegmentationLib.models.read import read_package

        self.assignment = assignment
        self.package = read_package(assignment.package)

    def do(self, scans: list[Scan]) -> list[Outcome]:
        told = self.assignment
        return list(work(scans, self.package, told.settings, told.out, sheets=told.sheets))


def _start(hand: _Hand, assignment: Assignment) -> None:
    context = multiprocessing.get_context("spawn")
    hand.pipe, theirs = context.Pipe()
    told = replace(assignment, settings=replace(assignment.settings, device=hand.device))
    hand.process = context.Process(target=_labour, args=(theirs, told), name=f"batch on {hand.device}", daemon=True)
    hand.process.start()
    theirs.close()
    hand.given, hand.begun = [], ""


def _ended(hand: _Hand) -> int:
    hand.process.join()
    hand.pipe.close()
    code, hand.process = hand.process.exitcode, None
    return code


def _labour(pipe: Connection, assignment: Assignment) -> None:
    """The life of a worker process."""
    import signal

    from SSLSegmentationLib.models.read import read_package

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is told of Ctrl+C as well, and ends this process

    def given() -> Iterator[Scan]:
        while True:
            pipe.send(("next", None))
            scan = pipe.recv()
            if scan is None:
                return
            yield scan

    try:
        package = read_package(assignment.package)
        told = assignment
        for outcome in work(
            given(),
            package,
            told.settings,
            told.out,
            sheets=told.sheets,
            begin=lambda scan: pipe.send(("begin", scan.name)),
        ):
            pipe.send(("outcome", outcome))
    except InputError as error:
        pipe.send(("refused", str(error)))
    except (BrokenPipeError, EOFError):
        pass  # the batch was ended
    finally:
        pipe.close()
