"""The client: sessions on an engine that runs elsewhere, used like those in this process. It needs no torch.

    with start_local() as engine:                      # or connect("https://gpu.ward.example:8443", token)
        session = engine.open(read_volume("ct.nii.gz"))
        labelling = session.segment("organs", tick=tick)
        proposal = session.prompt([PointPrompt((12.0, -40.0, 88.0))], segment="cyst")

If the engine ends in the middle, the next call starts it again and sends the scan and the segments again.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, suppress
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

from SSLSegmentationLib.engine import calls
from SSLSegmentationLib.engine.calls import Answer, Call, EngineError, EngineLostError, JobState, NotThereError
from SSLSegmentationLib.engine.launch import LocalEngine
from SSLSegmentationLib.engine.requests import PromptRequest, PropagateRequest, RefineRequest, Request, SegmentRequest
from SSLSegmentationLib.engine.results import Labelling, Proposals, Result
from SSLSegmentationLib.engine.serve import is_loopback
from SSLSegmentationLib.engine.wire import events
from SSLSegmentationLib.errors import Cancelled, InputError
from SSLSegmentationLib.identity import digest
from SSLSegmentationLib.progress import Tick, silent
from SSLSegmentationLib.prompts import Prompt
from SSLSegmentationLib.proposal import NOTHING, Cropped, Proposal
from SSLSegmentationLib.volume import Volume

T = TypeVar("T")

_KEEP_ALIVE = 90.0  # seconds after which a remote engine frees the sessions of a client that has vanished
_PROMPT_WAIT = 30.0
_ENDING_SECONDS = 3.0


class Transport(Protocol):
    """How calls travel. No answer raises EngineLostError."""

    def send(self, call: Call[Any]) -> Answer: ...

    def lines(self, path: str) -> Generator[str, None, None]:
        """The lines of a stream, as they come."""

    def close(self) -> None: ...


class HttpxTransport:
    def __init__(self, url: str, token: str, verify: bool | str = True) -> None:
        """`verify` may name a file of certificates to trust, as hospitals have their own."""
        import httpx

        local = is_loopback(urlsplit(url).hostname or "")
        trust = verify
        if isinstance(verify, str):
            import ssl

            trust = ssl.create_default_context(cafile=verify)
        self._http = httpx.Client(
            base_url=url,
            headers={"authorization": f"Bearer {token}"},
            verify=trust,
            trust_env=not local,  # no proxy between two programs of one machine
            timeout=30.0,
        )

    def send(self, call: Call[Any]) -> Answer:
        import httpx

        from SSLSegmentationLib.engine.frames import in_pieces

        body: dict[str, Any] = {}
        headers = {"content-type": call.content_type} if call.body else {}
        if len(call.body) == 1:
            body["content"] = bytes(call.body[0])
        elif call.body:
            headers["content-length"] = str(sum(memoryview(part).nbytes for part in call.body))
            body["content"] = (bytes(piece) for piece in in_pieces(call.body))
        try:
            answer = self._http.request(
                call.method, call.path, params=dict(call.query), headers=headers, timeout=call.seconds, **body
            )
        except httpx.TransportError as error:
            raise _lost(error) from error
        return Answer(answer.status_code, answer.content, answer.headers.get("content-type", ""))

    def lines(self, path: str) -> Generator[str, None, None]:
        import httpx

        try:
            with self._http.stream("GET", path) as answer:
                if answer.status_code != 200:
                    calls.check(Answer(answer.status_code, answer.read()))
                yield from answer.iter_lines()
        except httpx.TransportError as error:
            raise _lost(error) from error

    def close(self) -> None:
        self._http.close()


class Client:
    """An engine. Sessions opened here are freed with it."""

    def __init__(
        self,
        transport: Transport,
        *,
        compress: bool = False,
        keep_alive: float | None = None,
        revive: Callable[[], Transport | None] = lambda: None,
        stop: Callable[[], None] = lambda: None,
    ) -> None:
        """`revive` gives a transport to a new engine if the old one has ended; `stop` ends an engine of one's own."""
        self.compress = compress
        self.keep_alive = keep_alive
        self._transport = transport
        self._revive = revive
        self._stop = stop
        self._sessions: list[RemoteSession] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        if keep_alive is not None:
            threading.Thread(target=self._beat, args=(keep_alive / 3,), name="heartbeat", daemon=True).start()

    def ask(self, call: Call[T]) -> T:
        transport = self._transport
        try:
            return call.read(transport.send(call))
        except EngineLostError:
            self._replace(transport)
            raise

    def lines(self, path: str) -> Generator[str, None, None]:
        transport = self._transport
        try:
            yield from transport.lines(path)
        except EngineLostError:
            self._replace(transport)
            raise

    def health(self) -> dict[str, Any]:
        return self.ask(calls.health())

    def models(self) -> list[dict[str, Any]]:
        return self.ask(calls.models())

    def install_model(self, model: str, licence: str, tick: Tick = silent) -> None:
        """Download a model under a licence that the user has accepted. What the Tick raises cancels it."""
        RemoteJob(self, None, self.ask(calls.install_model(model, licence))).wait(tick)

    def remove_model(self, model: str) -> None:
        self.ask(calls.remove_model(model))

    def open(self, volume: Volume) -> RemoteSession:
        """Open a scan; it is sent only if the engine does not have it."""
        session = RemoteSession(self, volume)
        session.reach()
        self._sessions.append(session)
        return session

    def forget(self, session: RemoteSession) -> None:
        if session in self._sessions:
            self._sessions.remove(session)

    def close(self) -> None:
        self._closed.set()
        for session in list(self._sessions):
            session.close()
        self._stop()
        self._transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _replace(self, failed: Transport) -> None:
        """Start the engine again if it has ended, once for all who noticed."""
        with self._lock:
            if self._transport is failed and not self._closed.is_set():
                revived = self._revive()
                if revived is not None:
                    failed.close()
                    self._transport = revived

    def _beat(self, every: float) -> None:
        while not self._closed.wait(every):
            for session in list(self._sessions):
                session.beat()


