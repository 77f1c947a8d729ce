"""The service over real HTTP: every address, every refusal, and who may ask at all."""

from __future__ import annotations

import errno
import gzip
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from SSLSegmentationLib.engine import service
from SSLSegmentationLib.engine.frames import pack
from SSLSegmentationLib.engine.results import Proposals
from SSLSegmentationLib.engine.session import Models, Session
from SSLSegmentationLib.engine.wire import events, mask_frame, read_result_frame, volume_frame
from SSLSegmentationLib.identity import digest
from SSLSegmentationLib.io.nifti import read_nifti
from SSLSegmentationLib.io.segmentation import read_segmentation
from SSLSegmentationLib.io.write import write_volume
from SSLSegmentationLib.prompts import PointPrompt
from SSLSegmentationLib.proposal import Cropped
from Testing.engine.engines import (
    LONG,
    TOKEN,
    Gate,
    Served,
    click,
    eventually,
    keeper_with,
    scan_with_ball,
    served,
    some_proposal,
    stream,
)
from Testing.models.packages import small_package

SCAN = scan_with_ball()
CENTRE = (16, 16, 16)
REFINE = {"operation": "refine", "model": "some", "segments": ["ball"]}
PROPAGATE = {"operation": "propagate", "segments": ["ball"]}


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def engine(gate: Gate) -> Iterator[Served]:
    keeper = keeper_with({"refine": gate, "propagate": stream}, models=Models(lambda: [small_package()]))
    with served(keeper, largest_upload=2**22) as engine:
        yield engine


def start(engine: Served, session: str, wanted: dict[str, Any], **query: Any) -> httpx.Response:
    return engine.http.post(f"/sessions/{session}/jobs", json=wanted, params=query)


def ended(engine: Served, job: str) -> dict[str, Any]:
    """The last event of a job."""
    with engine.http.stream("GET", f"/jobs/{job}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        told = [(name, json.loads(data)) for name, data in events(answer.iter_lines())]
    assert told[-1][0] == told[-1][1]["state"]
    return told[-1][1]


def detail(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    return answer.json()["detail"]


# Who may ask


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer ü"]
)
def test_without_the_token_there_is_no_answer(engine: Served, authorization: str | None) -> None:
    headers = {} if authorization is None else {"authorization": authorization.encode("latin-1")}
    for method, path in (
        ("GET", "/health"),
        ("GET", "/metrics"),
        ("GET", "/openapi.json"),
        ("GET", "/docs"),
        ("GET", "/nothing"),
        ("GET", "/models"),
        ("POST", "/volumes"),
        ("OPTIONS", "/sessions"),
    ):
        answer = httpx.request(method, engine.url + path, headers=headers)
        assert "token" in detail(answer, 401)
        assert answer.headers["www-authenticate"] == "Bearer"


def test_a_web_page_is_refused_and_gets_no_cors_headers(engine: Served) -> None:
    answer = engine.http.get("/health", headers={"origin": "http://127.0.0.1"})
    assert "web pages" in detail(answer, 403)
    assert not any(name.startswith("access-control") for name in answer.headers)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "[::2]:80"])
def test_another_name_for_loopback_is_refused(engine: Served, host: str) -> None:
    detail(engine.http.get("/health", headers={"host": host}), 403)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1234", "127.0.0.1", "[::1]:5"])
def test_the_names_of_loopback_are_accepted(engine: Served, host: str) -> None:
    assert engine.http.get("/health", headers={"host": host}).status_code == 200


# Scans and sessions


@pytest.mark.parametrize("compress", [False, True])
def test_a_scan_is_sent_once_and_found_by_its_content(engine: Served, compress: bool) -> None:
    address = digest(SCAN)
    assert engine.http.get(f"/volumes/{address}").status_code == 404
    sent = engine.http.post("/volumes", content=b"".join(volume_frame(SCAN, compress)))
    assert sent.status_code == 201
    assert sent.json() == {
        "digest": address,
        "name": SCAN.name,
        "modality": "CT",
        "size": [32, 32, 32],
        "spacing": [1.0, 1.0, 1.0],
        "orientation": "RAS",
    }
    assert engine.http.get(f"/volumes/{address}").status_code == 200
    first, second = (engine.http.post("/sessions", json={"volume": address}).json()["id"] for _ in range(2))
    assert engine.keeper.opened[first].session.volume is engine.keeper.opened[second].session.volume
    assert [one["id"] for one in engine.http.get("/sessions").json()] == [first, second]
    for session in (first, second):
        assert engine.http.get(f"/volumes/{address}").status_code == 200
        assert engine.http.delete(f"/sessions/{session}").status_code == 204
    assert engine.http.get(f"/volumes/{address}").status_code == 404
    assert engine.keeper.bytes_held == 0


