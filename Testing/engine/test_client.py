"""Clients: without torch, with an engine of their own, and the same sessions as in plain Python."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from SSLSegmentationLib.engine import calls
from SSLSegmentationLib.engine.calls import Answer, Call, EngineError, EngineLostError, NotThereError
from SSLSegmentationLib.engine.client import Client, connect, start_local
from SSLSegmentationLib.engine.launch import LocalEngine
from SSLSegmentationLib.engine.requests import PropagateRequest, RefineRequest
from SSLSegmentationLib.engine.session import Session
from SSLSegmentationLib.errors import Cancelled, InputError
from SSLSegmentationLib.prompts import PointPrompt
from SSLSegmentationLib.proposal import NOTHING
from Testing.engine.engines import (
    TOKEN,
    Gate,
    client_of,
    eventually,
    keeper_with,
    scan_with_ball,
    served,
    stream,
)

ROOT = Path(__file__).parents[2]
SCAN = scan_with_ball()
CENTRE = [PointPrompt((16.0, 16.0, 16.0))]
PROPAGATE = PropagateRequest(("ball",), (16,))

WITHOUT_TORCH = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "monai", "fastapi", "uvicorn", "pydantic", "starlette", "openvino"):
            raise ModuleNotFoundError(f"{name} is not installed", name=name)

sys.meta_path.insert(0, Absent())
from SSLSegmentationLib.engine.client import connect
from SSLSegmentationLib.prompts import PointPrompt
from Testing.engine.engines import scan_with_ball

with connect(sys.argv[1], sys.stdin.readline().strip()) as engine:
    session = engine.open(scan_with_ball())
    proposal = session.prompt([PointPrompt((16.0, 16.0, 16.0))], "ball")
    session.accept(proposal)
    again = session.prompt([PointPrompt((16.0, 16.0, 16.0))], "ball")
    print(engine.health()["sessions"], proposal.added.sum(), again.mask.size)
"""


def test_a_client_works_where_torch_and_the_service_are_missing() -> None:
    with served(keeper_with()) as engine:
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_TORCH, engine.url],
            input=TOKEN,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert done.returncode == 0, done.stderr
        sessions, added, again = map(int, done.stdout.split())
        assert (sessions, again) == (1, 0)
        assert added > 500
        assert not engine.keeper.opened  # the client has closed what it opened


def test_an_engine_of_ones_own_gives_what_plain_python_gives() -> None:
    with start_local(environment={**os.environ, "OMP_NUM_THREADS": "1"}) as client:
        session = client.open(SCAN)
        remote, local = session.prompt(CENTRE, "ball"), Session(SCAN).prompt(CENTRE, "ball")
        assert (remote.box, remote.segment) == (local.box, local.segment)
        assert remote.score == pytest.approx(local.score)
        np.testing.assert_array_equal(remote.mask, local.mask)
        np.testing.assert_allclose(remote.uncertainty, local.uncertainty, atol=5e-4)
        assert isinstance(client.models(), list)
        with pytest.raises(InputError, match='The model "none" is not installed here'):
            session.segment("none")
        with pytest.raises(InputError, match='There is no segment "ball"'):
            session.start(PROPAGATE).result()


def test_neither_the_command_line_nor_the_environment_shows_the_token() -> None:
    engine = LocalEngine()
    engine.start()
    try:
        process = Path(f"/proc/{engine.pid}")
        if not process.is_dir():
            pytest.skip("this system does not show them as files")
        for name in ("cmdline", "environ"):
            assert engine.token.encode() not in (process / name).read_bytes()
    finally:
        engine.stop()
    assert not engine.running


@pytest.mark.parametrize(
    ("python", "command"),
    [("/no/such/python", None), (None, [sys.executable, "-c", "raise SystemExit('no torch')"]), (sys.executable, None)],
    ids=["missing", "ends", "broken"],
)
def test_an_engine_that_cannot_start_says_why(python: str | None, command: list[str] | None) -> None:
    broken = {**os.environ, "PYTHONHOME": "/no/such/folder"} if command is None else None
    engine = LocalEngine(python, command=command, environment=broken)
    with pytest.raises(InputError, match=r"(cannot be started|ended before it was ready).*\.$"):
        engine.start()
    assert not engine.running


