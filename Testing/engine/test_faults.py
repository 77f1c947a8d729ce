"""Faults: whatever happens to an engine, its clients and what travels between them, the next call works.

And memory is back where it was, to 5 %.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import psutil
import pytest

from SSLSegmentationLib.engine.calls import EngineLostError, JobState
from SSLSegmentationLib.engine.client import Client, HttpxTransport, RemoteSession, client_of
from SSLSegmentationLib.engine.launch import LocalEngine
from SSLSegmentationLib.engine.requests import (
    PromptRequest,
    PropagateRequest,
    RefineRequest,
    Request,
    SegmentRequest,
    operation_of,
)
from SSLSegmentationLib.engine.session import Session
from SSLSegmentationLib.engine.wire import volume_frame
from SSLSegmentationLib.prompts import PointPrompt
from SSLSegmentationLib.volume import Volume
from Testing.engine.engines import LONG, eventually, scan_with_ball
from Testing.engine.slow_engine import FOREVER

ROOT = Path(__file__).parents[2]
SCAN = scan_with_ball()
CENTRE = [PointPrompt((16.0, 16.0, 16.0))]
REFINE, PROPAGATE = RefineRequest("", (FOREVER,)), PropagateRequest((FOREVER,))
LARGE = Volume(np.random.default_rng(0).integers(0, 2000, (200, 300, 300)).astype(np.int16))  # 36 MB


@pytest.fixture
def local() -> Iterator[LocalEngine]:
    engine = LocalEngine(
        command=[sys.executable, str(ROOT / "Testing" / "engine" / "slow_engine.py")],
        environment={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        max_bytes=2**28,
    )
    engine.start()
    yield engine
    engine.stop()


@pytest.fixture
def client(local: LocalEngine) -> Iterator[Client]:
    with client_of(local) as client:
        yield client


def works(session: RemoteSession) -> bool:
    """Whether a click is answered as it is without any engine."""
    found, wanted = session.prompt(CENTRE, keep_others=False), Session(SCAN).prompt(CENTRE)
    return found.box == wanted.box and np.array_equal(found.mask, wanted.mask)


def resident(engine: LocalEngine) -> int:
    return psutil.Process(engine.pid).memory_info().rss


@contextmanager
def memory_comes_back(client: Client, local: LocalEngine) -> Iterator[None]:
    """Compared after the same things were done once, so that what is loaded on first use is loaded."""
    session = client.open(LARGE)
    session.close()
    session = client.open(SCAN)
    assert works(session)
    session.close()
    before = resident(local)
    yield
    assert eventually(lambda: held(local) == 0)
    assert eventually(lambda: resident(local) <= 1.05 * before), f"{resident(local)} bytes, but {before} before"


def held(local: LocalEngine) -> int:
    """Bytes that the engine says it holds."""
    text = httpx.get(f"{local.url}/metrics", headers={"authorization": f"Bearer {local.token}"}).text
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("sslseg_held_bytes "))


@contextmanager
def raw(local: LocalEngine) -> Iterator[socket.socket]:
    """A connection of one's own, for what no client would send."""
    where = urlsplit(local.url)
    with socket.create_connection((where.hostname, where.port), timeout=LONG) as connection:
        yield connection