def test_a_scan_that_is_streamed_without_a_length_arrives(engine: Served) -> None:
    sent = engine.http.post("/volumes", content=(bytes(part) for part in volume_frame(SCAN, False)))
    assert sent.json()["digest"] == digest(SCAN)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_nifti_file_is_a_scan(engine: Served, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"thorax{ending}"
    write_volume(SCAN, path)
    sent = engine.http.post("/volumes", params={"name": f"C:\\scans\\thorax{ending}"}, content=path.read_bytes())
    assert sent.json()["digest"] == digest(SCAN)
    assert sent.json()["name"] == f"thorax{ending}"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"NRRD0004\ndata file: /etc/passwd\n",
        b"ObjectType = Image\nElementDataFile = /etc/passwd\n",
        gzip.compress(b"nothing"),
        b"SSLF" + bytes(8),
        b"\x80\x04\x95pickle",
        b"".join(pack("mask", {}, {}, False)),
    ],
)
def test_what_is_no_scan_is_refused_in_one_sentence(engine: Served, content: bytes) -> None:
    said = detail(engine.http.post("/volumes", content=content), 422)
    assert said.endswith(".")
    assert "/" not in said.replace("NRRD/", "")  # nothing of the engine's folders
    assert engine.keeper.bytes_held == 0


def test_a_scan_that_is_too_large_is_refused_before_it_is_sent(engine: Served) -> None:
    said = detail(engine.http.post("/volumes", content=bytes(2**22 + 1)), 413)
    assert "4 MB" in said
    assert "longer" in detail(engine.http.post("/volumes", content=(bytes(2**20) for _ in range(6))), 413)
    assert engine.http.get("/health").status_code == 200


def test_a_request_that_is_too_large_is_refused(engine: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "LARGEST_REQUEST", 1000)
    session = engine.open(SCAN)
    detail(start(engine, session, {**REFINE, "model": "y" * 2000}), 413)


def test_an_engine_that_is_full_says_so_and_has_room_again_later() -> None:
    with served(keeper_with(max_bytes=150_000)) as engine:
        session = engine.open(SCAN)
        bigger = b"".join(volume_frame(scan_with_ball((10, 10, 10), side=40), False))
        assert "room for" in detail(engine.http.post("/volumes", content=bigger), 507)
        engine.http.delete(f"/sessions/{session}")
        assert engine.http.post("/volumes", content=bigger).status_code == 201


