"""Handing a scan over through a file: who may, what goes wrong, and that nothing remains."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from SSLSegmentationLib.engine import handover
from SSLSegmentationLib.engine.calls import Answer, Call, EngineLostError
from SSLSegmentationLib.engine.client import Client
from SSLSegmentationLib.engine.handover import FRESH_SECONDS, NONCE_BYTES, Handovers, write_into
from SSLSegmentationLib.engine.keeper import Refusal
from SSLSegmentationLib.engine.service import make_app
from SSLSegmentationLib.engine.wire import digest, volume_frame
from Testing.engine.engines import TOKEN, Served, client_of, keeper_with, scan_with_ball, served

SCAN = scan_with_ball()
FRAME = b"".join(volume_frame(SCAN, compress=False))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the files of this test lie."""
    monkeypatch.setattr(handover, "_folder", lambda: tmp_path)
    return tmp_path


@pytest.fixture
def engine() -> Iterator[Served]:
    with served(keeper_with()) as engine:
        yield engine


def offered(engine: Served) -> tuple[str, Path]:
    said = engine.http.post("/handovers").json()
    return said["id"], Path(said["path"])


def take(engine: Served, id: str, nonce: bytes) -> httpx.Response:
    return engine.http.post(f"/handovers/{id}", json={"nonce": nonce.hex()})


def test_a_client_on_the_same_machine_sends_no_scan_and_leaves_no_file(engine: Served, folder: Path) -> None:
    requests: list[str] = []
    with client_of(engine) as client:
        plain = client.ask
        client.ask = lambda call: (requests.append(f"{call.method} {call.path}"), plain(call))[1]
        client.open(SCAN)
        held = engine.keeper.volume(digest(SCAN))
    np.testing.assert_array_equal(held.voxels, SCAN.voxels)
    assert "POST /volumes" not in requests
    assert list(folder.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
def test_only_the_user_of_the_engine_may_enter_the_folder(engine: Served) -> None:
    path = offered(engine)[1]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_wrong_nonce_is_refused_and_the_file_is_gone(engine: Served, folder: Path) -> None:
    id, path = offered(engine)
    nonce = write_into(path, [FRAME])
    assert take(engine, id, bytes(NONCE_BYTES)).status_code == 403
    assert list(folder.iterdir()) == []
    assert take(engine, id, nonce).status_code == 404
    assert engine.keeper.bytes_held == 0


def test_a_client_elsewhere_is_offered_no_file(folder: Path) -> None:
    keeper = keeper_with()

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(make_app(keeper, TOKEN), client=("192.0.2.7", 4000))
        async with httpx.AsyncClient(transport=transport, base_url="http://gpu") as http:
            return await http.post("/handovers", headers={"authorization": f"Bearer {TOKEN}"})

    answer = asyncio.run(ask())
    keeper.close_all()
    assert answer.status_code == 403
    assert "send the scan instead" in answer.json()["detail"]
    assert list(folder.iterdir()) == []


def test_a_truncated_file_is_refused(engine: Served, folder: Path) -> None:
    id, path = offered(engine)
    nonce = write_into(path, [FRAME])
    os.truncate(path, len(FRAME) - 100)
    answer = take(engine, id, nonce)
    assert answer.status_code == 422
    assert "damaged" in answer.json()["detail"]
    assert list(folder.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows does not let a file that is open be replaced")
def test_a_file_that_was_swapped_is_not_read(engine: Served, folder: Path, tmp_path_factory) -> None:
    id, path = offered(engine)
    nonce = path.read_bytes()
    other = tmp_path_factory.mktemp("elsewhere") / "secret"
    other.write_bytes(FRAME)
    path.unlink()
    path.symlink_to(other)
    assert take(engine, id, nonce).status_code == 422  # the engine sees the file it made, with the nonce alone
    assert engine.keeper.bytes_held == 0
    assert other.read_bytes() == FRAME
    assert list(folder.iterdir()) == []


def test_a_scan_that_finds_no_room_is_refused(folder: Path) -> None:
    with served(keeper_with(max_bytes=len(FRAME) // 2)) as engine:
        id, path = offered(engine)
        assert take(engine, id, write_into(path, [FRAME])).status_code == 507
        assert list(folder.iterdir()) == []


def test_what_a_vanished_client_left_is_removed(folder: Path) -> None:
    now = [0.0]
    handovers = Handovers(clock=lambda: now[0])
    left = handovers.offer()
    write_into(left.path, [FRAME])
    now[0] = FRESH_SECONDS + 1
    fresh = handovers.offer()
    handovers.sweep()
    assert list(folder.iterdir()) == [fresh.path.parent]
    with pytest.raises(Refusal, match="not on offer"):
        handovers.take(left.id, left.nonce, 2**20)
    handovers.close()
    assert list(folder.iterdir()) == []


def test_many_offers_leave_few_files_and_none_when_the_engine_ends(folder: Path) -> None:
    with served(keeper_with()) as engine:
        for _ in range(50):
            offered(engine)
        assert len(list(folder.iterdir())) == 8
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", ["sslseg-handover-x/notes", "elsewhere/scan", "sslseg-handover-x/scan"])
def test_a_client_writes_into_nothing_but_an_offer(tmp_path: Path, name: str) -> None:
    """An engine that lies cannot make it destroy a file."""
    path = tmp_path / name
    path.parent.mkdir()
    path.write_bytes(b"what somebody has written, longer than a nonce")
    assert write_into(path, [FRAME]) is None
    assert path.read_bytes() == b"what somebody has written, longer than a nonce"


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_a_client_follows_no_link(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(bytes(NONCE_BYTES))
    link = tmp_path / "sslseg-handover-x" / "scan"
    link.parent.mkdir()
    link.symlink_to(target)
    assert write_into(link, [FRAME]) is None
    assert target.read_bytes() == bytes(NONCE_BYTES)


def test_without_the_file_the_scan_is_sent(engine: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """As between a client and an engine in a container, or of another user."""
    monkeypatch.setattr("SSLSegmentationLib.engine.client.write_into", lambda path, buffers: None)
    with client_of(engine) as client:
        client.open(SCAN)
        np.testing.assert_array_equal(engine.keeper.volume(digest(SCAN)).voxels, SCAN.voxels)


def test_a_file_that_the_engine_cannot_use_is_followed_by_the_scan_itself(
    engine: Served, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(path: Path, buffers: list) -> bytes | None:
        nonce = write_into(path, buffers)
        os.truncate(path, 1000)
        return nonce

    monkeypatch.setattr("SSLSegmentationLib.engine.client.write_into", cut)
    with client_of(engine) as client:
        client.open(SCAN)
        np.testing.assert_array_equal(engine.keeper.volume(digest(SCAN)).voxels, SCAN.voxels)
    assert list(folder.iterdir()) == []


def test_a_client_whose_engine_has_ended_clears_the_file_away(tmp_path: Path) -> None:
    class Ended:
        """An engine that offers a file, and is killed before it takes it."""

        def __init__(self) -> None:
            self.offer = Handovers().offer()

        def send(self, call: Call) -> Answer:
            if call.path != "/handovers":
                assert self.offer.path.stat().st_size == len(FRAME)
                self.offer.file.close()
                raise EngineLostError("The engine does not answer.")
            return Answer(201, json.dumps({"id": self.offer.id, "path": str(self.offer.path)}).encode())

    with pytest.raises(EngineLostError):
        Client(Ended()).bring(SCAN)
    assert list(tmp_path.iterdir()) == []