def head(local: LocalEngine, *lines: str, path: str = "/volumes") -> bytes:
    fixed = (f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {local.token}")
    return "\r\n".join([*fixed, *lines, "", ""]).encode("latin-1")


def status_of(connection: socket.socket) -> int:
    first = connection.makefile("rb").readline().split()
    return int(first[1]) if first else 0


@pytest.mark.parametrize(
    "request_",
    [
        SegmentRequest(FOREVER),
        PromptRequest(tuple(CENTRE), FOREVER),
        REFINE,
        PROPAGATE,
    ],
    ids=operation_of,
)
def test_an_engine_that_is_killed_in_a_job_comes_back_with_everything(
    client: Client, local: LocalEngine, request_: Request
) -> None:
    session = client.open(SCAN)
    session.accept(session.prompt(CENTRE, "cyst"))
    job, killed = session.start(request_), local.pid

    def kill_once_it_works(stage: str, part: float) -> None:
        if stage == "Working" and local.pid == killed:
            os.kill(killed, signal.SIGKILL)

    with pytest.raises(EngineLostError, match="nothing was changed: start the job again"):
        job.result(kill_once_it_works)
    assert works(session)  # a new engine, and the scan was sent again
    assert local.pid != killed
    assert session.prompt(CENTRE, "cyst").mask.size == 0  # and so was the segment


def test_an_engine_that_was_killed_between_two_calls_is_not_noticed(client: Client, local: LocalEngine) -> None:
    session = client.open(SCAN)
    for _ in range(2):
        os.kill(local.pid, signal.SIGKILL)
        assert works(session)


def test_what_the_tick_raises_cancels_the_job_in_the_engine(client: Client) -> None:
    session = client.open(SCAN)

    def stop(stage: str, part: float) -> None:
        raise KeyboardInterrupt

    job = session.start(REFINE)
    with pytest.raises(KeyboardInterrupt):
        job.result(stop)
    assert job.state.state == "cancelled"
    assert works(session)


UPLOADER = """
import socket, sys, time
host, port, token, length = sys.argv[1], int(sys.argv[2]), sys.stdin.readline().strip(), int(sys.argv[3])
connection = socket.create_connection((host, port))
connection.sendall(
    f"POST /volumes HTTP/1.1\\r\\nHost: {host}\\r\\nAuthorization: Bearer {token}\\r\\n"
    f"Content-Length: {length}\\r\\n\\r\\n".encode()
)
connection.sendall(bytes(length // 2))
print("half", flush=True)
sys.stdin.read()
"""


def test_a_client_that_is_killed_in_the_middle_of_an_upload_leaves_nothing(client: Client, local: LocalEngine) -> None:
    where = urlsplit(local.url)
    with memory_comes_back(client, local):
        for _ in range(3):
            arguments = [str(where.hostname), str(where.port), str(LARGE.voxels.nbytes)]
            with subprocess.Popen(
                [sys.executable, "-c", UPLOADER, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            ) as uploader:
                uploader.stdin.write(local.token.encode() + b"\n")
                uploader.stdin.flush()
                assert uploader.stdout.readline() == b"half\n"
                assert held(local) >= LARGE.voxels.nbytes  # its room is set aside
                uploader.kill()
        assert eventually(lambda: held(local) == 0)
        session = client.open(SCAN)
        assert works(session)
        session.close()


def test_a_truncated_upload_leaves_nothing(client: Client, local: LocalEngine) -> None:
    content = b"".join(volume_frame(LARGE, compress=False))
    with memory_comes_back(client, local):
        with raw(local) as connection:
            connection.sendall(head(local, f"Content-Length: {len(content)}") + content[: len(content) // 2])
            connection.shutdown(socket.SHUT_WR)
            assert eventually(lambda: held(local) == 0)
        headers = {"authorization": f"Bearer {local.token}"}
        cut = httpx.post(f"{local.url}/volumes", content=content[: len(content) // 2], headers=headers)
        assert cut.status_code == 422  # a whole request, but half a frame
        session = client.open(SCAN)
        assert works(session)
        session.close()


def test_ten_gigabytes_are_refused_before_the_first_byte(client: Client, local: LocalEngine) -> None:
    with memory_comes_back(client, local):
        for path in ("/volumes", "/sessions"):
            with raw(local) as connection:
                connection.sendall(head(local, "Content-Length: 10000000000", path=path))
                assert status_of(connection) == 413
        session = client.open(SCAN)
        assert works(session)
        session.close()


def test_a_wrong_token_is_refused_before_the_body(client: Client, local: LocalEngine) -> None:
    with raw(local) as connection:
        request = head(local, "Content-Length: 100000000").replace(local.token.encode(), b"guess")
        connection.sendall(request)
        assert status_of(connection) == 401
    assert works(client.open(SCAN))


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: -1"],
        ["Content-Length: 1e3"],
        ["Content-Length: " + "9" * 30],
        ["Content-Length: 10", "Content-Length: 20"],
        ["Content-Length: 10", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: nonsense"],
        ["No colon at all"],
        ["Name\x00: value"],
        ["X: " + "y" * 200_000],
        ["Authorization: Bearer another"],
        ["Host: evil.example"],
    ],
    ids=lambda lines: lines[-1][:28],
)
def test_malformed_headers_are_refused(served_once: tuple[Client, LocalEngine], lines: list[str]) -> None:
    client, local = served_once
    with raw(local) as connection:
        connection.sendall(head(local, *lines))
        connection.shutdown(socket.SHUT_WR)
        # No answer at all is a refusal as well.
        assert status_of(connection) in (0, 400, 403, 413, 422, 431, 501)
    assert client.health()["sessions"] == 0


@pytest.mark.parametrize(
    "noise", [b"\x16\x03\x01\x02\x00\x01\x00", b"\r\n\r\n", b"GET", bytes(5000), b"PRI * HTTP/2.0\r\n\r\n"]
)
def test_noise_is_no_request(served_once: tuple[Client, LocalEngine], noise: bytes) -> None:
    client, local = served_once
    with raw(local) as connection:
        connection.sendall(noise)
        connection.shutdown(socket.SHUT_WR)
        assert status_of(connection) in (0, 400, 403)
    assert client.health()["sessions"] == 0


@pytest.fixture(scope="module")
def served_once() -> Iterator[tuple[Client, LocalEngine]]:
    engine = LocalEngine(environment={**os.environ, "PYTHONPATH": str(ROOT)}, max_bytes=2**28)
    engine.start()
    with client_of(engine) as client:
        yield client, engine


def test_two_hundred_sessions_leave_nothing(client: Client, local: LocalEngine) -> None:
    with memory_comes_back(client, local):
        sessions = [client.open(SCAN) for _ in range(200)]
        assert held(local) == SCAN.voxels.nbytes  # the same scan is there once
        assert client.health()["sessions"] == 200
        assert works(sessions[-1])
        for session in sessions:
            session.close()
        for number in range(20):
            other = client.open(LARGE.with_voxels(LARGE.voxels + np.int16(number)))
            other.close()


def test_more_sessions_than_allowed_are_refused_and_the_others_go_on(client: Client) -> None:
    from SSLSegmentationLib.errors import InputError

    sessions = [client.open(SCAN) for _ in range(256)]
    with pytest.raises(InputError, match="close one"):
        client.open(SCAN)
    sessions.pop().close()
    assert works(client.open(SCAN))


def test_jobs_that_are_cancelled_leave_nothing(client: Client, local: LocalEngine) -> None:
    with memory_comes_back(client, local):
        session = client.open(LARGE)
        for _ in range(5):
            running = session.start(PROPAGATE)
            waiting = session.start(REFINE)
            assert any(isinstance(news, int) for news, _ in zip(running.watch(), range(50), strict=False))
            assert waiting.cancel().state == running.cancel().state == "cancelled"
        session.close()


def test_two_clients_at_once_never_get_each_others_results(local: LocalEngine) -> None:
    places = [(10, 12, 14), (20, 18, 16)]
    wrong: list[Any] = []

    def work(place: tuple[int, int, int]) -> None:
        scan, prompts = scan_with_ball(place), [PointPrompt(tuple(map(float, place)))]
        wanted = Session(scan).prompt(prompts)
        with Client(HttpxTransport(local.url, local.token)) as client:
            session = client.open(scan)
            busy = session.start(PROPAGATE)
            for _ in range(20):
                found = session.prompt(prompts)
                if found.box != wanted.box or not np.array_equal(found.mask, wanted.mask):
                    wrong.append(place)
            busy.cancel()

    in_threads(work, places)
    assert wrong == []


def in_threads(work: Callable[[Any], None], items: list[Any]) -> None:
    threads = [threading.Thread(target=work, args=(item,)) for item in items]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * LONG)
        assert not thread.is_alive()


PARENT = """
import os, sys
from SSLSegmentationLib.engine.client import start_local
client = start_local()
print(client.health()["version"], client._stop.__self__.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("end", ["killed", "finished"])
def test_an_engine_ends_with_its_parent(end: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as parent:
        engine = psutil.Process(int(parent.stdout.readline().split()[1]))
        assert engine.is_running()
        if end == "killed":
            parent.kill()
        else:
            parent.stdin.close()
        assert eventually(lambda: not engine.is_running() or engine.status() == psutil.STATUS_ZOMBIE)


def test_a_state_is_no_result(client: Client) -> None:
    """A prompt that takes longer than a round trip is followed to its end."""
    session = client.open(SCAN)
    job = session.start(PromptRequest(tuple(CENTRE)))
    assert isinstance(job.state, JobState)
    assert job.result().mask.any()