def test_a_full_disk_is_said_and_survived(engine: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "scan.nii.gz"
    write_volume(SCAN, path)
    content = path.read_bytes()
    session = engine.open(SCAN)
    job = start(engine, session, click(SCAN, CENTRE), wait=LONG).headers["x-job"]

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        patch.setattr("os.fsync", full)
        assert "disk of the engine is full" in detail(engine.http.post("/volumes", content=content), 507)
        for form in ("nifti", "segmentation"):
            answer = engine.http.get(f"/jobs/{job}/result", params={"form": form})
            assert "disk of the engine is full" in detail(answer, 507)
    assert engine.http.post("/volumes", content=content).status_code == 201
    assert engine.http.get(f"/jobs/{job}/result", params={"form": "nifti"}).status_code == 200


# Jobs


def test_a_click_is_answered_in_one_round_trip(engine: Served) -> None:
    session = engine.open(SCAN)
    answer = start(engine, session, click(SCAN, CENTRE), wait=LONG)
    assert answer.status_code == 200
    found = read_result_frame(answer.content, SCAN)
    wanted = Session(SCAN).prompt([PointPrompt((16.0, 16.0, 16.0))])
    assert found.box == wanted.box
    np.testing.assert_array_equal(found.mask, wanted.mask)
    for packed in ("true", "false"):
        again = engine.http.get(f"/jobs/{answer.headers['x-job']}/result", params={"packed": packed})
        np.testing.assert_array_equal(read_result_frame(again.content, SCAN).mask, wanted.mask)


def test_a_job_is_watched_to_its_end_and_its_parts_are_fetched(engine: Served) -> None:
    session = engine.open(SCAN)
    job = start(engine, session, PROPAGATE).json()["id"]
    last = ended(engine, job)
    assert (last["state"], last["partial_results"], last["error"]) == ("done", 3, "")
    whole = engine.http.get(f"/jobs/{job}/result")
    assert read_result_frame(whole.content, SCAN).box[0].start == 3
    assert "whole" in detail(engine.http.get(f"/jobs/{job}/partial/0"), 404)  # the whole has taken its place


def test_partial_results_are_fetched_while_the_job_runs(gate: Gate) -> None:
    def streaming(session: Session, request: Any, tick: Any) -> Any:
        yield from stream(session, request, tick)
        return gate(session, request, tick)

    with served(keeper_with({"propagate": streaming})) as engine:
        job = start(engine, engine.open(SCAN), PROPAGATE).json()["id"]
        numbers = []
        with engine.http.stream("GET", f"/jobs/{job}/events") as answer:
            for name, data in events(answer.iter_lines()):
                if name == "partial":
                    numbers.append(json.loads(data)["number"])
                    part = engine.http.get(f"/jobs/{job}/partial/{numbers[-1]}")
                    assert read_result_frame(part.content, SCAN).box[0].start == numbers[-1]
                if len(numbers) == 3:
                    gate.finish.set()
        assert numbers == [0, 1, 2]
        assert engine.http.get(f"/jobs/{job}").json()["state"] == "done"


def test_a_running_job_is_cancelled_and_the_engine_is_free(engine: Served, gate: Gate) -> None:
    session = engine.open(SCAN)
    job = start(engine, session, REFINE).json()["id"]
    assert gate.begun.wait(LONG)
    waiting = start(engine, session, PROPAGATE).json()["id"]
    assert "not done yet" in detail(engine.http.get(f"/jobs/{job}/result"), 409)
    assert engine.http.post(f"/jobs/{waiting}/cancel").json()["state"] == "cancelled"
    assert engine.http.post(f"/jobs/{job}/cancel").json()["state"] == "cancelled"
    assert gate.left.wait(LONG)
    assert ended(engine, job)["state"] == "cancelled"
    assert "cancelled" in detail(engine.http.get(f"/jobs/{job}/result"), 409)
    assert start(engine, session, click(SCAN, CENTRE), wait=LONG).status_code == 200
    assert engine.keeper.opened[session].session.last.keys() == {"prompt"}


def test_a_prompt_overtakes_a_long_job(engine: Served, gate: Gate) -> None:
    session = engine.open(SCAN)
    long = start(engine, session, REFINE).json()["id"]
    assert gate.begun.wait(LONG)
    assert start(engine, session, click(SCAN, CENTRE), wait=LONG).status_code == 200
    assert engine.http.get(f"/jobs/{long}").json()["state"] == "running"


def test_a_job_that_fails_says_why(engine: Served) -> None:
    session = engine.open(SCAN)
    far = {"operation": "prompt", "prompts": [{"kind": "point", "ras": [900, 0, 0]}]}
    failed = start(engine, session, far, wait=LONG)
    assert failed.status_code == 202
    assert failed.json()["state"] == "failed"
    assert failed.json()["blame"] == "input"
    assert failed.json()["error"].startswith("The click at 900.0")
    assert detail(engine.http.get(f"/jobs/{failed.json()['id']}/result"), 422) == failed.json()["error"]
    unknown = start(engine, session, {"operation": "segment", "model": "../../etc"}, wait=LONG)
    assert "not installed here: choose one of these: two-organs" in unknown.json()["error"]


def test_segments_are_put_corrected_accepted_and_forgotten(engine: Served) -> None:
    session = engine.open(SCAN)
    mask = np.zeros(SCAN.shape, bool)
    mask[16, 16, 16] = True
    path = f"/sessions/{session}/segments/Niere%20links"
    assert engine.http.put(path, content=b"".join(mask_frame(Cropped.of(mask)))).status_code == 204
    wanted = {**click(SCAN, CENTRE), "segment": "Niere links"}
    answer = start(engine, session, wanted, wait=LONG)
    proposal = read_result_frame(answer.content, SCAN)
    assert proposal.before.sum() == 1
    assert engine.http.post(f"/jobs/{answer.headers['x-job']}/accept").status_code == 204
    again = read_result_frame(start(engine, session, wanted, wait=LONG).content, SCAN)
    assert again.mask.size == 0
    assert engine.http.get(f"/sessions/{session}").json()["segments"] == ["Niere links"]
    assert engine.http.delete(path).status_code == 204
    assert engine.http.delete(path).status_code == 404


@pytest.mark.parametrize("form", ["segmentation", "nifti"])
def test_a_result_is_fetched_as_a_file(engine: Served, tmp_path: Path, form: str) -> None:
    answer = start(engine, engine.open(SCAN), {**click(SCAN, CENTRE), "segment": "cyst"}, wait=LONG)
    got = engine.http.get(f"/jobs/{answer.headers['x-job']}/result", params={"form": form})
    path = tmp_path / ("result.seg.nrrd" if form == "segmentation" else "result.nii.gz")
    path.write_bytes(got.content)
    if form == "segmentation":
        segmentation = read_segmentation(path)
        assert segmentation.labels[0].name == "cyst"
        voxels = segmentation.layers[0].voxels
    else:
        voxels = read_nifti(path, "result").voxels
    proposal = read_result_frame(answer.content, SCAN)
    assert voxels.sum() == proposal.mask.sum()
    assert voxels[proposal.box].astype(bool).sum() == proposal.mask.sum()


def test_several_proposals_are_accepted_at_once_and_fetched_as_one_file(tmp_path: Path) -> None:
    def two(session: Session, request: Any, tick: Any) -> Proposals:
        pair = (some_proposal(session, 3), some_proposal(session, 5))
        return Proposals({name: replace(one, segment=name) for name, one in zip(("a", "b"), pair, strict=True)})

    with served(keeper_with({"propagate": two})) as engine:
        session = engine.open(SCAN)
        answer = start(engine, session, PROPAGATE, wait=LONG)
        assert list(read_result_frame(answer.content, SCAN).segments) == ["a", "b"]
        got = engine.http.get(f"/jobs/{answer.headers['x-job']}/result", params={"form": "segmentation"})
        (tmp_path / "two.seg.nrrd").write_bytes(got.content)
        written = read_segmentation(tmp_path / "two.seg.nrrd")
        assert [label.name for label in written.labels] == ["a", "b"]
        assert (written.layers[0].voxels[3, 3, 3], written.layers[0].voxels[5, 5, 5]) == (1, 2)
        assert engine.http.post(f"/jobs/{answer.headers['x-job']}/accept").status_code == 204
        held = engine.keeper.opened[session].session.segments
        assert {name: mask.box[0].start for name, mask in held.items()} == {"a": 3, "b": 5}


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"operation": "delete"},
        {"operation": "prompt", "prompts": []},
        {"operation": "prompt", "prompts": [{"kind": "point", "ras": [1, 2]}]},
        {"operation": "prompt", "prompts": [{"kind": "point", "ras": [1, 2, 1e300]}]},
        {"operation": "prompt", "prompts": [{"kind": "point", "ras": [1, 2, None]}]},
        {"operation": "segment", "model": "x", "extra": 1},
        {"operation": "segment", "model": "x", "settings": {"a": {"b": 1}}},
        {"operation": "refine", "segments": ["ball"]},
        {"operation": "refine", "model": "x", "segments": []},
        {**PROPAGATE, "segments": None},
        {**PROPAGATE, "slices": [-1]},
        {**PROPAGATE, "slices": [1.5]},
        {**PROPAGATE, "axis": 3},
        {**PROPAGATE, "stride": 0},
        {**PROPAGATE, "window": [400]},
        {**PROPAGATE, "window": [400, "wide"]},
        {**PROPAGATE, "plane": {"shape": [3, 3]}},
        {**PROPAGATE, "folder": "/"},
    ],
)
def test_a_request_that_says_nothing_clear_is_refused(engine: Served, wanted: dict[str, Any]) -> None:
    said = detail(start(engine, engine.open(SCAN), wanted), 422)
    assert said.startswith("body")