def test_a_long_job_streams_and_gives_its_result() -> None:
    with served(keeper_with({"propagate": stream})) as engine, client_of(engine) as client:
        session = client.open(SCAN)
        job = session.start(PROPAGATE)
        news = list(job.watch())
        assert [one for one in news if isinstance(one, int)] == [0, 1, 2]
        assert job.state.state == "done"
        assert job.result().box[0].start == 3


def test_the_tick_follows_and_may_cancel() -> None:
    gate = Gate()
    with served(keeper_with({"refine": gate})) as engine, client_of(engine) as client:
        seen: list[tuple[str, float]] = []

        def stop(stage: str, part: float) -> None:
            seen.append((stage, part))
            if stage == "Working":
                raise Cancelled

        with pytest.raises(Cancelled):
            client.open(SCAN).refine(RefineRequest("model", ("ball",)), stop)
        assert ("Working", 0.5) in seen
        assert eventually(gate.left.is_set)


def test_a_session_that_was_freed_is_opened_again_with_its_segments() -> None:
    with served(keeper_with()) as engine, client_of(engine) as client:
        session = client.open(SCAN)
        session.accept(session.prompt(CENTRE, "ball"))
        (opened,) = engine.keeper.opened
        engine.keeper.close(opened)
        assert session.prompt(CENTRE, "ball").mask.size == 0
        assert opened not in engine.keeper.opened


def test_the_second_session_on_a_scan_sends_nothing() -> None:
    with served(keeper_with()) as engine, client_of(engine) as client:
        sent: list[str] = []
        transport = client._transport
        send = transport.send
        transport.send = lambda call: sent.append(f"{call.method} {call.path[:9]}") or send(call)
        client.open(SCAN)
        client.open(SCAN)
        assert sent == ["GET /volumes/", "POST /volumes", "POST /sessions", "GET /volumes/", "POST /sessions"]


def test_a_client_that_lives_keeps_its_session() -> None:
    """Its heartbeat is seen by the engine; what happens without one is tested with the service."""
    with served(keeper_with()) as engine, client_of(engine, keep_alive=3.0) as client:
        client.open(SCAN)
        (opened,) = engine.keeper.opened.values()
        first = opened.seen
        assert eventually(lambda: opened.seen > first)


@pytest.mark.parametrize("url", ["", "gpu.example", "ftp://gpu.example", "http://"])
def test_an_address_that_is_none_is_named(url: str) -> None:
    with pytest.raises(InputError, match="is not the address of an engine"):
        connect(url, TOKEN)


def test_a_wrong_token_or_nobody_there_is_said_in_one_sentence() -> None:
    with served(keeper_with()) as engine:
        with pytest.raises(InputError, match="token is missing or wrong"):
            connect(engine.url, "another token")
        url = engine.url
    with pytest.raises(EngineLostError, match=r"does not answer .*check that it runs"):
        connect(url, TOKEN)


class Replying:
    """A transport that always gives the same answer."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    def send(self, call: Call[Any]) -> Answer:
        return self.answer

    def lines(self, path: str) -> Generator[str, None, None]:
        yield ""

    def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (404, b'{"detail": "Gone: open it."}', NotThereError),
        (422, b'{"detail": "Bad: mend it."}', InputError),
        (507, b'{"detail": "Full: make room."}', InputError),
        (500, b"Internal Server Error", EngineError),
        (502, b"<html>proxy</html>", EngineError),
        (200, b"<html>another service</html>", EngineError),
    ],
)
def test_every_wrong_answer_becomes_one_sentence(status: int, body: bytes, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"\.$"):
        Client(Replying(Answer(status, body))).health()


def test_what_a_newer_engine_says_besides_is_passed_over() -> None:
    said = {"id": "1", "session": "2", "operation": "segment", "state": "done", "colour": "blue"}
    assert calls.job_of(said).ended


def test_accepting_works_before_anything_is_known() -> None:
    with served(keeper_with()) as engine, client_of(engine) as client:
        session = client.open(SCAN)
        session.put("new", NOTHING)
        assert session.prompt(CENTRE, "new").added.any()
