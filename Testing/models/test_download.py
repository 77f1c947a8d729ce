"""Downloads over connections that break, from servers that err or mean harm."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from SSLSegmentationLib.errors import Cancelled, InputError
from SSLSegmentationLib.models.download import Downloaded, download
from Testing.models.server import file, serving, status

DATA = random.Random(1).randbytes(3_000_000)
OTHER = random.Random(2).randbytes(3_000_000)
HASH = hashlib.sha256(DATA).hexdigest()
HALF = len(DATA) // 2


class Waits(list):
    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def fetch(address: str, target: Path, **options: Any) -> Downloaded:
    options = {"sha256": HASH, "size": len(DATA), "sleep": Waits()} | options
    return download(address, target, "small-model", **options)


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def cancel_at(part: float) -> Callable[[str, float], None]:
    def tick(stage: str, done: float) -> None:
        if done >= part:
            raise Cancelled

    return tick


def test_a_file_is_downloaded_checked_and_put_in_its_place(tmp_path: Path) -> None:
    parts: list[float] = []
    with serving(file(DATA)) as server:
        done = fetch(server.address(), tmp_path / "model.pt", tick=lambda stage, part: parts.append(part))
    assert done == Downloaded(len(DATA), HASH)
    assert (tmp_path / "model.pt").read_bytes() == DATA
    assert leftovers(tmp_path) == ["model.pt"]
    assert parts == sorted(parts)
    assert parts[-1] == 1.0


def test_a_dropped_connection_is_taken_up_where_it_broke(tmp_path: Path) -> None:
    waits = Waits()
    with serving(file(DATA, upto=HALF), file(DATA)) as server:
        fetch(server.address(), tmp_path / "model.pt", sleep=waits)
    assert (tmp_path / "model.pt").read_bytes() == DATA
    assert server.requests[1]["range"] == f"bytes={HALF}-"
    assert server.requests[1]["if-range"] == '"one"'
    assert waits


def test_many_drops_do_not_matter_as_long_as_something_arrives(tmp_path: Path) -> None:
    data = random.Random(3).randbytes(12_000_000)
    answers = [file(data, upto=1_200_000 * number) for number in range(1, 10)]
    with serving(*answers, file(data)) as server:
        fetch(server.address(), tmp_path / "model.pt", sha256=hashlib.sha256(data).hexdigest(), size=len(data))
    assert (tmp_path / "model.pt").read_bytes() == data


def test_cancelling_leaves_a_part_that_the_next_call_goes_on_from(tmp_path: Path) -> None:
    with serving(file(DATA)) as server:
        with pytest.raises(Cancelled):
            fetch(server.address(), tmp_path / "model.pt", tick=cancel_at(0.4))
        assert leftovers(tmp_path) == ["model.pt.part", "model.pt.part.json"]
        have = (tmp_path / "model.pt.part").stat().st_size
        assert 0 < have < len(DATA)
        fetch(server.address(), tmp_path / "model.pt")
        assert server.requests[1]["range"] == f"bytes={have}-"
    assert (tmp_path / "model.pt").read_bytes() == DATA
    assert leftovers(tmp_path) == ["model.pt"]


def test_cancelling_works_while_waiting_for_the_next_attempt(tmp_path: Path) -> None:
    calls: list[float] = []

    def tick(stage: str, part: float) -> None:
        if waits:
            raise Cancelled
        calls.append(part)

    waits = Waits()
    with serving(file(DATA, upto=HALF)) as server, pytest.raises(Cancelled):
        fetch(server.address(), tmp_path / "model.pt", tick=tick, sleep=waits)
    assert len(waits) == 1


def test_a_download_stopped_after_its_last_byte_needs_no_server(tmp_path: Path) -> None:
    with serving(file(DATA)) as server, pytest.raises(Cancelled):
        fetch(server.address(), tmp_path / "model.pt", tick=cancel_at(1.0))
    fetch(server.address(), tmp_path / "model.pt")
    assert (tmp_path / "model.pt").read_bytes() == DATA


def test_a_server_that_ignores_ranges_is_begun_anew(tmp_path: Path) -> None:
    with serving(file(DATA, upto=HALF), file(DATA, ranges=False)) as server:
        fetch(server.address(), tmp_path / "model.pt")
    assert "range" in server.requests[1]
    assert (tmp_path / "model.pt").read_bytes() == DATA


def test_a_file_that_changed_between_two_attempts_is_begun_anew(tmp_path: Path) -> None:
    with serving(file(OTHER, '"one"', upto=HALF), file(DATA, '"two"')) as server:
        fetch(server.address(), tmp_path / "model.pt")
    assert (tmp_path / "model.pt").read_bytes() == DATA


def careless(data: bytes, tag: str) -> Callable[[BaseHTTPRequestHandler], None]:
    """A server that sends the range it is asked for, whatever If-Range says."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        del handler.headers["If-Range"]
        file(data, tag)(handler)

    return answer


def test_a_changed_file_is_noticed_when_the_server_overlooks_if_range(tmp_path: Path) -> None:
    with serving(file(OTHER, '"one"', upto=HALF), careless(DATA, '"two"')) as server:
        fetch(server.address(), tmp_path / "model.pt", sha256=None)
    assert "range" not in server.requests[2]
    assert (tmp_path / "model.pt").read_bytes() == DATA