def test_json_that_is_none_is_refused(engine: Served) -> None:
    session = engine.open(SCAN)
    for content in (b"{", b"\xff", b'{"operation": NaN}', b"[" * 100_000):
        answer = engine.http.post(
            f"/sessions/{session}/jobs", content=content, headers={"content-type": "application/json"}
        )
        assert answer.status_code in (400, 422)
        assert answer.json()["detail"].endswith(".")


@pytest.mark.parametrize("path", ["/jobs/0123456789abcdef", "/sessions/0123456789abcdef"])
def test_what_is_not_there_is_said_so(engine: Served, path: str) -> None:
    assert detail(engine.http.get(path), 404).endswith(".")
    assert engine.http.get(path + "x").status_code == 422


# Time and numbers


def test_a_session_whose_client_has_vanished_is_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    now, gate = [0.0], Gate()
    monkeypatch.setattr(service, "_SWEEP_SECONDS", 0.01)
    with served(keeper_with({"refine": gate}, clock=lambda: now[0], idle_seconds=600)) as engine:
        leased, plain = engine.open(SCAN), engine.open(SCAN)
        address = engine.http.get(f"/sessions/{plain}").json()["volume"]["digest"]
        bound = engine.http.post("/sessions", json={"volume": address, "keep_alive": 30}).json()["id"]
        job = start(engine, bound, REFINE).json()["id"]
        assert gate.begun.wait(LONG)
        now[0] = 29.0
        assert engine.http.get(f"/sessions/{bound}").status_code == 200  # a sign of life
        now[0] = 58.0
        assert engine.http.get(f"/sessions/{leased}").status_code == 200
        now[0] = 60.0
        assert eventually(lambda: bound not in engine.keeper.opened)
        assert gate.left.wait(LONG)  # its job does not go on for nobody
        assert engine.http.get(f"/jobs/{job}").status_code == 404
        assert set(engine.keeper.opened) == {leased, plain}
        now[0] = 700.0
        assert eventually(lambda: not engine.keeper.opened)
        assert engine.keeper.bytes_held == 0


