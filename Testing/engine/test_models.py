"""Models over HTTP: which there are, getting one, deleting one."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from SSLSegmentationLib.engine.calls import NotThereError
from SSLSegmentationLib.engine.client import Client
from SSLSegmentationLib.engine.requests import PromptRequest
from SSLSegmentationLib.engine.session import Models
from SSLSegmentationLib.errors import Cancelled, InputError
from SSLSegmentationLib.models import catalogue, store
from SSLSegmentationLib.prompts import PointPrompt
from Testing.engine.engines import LONG, Gate, Served, client_of, eventually, keeper_with, scan_with_ball, served
from Testing.models.server import Server, file, serving
from Testing.models.test_store import DATA, WEIGHTS

LICENCE = WEIGHTS.licence.name
SCAN = scan_with_ball()


@pytest.fixture
def web() -> Iterator[Server]:
    with serving(file(DATA)) as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, web: Server) -> Path:
    """An empty store, and a catalogue of one's own with a small model."""
    entry = {key: value for key, value in asdict(WEIGHTS).items() if value not in ("", None, (), False)}
    entry |= {"address": web.address("small.pth"), "page": "https://example.org"}
    own = tmp_path / "own.json"
    own.write_text(json.dumps({"format": 1, "models": [entry]}))
    monkeypatch.setenv(catalogue.VARIABLE, str(own))
    monkeypatch.setenv(store.VARIABLE, str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def engine(folder: Path, gate: Gate) -> Iterator[Served]:
    with served(keeper_with({"prompt": gate}, models=Models(lambda: []))) as engine:
        yield engine


@pytest.fixture
def client(engine: Served) -> Iterator[Client]:
    with client_of(engine) as client:
        yield client


def row(client: Client) -> dict[str, Any]:
    return next(model for model in client.models() if model["id"] == WEIGHTS.id)


def test_a_model_is_installed_and_deleted_and_the_list_knows(client: Client, folder: Path) -> None:
    before = row(client)
    assert (before["kind"], before["licence"], before["installed"]) == ("promptable", LICENCE, False)
    assert before["bytes"] == len(DATA)
    seen: list[tuple[str, float]] = []
    client.install_model(WEIGHTS.id, LICENCE, lambda stage, part: seen.append((stage, part)))
    assert (row(client)["installed"], row(client)["bundled"]) == (True, False)
    assert (folder / WEIGHTS.id / "small.pth").read_bytes() == DATA
    assert store.read_record(folder / WEIGHTS.id).licence_accepted
    client.remove_model(WEIGHTS.id)
    assert not row(client)["installed"]
    assert not (folder / WEIGHTS.id).exists()


@pytest.mark.parametrize("said", ["", "MIT", LICENCE.lower()])
def test_nothing_is_downloaded_before_its_own_licence_is_accepted(client: Client, web: Server, said: str) -> None:
    with pytest.raises(InputError, match=f'under the licence "{LICENCE}": show it to the user'):
        client.install_model(WEIGHTS.id, said)
    client.models()
    assert web.requests == []


def test_a_download_is_cancelled_and_goes_on_where_it_stopped(client: Client, folder: Path, web: Server) -> None:
    half, go_on = len(DATA) // 2, threading.Event()

    def slow(handler: BaseHTTPRequestHandler) -> None:
        file(DATA, upto=half)(handler)
        handler.wfile.flush()
        go_on.wait(LONG)

    web.answers[:] = [slow, file(DATA)]

    def stop(stage: str, part: float) -> None:
        if part > 0.4:  # so much has arrived and is written
            raise Cancelled

    try:
        with pytest.raises(Cancelled):
            client.install_model(WEIGHTS.id, LICENCE, stop)
    finally:
        go_on.set()
    assert not row(client)["installed"]
    assert not (folder / WEIGHTS.id).exists()

    def let_go() -> bool:
        # The thread of the first download gives its lock back when it hears of the end.
        with suppress(InputError):
            client.install_model(WEIGHTS.id, LICENCE)
        return row(client)["installed"]

    assert eventually(let_go)
    assert "range" in web.requests[-1]


def test_a_model_that_a_job_uses_is_not_deleted(client: Client, gate: Gate) -> None:
    client.install_model(WEIGHTS.id, LICENCE)
    job = client.open(SCAN).start(PromptRequest((PointPrompt((16.0, 16.0, 16.0)),), model=WEIGHTS.id))
    assert gate.begun.wait(LONG)
    with pytest.raises(InputError, match=f"^{WEIGHTS.id} is in use by a job: wait until it is done, or cancel it.$"):
        client.remove_model(WEIGHTS.id)
    gate.finish.set()
    job.result()
    client.remove_model(WEIGHTS.id)
    assert not row(client)["installed"]


def test_what_cannot_be_installed_or_deleted_is_said_in_one_sentence(client: Client, web: Server) -> None:
    with pytest.raises(InputError, match="abdomen-ct-fast comes with the program and cannot be removed"):
        client.remove_model("abdomen-ct-fast")
    with pytest.raises(InputError, match=f'"{WEIGHTS.id}" is not installed'):
        client.remove_model(WEIGHTS.id)
    for ask in (client.remove_model, lambda model: client.install_model(model, LICENCE)):
        with pytest.raises(NotThereError, match='There is no model "etc"'):
            ask("etc")
    web.answers[:] = [file(DATA[::-1])]
    with pytest.raises(InputError, match="SHA-256"):
        client.install_model(WEIGHTS.id, LICENCE)
    assert not row(client)["installed"]


def test_an_installation_has_no_result(engine: Served, client: Client) -> None:
    begun = engine.http.post(f"/models/{WEIGHTS.id}/install", json={"licence": LICENCE}).json()
    assert begun["operation"] == "install"
    assert eventually(lambda: engine.http.get(f"/jobs/{begun['id']}").json()["state"] == "done")
    answer = engine.http.get(f"/jobs/{begun['id']}/result")
    assert (answer.status_code, "gives no result" in answer.json()["detail"]) == (409, True)