def test_a_file_that_became_shorter_is_begun_anew(tmp_path: Path) -> None:
    long = OTHER + OTHER
    with serving(file(long, tag=None, upto=len(DATA) + 1), file(DATA, tag=None)) as server:
        fetch(server.address(), tmp_path / "model.pt", size=None)
    assert (tmp_path / "model.pt").read_bytes() == DATA


def test_without_tag_and_hash_two_halves_are_never_joined(tmp_path: Path) -> None:
    with serving(file(OTHER, tag=None, upto=HALF), file(DATA, tag=None)) as server:
        fetch(server.address(), tmp_path / "model.pt", sha256=None)
    assert "range" not in server.requests[1]
    assert (tmp_path / "model.pt").read_bytes() == DATA


def test_weak_tags_are_not_used_to_join_halves(tmp_path: Path) -> None:
    with serving(file(OTHER, tag='W/"x"', upto=HALF), file(DATA, tag='W/"x"')) as server:
        fetch(server.address(), tmp_path / "model.pt", sha256=None)
    assert "range" not in server.requests[1]
    assert (tmp_path / "model.pt").read_bytes() == DATA


def test_a_part_from_another_address_is_not_used(tmp_path: Path) -> None:
    with serving(file(OTHER, upto=HALF), file(DATA)) as server:
        with pytest.raises(Cancelled):
            fetch(server.address("old"), tmp_path / "model.pt", tick=cancel_at(0.2))
        fetch(server.address("new"), tmp_path / "model.pt")
        assert "range" not in server.requests[1]
    assert (tmp_path / "model.pt").read_bytes() == DATA


@pytest.mark.parametrize("note", ["", "[]", "{}", '{"address": 1}', '{"total": "many"}', "\x00"])
def test_a_part_with_a_spoilt_note_is_begun_anew(tmp_path: Path, note: str) -> None:
    (tmp_path / "model.pt.part").write_bytes(OTHER[:HALF])
    (tmp_path / "model.pt.part.json").write_text(note)
    with serving(file(DATA)) as server:
        fetch(server.address(), tmp_path / "model.pt")
    assert (tmp_path / "model.pt").read_bytes() == DATA


def test_a_wrong_byte_is_refused_with_both_hashes_and_nothing_is_kept(tmp_path: Path) -> None:
    wrong = DATA[:100] + bytes([DATA[100] ^ 1]) + DATA[101:]
    with serving(file(wrong)) as server, pytest.raises(InputError) as error:
        fetch(server.address(), tmp_path / "model.pt")
    assert HASH in str(error.value)
    assert hashlib.sha256(wrong).hexdigest() in str(error.value)
    assert leftovers(tmp_path) == []


def test_an_earlier_file_stays_when_the_new_one_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"good")
    with serving(file(OTHER)) as server, pytest.raises(InputError, match="SHA-256"):
        fetch(server.address(), tmp_path / "model.pt")
    assert (tmp_path / "model.pt").read_bytes() == b"good"


def test_another_length_than_the_catalogue_says_is_refused_before_the_first_byte(tmp_path: Path) -> None:
    with serving(file(DATA[:-1])) as server, pytest.raises(InputError, match=f"{len(DATA) - 1} bytes.*{len(DATA)}"):
        fetch(server.address(), tmp_path / "model.pt")
    assert leftovers(tmp_path) == []


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with serving(file(b"")) as server, pytest.raises(InputError, match="empty"):
        fetch(server.address(), tmp_path / "model.pt", size=None)
    assert leftovers(tmp_path) == []


def endless(handler: BaseHTTPRequestHandler) -> None:
    """No length and no end, until the client goes away."""
    handler.send_response(200)
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(bytes(2**16))
    except OSError:
        handler.close_connection = True


def test_a_server_that_sends_more_than_the_file_is_stopped(tmp_path: Path) -> None:
    with serving(endless) as server, pytest.raises(InputError, match=f"more than {len(DATA)} bytes"):
        fetch(server.address(), tmp_path / "model.pt")
    assert leftovers(tmp_path) == []