def test_a_session_that_is_watched_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    now, gate = [0.0], Gate()
    with served(keeper_with({"refine": gate}, clock=lambda: now[0])) as engine:
        address = engine.http.post("/volumes", content=b"".join(volume_frame(SCAN, False))).json()["digest"]
        session = engine.http.post("/sessions", json={"volume": address, "keep_alive": 5}).json()["id"]
        job = start(engine, session, REFINE).json()["id"]
        with engine.http.stream("GET", f"/jobs/{job}/events") as answer:
            lines = answer.iter_lines()
            assert next(lines).startswith("event: progress")
            now[0] = 1000.0
            engine.keeper.sweep()
            assert session in engine.keeper.opened
            gate.finish.set()
            assert any(line == "event: done" for line in lines)
        assert eventually(lambda: engine.keeper.opened[session].attached == 0)
        now[0] = 2000.0
        engine.keeper.sweep()
        assert not engine.keeper.opened


def test_an_unopened_scan_makes_room_after_a_while() -> None:
    now = [0.0]
    with served(keeper_with(clock=lambda: now[0])) as engine:
        engine.http.post("/volumes", content=b"".join(volume_frame(SCAN, False)))
        assert engine.keeper.bytes_held == SCAN.voxels.nbytes
        now[0] = 1000.0
        engine.keeper.sweep()
        assert engine.keeper.bytes_held == 0


def test_models_are_listed_with_their_labels(engine: Served) -> None:
    models = {model["id"]: model for model in engine.http.get("/models").json()}
    ours = models["two-organs"]
    assert (ours["kind"], ours["licence"], ours["installed"]) == ("segments", "Apache-2.0", True)
    assert [label["name"] for label in ours["labels"]] == ["liver", "spleen"]
    other = models["sam2.1-tiny"]
    assert (other["kind"], other["installed"], other["downloadable"]) == ("promptable", False, True)
    assert other["bytes"] > 10**8
    assert models["abdomen-ct-fast"]["bundled"]


def test_metrics_are_prometheus_text(engine: Served) -> None:
    start(engine, engine.open(SCAN), click(SCAN, CENTRE), wait=LONG)
    answer = engine.http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert eventually(
        lambda: 'sslseg_jobs_total{operation="prompt",state="done"} 1' in engine.http.get("/metrics").text
    )
    values = [line for line in answer.text.splitlines() if not line.startswith("#")]
    assert all(float(line.rpartition(" ")[2]) >= 0 for line in values)
    assert "sslseg_sessions 1" in values
    assert "ball" not in answer.text  # no names of scans


def test_two_clients_at_once_never_get_each_others_results(engine: Served) -> None:
    places = [(10, 12, 14), (20, 18, 16)]
    wrong: list[Any] = []

    def work(centre: tuple[int, int, int]) -> None:
        scan = scan_with_ball(centre)
        wanted = Session(scan).prompt([PointPrompt(tuple(map(float, centre)))])
        session = engine.open(scan)
        for _ in range(25):
            found = read_result_frame(start(engine, session, click(scan, centre), wait=LONG).content, scan)
            if found.box != wanted.box or not np.array_equal(found.mask, wanted.mask):
                wrong.append((centre, found.box))

    threads = [threading.Thread(target=work, args=(place,)) for place in places]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert wrong == []
    assert len(engine.keeper.opened) == 2
