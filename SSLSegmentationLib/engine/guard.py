"""Guard: what a request must have before anything else looks at it, and before its body is read.

Plain ASGI, so that it stands in front of the whole service: there is no path that it does not see.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable, Collection
from typing import Any

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Guard:
    """Asks every request for the token, refuses those of web pages, and stops bodies that are too long.

    A page in the user's browser can send requests to loopback. It cannot set the Authorization header without a
    preflight, which is answered like everything else without the token; a request with an Origin is refused besides,
    and so is a Host that is not one of the engine's own names, as DNS rebinding would use.
    """

    def __init__(
        self,
        app: App,
        token: str,
        limit: Callable[[str], int],
        hosts: Collection[str] | None = None,
    ) -> None:
        self._app = app
        self._token = token.encode()
        self._limit = limit
        self._hosts = None if hosts is None else {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            refusal = self._refusal(scope)
            if refusal is not None:
                await _answer(send, *refusal)
            else:
                await _Measured(self._limit(scope["path"]), receive, send).run(self._app, scope)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            if name in headers and name in (b"host", b"authorization", b"content-length"):
                return 400, f"The request has several {name.decode()} headers: send one."
            headers[name] = value
        if self._hosts is not None and _host(headers.get(b"host", b"")) not in self._hosts:
            return 403, "The engine does not answer under this name: use the address it was started with."
        if b"origin" in headers:
            return 403, "The engine does not answer web pages: use a client of its own."
        scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer" or not hmac.compare_digest(token.strip(), self._token):
            return 401, "The token is missing or wrong: send it as Authorization: Bearer."
        return _length_refusal(headers.get(b"content-length", b"0"), self._limit(scope["path"]))


class _Measured:
    """A request whose body ends the answer once it is longer than allowed, whatever its header said."""

    def __init__(self, limit: int, receive: Receive, send: Send) -> None:
        self._limit = limit
        self._receive = receive
        self._send = send
        self._got = 0
        self._answered = False
        self._refused = False

    async def run(self, app: App, scope: Scope) -> None:
        await app(scope, self._measure, self._pass_on)

    async def _measure(self) -> Message:
        message = await self._receive()
        self._got += len(message.get("body", b""))
        if self._got > self._limit:
            if not self._answered:
                self._answered = self._refused = True
                await _answer(self._send, 413, _too_long(self._limit))
            return {"type": "http.disconnect"}
        return message

    async def _pass_on(self, message: Message) -> None:
        # The service may answer that the client has gone; the client has been told the reason already.
        if not self._refused:
            self._answered = True
            await self._send(message)


def _length_refusal(length: bytes, limit: int) -> tuple[int, str] | None:
    if not length.isdigit() or len(length) > 20:
        return 400, "The Content-Length is not a number: send the length in bytes."
    return (413, _too_long(limit)) if int(length) > limit else None


def _too_long(limit: int) -> str:
    return f"The request is longer than {limit / 1e6:.0f} MB, the most that is taken here: crop the scan."


def _host(value: bytes) -> str:
    """The name in a Host header, without the port."""
    name = value.decode("latin-1").lower()
    if name.startswith("["):
        return name.partition("]")[0][1:]
    return name.rpartition(":")[0] if ":" in name else name


async def _answer(send: Send, status: int, sentence: str) -> None:
    body = json.dumps({"detail": sentence}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),  # the body was not read, so that the next request cannot follow on this connection
    ]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