def without_length(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(DATA)


def test_a_server_that_does_not_say_the_length_is_understood(tmp_path: Path) -> None:
    with serving(without_length) as server:
        assert fetch(server.address(), tmp_path / "model.pt", sha256=None, size=None).sha256 == HASH


@pytest.mark.parametrize(
    ("code", "words"),
    [(404, "sslseg models add"), (410, "sslseg models add"), (403, "browser"), (401, "browser"), (400, "400")],
)
def test_a_refusal_of_the_server_is_told_at_once(tmp_path: Path, code: int, words: str) -> None:
    waits = Waits()
    with serving(status(code)) as server, pytest.raises(InputError, match=words) as error:
        fetch(server.address(), tmp_path / "model.pt", sleep=waits)
    assert "small-model" in str(error.value)
    assert waits == []
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("code", [429, 500, 503])
def test_a_busy_server_is_asked_again(tmp_path: Path, code: int) -> None:
    with serving(status(code), file(DATA)) as server:
        fetch(server.address(), tmp_path / "model.pt")
    assert (tmp_path / "model.pt").read_bytes() == DATA


def test_a_server_that_stays_away_is_given_up_with_growing_pauses(tmp_path: Path) -> None:
    waits = Waits()
    with serving(status(503)) as server, pytest.raises(InputError, match=r"127\.0\.0\.1 .*503.*network"):
        fetch(server.address(), tmp_path / "model.pt", sleep=waits)
    assert len(server.requests) == 3
    assert sum(waits) == 1 + 2


def test_no_server_at_all_is_told_with_the_address(tmp_path: Path) -> None:
    with serving(file(DATA)) as server:
        address = server.address()
    with pytest.raises(InputError, match=r"127\.0\.0\.1"):
        fetch(address, tmp_path / "model.pt")


def test_what_has_arrived_is_kept_and_named_when_the_network_stays_away(tmp_path: Path) -> None:
    with serving(file(DATA, upto=HALF), status(503)) as server, pytest.raises(InputError, match=r"1\.5 MB .* kept"):
        fetch(server.address(), tmp_path / "model.pt")
    assert (tmp_path / "model.pt.part").read_bytes() == DATA[:HALF]


def trickle(handler: BaseHTTPRequestHandler) -> None:
    """The next thousand bytes, and no more."""
    start = int(handler.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
    file(DATA, upto=start + 1000)(handler)


def test_a_server_that_trickles_is_left(tmp_path: Path) -> None:
    """The clock of the test jumps two minutes with every look at it, so every pause is too long for what arrived."""
    seconds = iter(range(0, 10**6, 120))
    with serving(trickle) as server, pytest.raises(InputError, match=r"almost stopped.*6\.0 kB have arrived"):
        fetch(server.address(), tmp_path / "model.pt", clock=lambda: float(next(seconds)))


def test_a_redirect_on_this_machine_is_followed(tmp_path: Path) -> None:
    with serving(file(DATA)) as there, serving(status(302, Location=there.address())) as here:
        fetch(here.address(), tmp_path / "model.pt")
    assert (tmp_path / "model.pt").read_bytes() == DATA


@pytest.mark.parametrize("goal", ["http://example.com/model.pt", "ftp://127.0.0.1/model.pt"])
def test_a_redirect_away_from_https_is_refused(tmp_path: Path, goal: str) -> None:
    with serving(status(302, Location=goal)) as server, pytest.raises(InputError, match="not https"):
        fetch(server.address(), tmp_path / "model.pt")
    assert leftovers(tmp_path) == []


def test_redirects_in_a_circle_end(tmp_path: Path) -> None:
    with serving(status(302, Location="/again")) as server, pytest.raises(InputError, match="on and on"):
        fetch(server.address(), tmp_path / "model.pt")
    assert len(server.requests) == 6


@pytest.mark.parametrize(
    "address",
    ["http://example.com/m.pt", "ftp://example.com/m.pt", "file:///etc/passwd", "m.pt", "https://", "https://[/m.pt"],
)
def test_only_https_is_fetched(tmp_path: Path, address: str) -> None:
    with pytest.raises(InputError, match="small-model"):
        fetch(address, tmp_path / "model.pt")


def test_the_proxy_of_the_environment_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving(status(502)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        with pytest.raises(InputError, match=r"models\.example"):
            fetch("https://models.example/m.pt", tmp_path / "model.pt")
        assert proxy.requests[0]["host"].startswith("models.example")


def test_a_server_on_this_machine_is_reached_without_the_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with serving(file(DATA)) as server:
        fetch(server.address(), tmp_path / "model.pt")
    assert (tmp_path / "model.pt").read_bytes() == DATA


def test_a_proxy_that_cannot_be_meant_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "nonsense://proxy")
    with pytest.raises(InputError, match="HTTPS_PROXY"):
        fetch("https://models.example/m.pt", tmp_path / "model.pt")


def test_a_full_disk_is_told_before_the_first_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 10**6})
    monkeypatch.setattr("SSLSegmentationLib.models.download.shutil.disk_usage", lambda folder: usage)
    with serving(file(DATA)) as server, pytest.raises(InputError, match=r"3\.0 MB.*1\.0 MB free"):
        fetch(server.address(), tmp_path / "model.pt")
    assert not (tmp_path / "model.pt").exists()


def test_an_encoded_answer_is_refused(tmp_path: Path) -> None:
    with serving(status(200, Content_Encoding="gzip")) as server, pytest.raises(InputError, match="encoded"):
        fetch(server.address(), tmp_path / "model.pt")
    assert server.requests[0]["accept-encoding"] == "identity"


def test_the_note_names_the_file_on_the_server(tmp_path: Path) -> None:
    with serving(file(DATA)) as server, pytest.raises(Cancelled):
        fetch(server.address(), tmp_path / "model.pt", tick=cancel_at(0.5))
    note = json.loads((tmp_path / "model.pt.part.json").read_text())
    assert note == {"address": server.address(), "validator": '"one"', "total": len(DATA)}
