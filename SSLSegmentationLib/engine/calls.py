"""Calls: what a client asks an engine, and how it reads the answer, apart from how either travels.

Each function makes one Call. A transport sends it and gives the Answer to `read`: httpx waits for it, Qt in Slicer is
told by a signal; neither knows what is in it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from SSLSegmentationLib.engine.frames import Buffer
from SSLSegmentationLib.engine.jobs import ENDED, State
from SSLSegmentationLib.engine.requests import Request, request_json
from SSLSegmentationLib.engine.results import Result
from SSLSegmentationLib.engine.wire import FRAME, mask_frame, read_result_frame, volume_frame
from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.proposal import Cropped
from SSLSegmentationLib.volume import Volume

T = TypeVar("T")

JSON = "application/json"
_MOMENT = 30.0
_TRANSFER = 600.0


class EngineError(RuntimeError):
    """The engine, or the way to it, failed; the message is one sentence for the user."""


class NotThereError(EngineError):
    """A session, scan or job that the engine does not have, or no longer."""


class EngineLostError(EngineError):
    """No answer came: the engine has ended, or the network is down."""


@dataclass(frozen=True)
class Answer:
    status: int
    body: Buffer
    content_type: str = ""


@dataclass(frozen=True)
class Call(Generic[T]):
    method: str
    path: str
    read: Callable[[Answer], T]
    query: Mapping[str, str] = field(default_factory=dict)
    body: Sequence[Buffer] = ()
    content_type: str = ""
    seconds: float = _MOMENT
    """How long nothing may arrive before it counts as lost."""


@dataclass(frozen=True)
class JobState:
    id: str
    session: str
    operation: str
    state: State
    stage: str = ""
    part: float = 0.0
    partial_results: int = 0
    error: str = ""
    blame: str = ""
    seconds: float = 0.0

    @property
    def ended(self) -> bool:
        return self.state in ENDED


def health() -> Call[dict[str, Any]]:
    return Call("GET", "/health", _json)


def models() -> Call[list[dict[str, Any]]]:
    """The installed models, and those that can be installed; docs/engine.md names the fields."""
    return Call("GET", "/models", _json)


def install_model(model: str, licence: str) -> Call[JobState]:
    """Download a model. `licence` is the name of the one that the user was shown and has accepted."""
    body = [json.dumps({"licence": licence}).encode()]
    return Call("POST", f"/models/{quote(model, safe='')}/install", _job, {}, body, JSON)


def remove_model(model: str) -> Call[None]:
    return Call("DELETE", f"/models/{quote(model, safe='')}", _nothing)


def has_volume(digest: str) -> Call[bool]:
    return Call("GET", f"/volumes/{digest}", lambda answer: answer.status != 404 and _json(answer) is not None)


def send_volume(volume: Volume, compress: bool) -> Call[str]:
    """The digest of what has arrived."""
    return send_frame(volume_frame(volume, compress))


def send_frame(volume: Sequence[Buffer]) -> Call[str]:
    """The same, of a frame that was made in pieces."""
    return Call("POST", "/volumes", lambda answer: _json(answer)["digest"], {}, volume, FRAME, _TRANSFER)


def open_session(digest: str, keep_alive: float | None = None) -> Call[str]:
    body = [json.dumps({"volume": digest, "keep_alive": keep_alive}).encode()]
    return Call("POST", "/sessions", lambda answer: _json(answer)["id"], {}, body, JSON)


def see_session(session: str) -> Call[dict[str, Any]]:
    """Also a sign that the client is there."""
    return Call("GET", f"/sessions/{session}", _json)


def close_session(session: str) -> Call[None]:
    return Call("DELETE", f"/sessions/{session}", _nothing)


def put_segment(session: str, segment: str, mask: Cropped) -> Call[None]:
    path = f"/sessions/{session}/segments/{quote(segment, safe='')}"
    return Call("PUT", path, _nothing, {}, mask_frame(mask), FRAME)


def start(
    session: str,
    request: Request,
    volume: Volume,
    *,
    wait: float = 0.0,
    packed: bool = False,
) -> Call[Result | JobState]:
    """The result if it comes within `wait` seconds, else the state of the job."""

    def read(answer: Answer) -> Result | JobState:
        check(answer)
        return read_result_frame(answer.body, volume) if answer.content_type.startswith(FRAME) else _job(answer)

    query = {"wait": str(wait), "packed": _said(packed)}
    body = [json.dumps(request_json(request), allow_nan=False).encode()]
    return Call("POST", f"/sessions/{session}/jobs", read, query, body, JSON, wait + _MOMENT)


def see_job(job: str) -> Call[JobState]:
    return Call("GET", f"/jobs/{job}", _job)


def cancel(job: str) -> Call[JobState]:
    return Call("POST", f"/jobs/{job}/cancel", _job)


def accept(job: str) -> Call[None]:
    """Make what a job suggests a part of its segments, in the engine; `put_segment` says the same at more cost."""
    return Call("POST", f"/jobs/{job}/accept", _nothing)


def watch_path(job: str) -> str:
    """Where the events of a job stream from; `wire.events` reads them, and `job_of` their data."""
    return f"/jobs/{job}/events"


def fetch(job: str, volume: Volume, packed: bool) -> Call[Result]:
    return Call("GET", f"/jobs/{job}/result", _result(volume), {"packed": _said(packed)}, seconds=_TRANSFER)


def fetch_partial(job: str, number: int, volume: Volume, packed: bool) -> Call[Result]:
    query = {"packed": _said(packed)}
    return Call("GET", f"/jobs/{job}/partial/{number}", _result(volume), query, seconds=_TRANSFER)


def job_of(said: Mapping[str, Any]) -> JobState:
    """A job from its JSON; what a newer engine says besides is passed over."""
    return JobState(**{one.name: said[one.name] for one in fields(JobState) if one.name in said})


def _job(answer: Answer) -> JobState:
    return job_of(_json(answer))


def _result(volume: Volume) -> Callable[[Answer], Result]:
    def read(answer: Answer) -> Result:
        check(answer)
        return read_result_frame(answer.body, volume)

    return read


def _json(answer: Answer) -> Any:
    check(answer)
    try:
        return json.loads(bytes(answer.body))
    except ValueError as error:
        raise EngineError("What answers there is not an engine of this program: check the address.") from error


def _nothing(answer: Answer) -> None:
    check(answer)


def check(answer: Answer) -> None:
    """Raise what an answer that is no success says."""
    if answer.status < 400:
        return
    try:
        said = str(json.loads(bytes(answer.body))["detail"])
    except (ValueError, KeyError, TypeError):
        said = f"The engine answered with status {answer.status}: its log says more."
    if answer.status == 404:
        raise NotThereError(said)
    if answer.status < 500 or answer.status == 507:
        raise InputError(said)
    raise EngineError(said)


def _said(yes: bool) -> str:
    return "true" if yes else "false"
