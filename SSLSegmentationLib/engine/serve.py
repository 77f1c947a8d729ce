"""Serving: one process that listens, says when it is ready, and ends when it should."""

from __future__ import annotations

import ipaddress
import json
import logging
import os
import secrets
import socket
import sys
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from SSLSegmentationLib.engine.keeper import Keeper
from SSLSegmentationLib.errors import InputError

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")
SHORTEST_TOKEN = 16

_GRACE_SECONDS = 3.0  # for answers that are on their way when the engine is told to stop

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Address:
    host: str = "127.0.0.1"
    port: int = 0
    """0 takes any that is free."""
    token: str = ""
    """Empty makes one up, which is allowed on loopback only."""
    names: Collection[str] = ()
    """Under which clients call a server that is not on loopback; empty answers to any name."""
    certificate: Path | None = None
    key: Path | None = None

    def checked(self) -> Address:
        """The address with a token, if it may be served."""
        loopback = is_loopback(self.host)
        if not self.token and not loopback:
            raise InputError(
                f"{self.host} can be reached from other machines, so that a token is needed: give --token-file, "
                "and --tls-cert so that nobody reads it on the way."
            )
        if self.token and (len(self.token) < SHORTEST_TOKEN or not self.token.isascii() or " " in self.token):
            raise InputError(
                f"The token must have at least {SHORTEST_TOKEN} characters without spaces or accents: make one with "
                "openssl rand -hex 32."
            )
        if (self.certificate is None) != (self.key is None):
            raise InputError("TLS needs both a certificate and its key: give --tls-cert and --tls-key.")
        for file in (self.certificate, self.key):
            if file is not None and not file.is_file():
                raise InputError(f"{file} does not exist: check the path.")
        if not loopback and self.certificate is None:
            log.warning("The scans travel unencrypted to %s: use --tls-cert, or a proxy that does TLS.", self.host)
        token = self.token or secrets.token_urlsafe(32)
        return Address(self.host, self.port, token, self.names, self.certificate, self.key)

    @property
    def hosts(self) -> Collection[str] | None:
        """What the Host header may say."""
        if is_loopback(self.host):
            return (*LOOPBACK_NAMES, self.host, *self.names)
        return self.names or None


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def serve(
    keeper: Keeper,
    address: Address,
    ready: Callable[[dict[str, Any]], None],
    *,
    until: Callable[[], Any] | None = None,
    largest_upload: int | None = None,
) -> None:
    """Listen until told to stop. `ready` is called once connections are taken; when `until` returns, serving ends."""
    import uvicorn

    from SSLSegmentationLib.engine.service import make_app

    address = address.checked()
    listening = _listen(address)
    port = listening.getsockname()[1]
    scheme = "http" if address.certificate is None else "https"
    name = f"[{address.host}]" if ":" in address.host else address.host

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                ready({"url": f"{scheme}://{name}:{port}", "token": address.token, "pid": os.getpid()})

    server = Server(
        uvicorn.Config(
            make_app(keeper, address.token, hosts=address.hosts, largest_upload=largest_upload),
            log_level="warning",
            access_log=False,
            server_header=False,
            ws="none",
            timeout_graceful_shutdown=int(_GRACE_SECONDS),
            ssl_certfile=address.certificate,
            ssl_keyfile=address.key,
        )
    )
    if until is not None:
        threading.Thread(target=_stop_after, args=(until, server), name="parent", daemon=True).start()
    try:
        server.run(sockets=[listening])
    finally:
        listening.close()


def _listen(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    # Named TCP, because asyncio switches Nagle's delay off only then: 40 ms for every small answer.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name != "nt":  # there it would let a second process take the port over
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address.host, address.port))
    except OSError as error:
        listening.close()
        raise InputError(
            f"{address.host}, port {address.port} cannot be used ({error.strerror or error}): choose another --port."
        ) from error
    return listening


def _stop_after(until: Callable[[], Any], server: Any) -> None:
    until()
    server.should_exit = True


def _parent_is_gone() -> None:
    """Wait for that. Then the process ends within the grace, also in the middle of a tile."""
    sys.stdin.buffer.read()
    last = threading.Timer(_GRACE_SECONDS, os._exit, (0,))
    last.daemon = True
    last.start()


def with_parent(make_keeper: Callable[[dict[str, Any]], Keeper] | None = None) -> None:
    """Serve the process that started this one, on loopback, and end when it does.

    The first line of standard input is JSON with the token and the limits: nothing secret stands on the command line or
    in the environment, which other programs can read. Standard input stays open as long as the parent lives, however it
    ends; its end is the end here. The first line of standard output says where to connect.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    said = json.loads(sys.stdin.buffer.readline() or b"{}")
    if not said.get("token"):
        raise InputError("The first line of standard input must be JSON with a token: start the engine with a client.")
    keeper = make_keeper(said) if make_keeper else Keeper(max_bytes=said.get("max_bytes"))

    def ready(where: dict[str, Any]) -> None:
        # Without the token, which the parent has: what is printed may end in a log.
        print(json.dumps({"url": where["url"], "pid": where["pid"]}), flush=True)
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # nobody reads on: a full pipe would stop whoever prints

    serve(keeper, Address(token=said["token"]), ready, until=_parent_is_gone)
    sys.stdout.flush()
    os._exit(0)  # threads of the networks may be busy; there is nothing left to save