class RemoteSession:
    """A Session that lives in an engine. The scan and the segments are kept here as well, for an engine that ends."""

    def __init__(self, client: Client, volume: Volume) -> None:
        self.volume = volume
        self.segments: dict[str, Cropped] = {}
        self._client = client
        self._digest = digest(volume)
        self._id = ""

    def segment(self, model: str, tick: Tick = silent, **settings: Any) -> Labelling:
        """Segment the whole scan. What the Tick raises cancels the job."""
        return self.start(SegmentRequest(model, settings)).result(tick)

    def prompt(self, prompts: Sequence[Prompt], segment: str = "", tick: Tick = silent, **more: Any) -> Proposal:
        """What the prompts suggest for a segment, in one round trip; `more` are other fields of a PromptRequest."""
        request = PromptRequest(tuple(prompts), segment, **more)
        answer = self._ask(
            lambda id: calls.start(id, request, self.volume, wait=_PROMPT_WAIT, packed=self._client.compress)
        )
        return RemoteJob(self._client, self.volume, answer).result(tick) if isinstance(answer, JobState) else answer

    def refine(
        self, request: RefineRequest, tick: Tick = silent, partial: Callable[[Proposal], None] | None = None
    ) -> Proposals:
        """Refine segments; `partial` is given each slice as it comes."""
        return self.start(request).result(tick, partial)

    def propagate(
        self, request: PropagateRequest, tick: Tick = silent, partial: Callable[[Proposal], None] | None = None
    ) -> Proposals:
        """Follow segments from known slices; `partial` is given each slice as it comes."""
        return self.start(request).result(tick, partial)

    def start(self, request: Request) -> RemoteJob:
        """Start any operation without waiting for it."""
        state = self._ask(lambda id: calls.start(id, request, self.volume))
        return RemoteJob(self._client, self.volume, state)

    def put(self, segment: str, mask: Cropped) -> None:
        """Say how a segment looks now."""
        self._ask(lambda id: calls.put_segment(id, segment, mask))
        self.segments[segment] = mask

    def accept(self, suggested: Proposal | Proposals) -> None:
        """Make a proposal a part of its segment, or several of theirs."""
        several = suggested.segments.values() if isinstance(suggested, Proposals) else (suggested,)
        for proposal in several:
            self.put(proposal.segment, proposal.accepted_into(self.segments.get(proposal.segment, NOTHING)))

    def close(self) -> None:
        self._client.forget(self)
        id, self._id = self._id, ""
        with suppress(EngineError):  # freed before, or gone with its engine, which is all that was wanted
            if id:
                self._client.ask(calls.close_session(id))

    def beat(self) -> None:
        """A sign of life, so that the engine keeps the session."""
        try:
            if self._id:
                self._client.ask(calls.see_session(self._id))
        except NotThereError:
            self._id = ""
        except EngineError:
            pass  # the next call that needs the engine says so

    def reach(self) -> str:
        """The id of the session in the engine, opened there if it is not."""
        if not self._id:
            ask = self._client.ask
            if not ask(calls.has_volume(self._digest)):
                arrived = ask(calls.send_volume(self.volume, self._client.compress))
                if arrived != self._digest:
                    raise EngineError(f"{self.volume.name} arrived changed: send it again.")
            opened = ask(calls.open_session(self._digest, self._client.keep_alive))
            for name, mask in self.segments.items():
                ask(calls.put_segment(opened, name, mask))
            self._id = opened
        return self._id

    def _ask(self, make: Callable[[str], Call[T]]) -> T:
        try:
            return self._client.ask(make(self.reach()))
        except (EngineLostError, NotThereError):
            # The engine has ended and was started again, or has freed the session: once more with a new one.
            self._id = ""
            return self._client.ask(make(self.reach()))


class RemoteJob:
    def __init__(self, client: Client, volume: Volume | None, state: JobState) -> None:
        """`volume` is the scan that the results belong to, if it is a job with results."""
        self.state = state
        self.volume = volume
        self._client = client

    def cancel(self) -> JobState:
        self.state = self._client.ask(calls.cancel(self.state.id))
        return self.state

    def watch(self) -> Iterator[JobState | int]:
        """States as they change, and the numbers of partial results as they come; ends with the job."""
        with closing(self._client.lines(calls.watch_path(self.state.id))) as lines:
            for name, data in events(lines):
                if name == "partial":
                    yield int(json.loads(data)["number"])
                else:
                    self.state = calls.job_of(json.loads(data))
                    yield self.state
        if not self.state.ended:
            raise EngineLostError("The engine has ended in the middle of the job: start the job again.")

    def partial(self, number: int) -> Result:
        return self._client.ask(calls.fetch_partial(self.state.id, number, self.volume, self._client.compress))

    def wait(self, tick: Tick = silent, partial: Callable[[Any], None] | None = None) -> None:
        """Until it is done. `partial` is given each partial result; what it or the Tick raises cancels the job."""
        try:
            for news in self.watch() if not self.state.ended else ():
                if isinstance(news, int):
                    if partial is not None:
                        with suppress(NotThereError):  # the job has ended meanwhile: the whole has it all
                            partial(self.partial(news))
                elif not news.ended:
                    tick(news.stage or "Waiting", news.part)
        except (NotThereError, EngineLostError):
            raise EngineLostError(
                "The engine has ended in the middle of the job; nothing was changed: start the job again."
            ) from None
        except BaseException:
            with suppress(EngineError):
                self.cancel()
            raise
        if self.state.state == "cancelled":
            raise Cancelled
        if self.state.state == "failed":
            raise InputError(self.state.error) if self.state.blame == "input" else EngineError(self.state.error)

    def result(self, tick: Tick = silent, partial: Callable[[Any], None] | None = None) -> Any:
        """Wait for the result."""
        self.wait(tick, partial)
        return self._client.ask(calls.fetch(self.state.id, self.volume, self._client.compress))


def connect(url: str, token: str, *, verify: bool | str = True, keep_alive: float | None = _KEEP_ALIVE) -> Client:
    """An engine that somebody has started, here or on another machine."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(f"{url} is not the address of an engine: give one such as https://gpu.example:8443.")
    client = Client(HttpxTransport(url, token, verify), compress=not is_loopback(parts.hostname), keep_alive=keep_alive)
    try:
        client.health()
    except Exception:
        client.close()
        raise
    return client


def start_local(python: str | None = None, **options: Any) -> Client:
    """An engine of one's own on this machine, which ends with this process and is started again if it crashes.

    `python` is the interpreter that has torch; this one if it is not named. Other options are those of LocalEngine.
    """
    engine = LocalEngine(python, **options)
    engine.start()
    return client_of(engine)


def client_of(engine: LocalEngine) -> Client:
    """A client that starts the engine again when it has ended, and stops it when it is closed."""

    def revive() -> Transport | None:
        # The connection of a process that is killed breaks a moment before the process is gone.
        if not engine.has_ended(within=_ENDING_SECONDS):
            return None
        engine.start()
        return HttpxTransport(engine.url, engine.token)

    return Client(HttpxTransport(engine.url, engine.token), revive=revive, stop=engine.stop)


def _lost(error: Exception) -> EngineLostError:
    said = str(error) or type(error).__name__
    return EngineLostError(f"The engine does not answer ({said[:200]}): check that it runs, and the address.")
