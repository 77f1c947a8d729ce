"""Handing over: on one machine a scan goes through a file in memory, which is faster than a connection.

The engine names a file that holds a nonce, in a folder that only its user may enter. A client that reads the nonce
there is on the same machine and of the same user: it writes the scan over the nonce, and tells the nonce to the engine,
which reads the file through the descriptor it has had since, and removes it. The engine never opens what a client
names, and a client writes only into a file that looks like one of these. Whatever is amiss, the scan is sent instead.

The scan is read, not mapped: a file that another process may cut off would end the engine.
"""

from __future__ import annotations

import hmac
import os
import secrets
import shutil
import stat
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from SSLSegmentationLib.engine.frames import Buffer
from SSLSegmentationLib.engine.keeper import Refusal
from SSLSegmentationLib.errors import InputError

NONCE_BYTES = 32
FRESH_SECONDS = 120.0
"""How long a client may take; then the file is removed."""

_PREFIX = "sslseg-handover-"
_NAME = "scan"
_MOST = 8
_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder in memory on Linux; only folders of our own are made in it
_ROOM = 2**30  # free bytes that a folder in memory should have


@dataclass(frozen=True)
class Offer:
    id: str
    path: Path
    nonce: bytes
    file: BinaryIO
    since: float


class Handovers:
    """The engine's side."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._offers: OrderedDict[str, Offer] = OrderedDict()
        self._lock = threading.Lock()

    def offer(self) -> Offer:
        """A new file with a nonce; the oldest offer makes way for it if there are many."""
        # mkdtemp makes folders that only this user may enter.
        path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_folder())) / _NAME
        nonce = secrets.token_bytes(NONCE_BYTES)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        file = os.fdopen(os.open(path, flags, 0o600), "r+b", buffering=0)
        file.write(nonce)
        made = Offer(secrets.token_hex(8), path, nonce, file, self._clock())
        with self._lock:
            self._offers[made.id] = made
            surplus = [self._offers.popitem(last=False)[1] for _ in range(len(self._offers) - _MOST)]
        for old in surplus:
            _remove(old)
        return made

    def take(self, id: str, nonce: bytes, limit: int) -> Buffer:
        """What the client wrote. The file is gone afterwards, whatever happens."""
        with self._lock:
            offer = self._offers.pop(id, None)
        if offer is None:
            raise Refusal(404, "This file is not on offer here, or no longer: send the scan instead.")
        try:
            if not hmac.compare_digest(nonce, offer.nonce):
                raise Refusal(403, "The nonce is not the one in the file: send the scan instead.")
            size = os.fstat(offer.file.fileno()).st_size
            if size > limit:
                raise Refusal(507, f"The file has {size / 1e6:.0f} MB, more than is left here: close a scan first.")
            content = np.empty(size, np.uint8)
            offer.file.seek(0)
            if offer.file.readinto(content.data) != size:
                raise InputError("The file became shorter while it was read: send the scan again.")
            return content.data
        finally:
            _remove(offer)

    def sweep(self) -> None:
        """Remove what a client that has vanished left."""
        with self._lock:
            old = [offer for offer in self._offers.values() if self._clock() - offer.since > FRESH_SECONDS]
            for offer in old:
                del self._offers[offer.id]
        for offer in old:
            _remove(offer)

    def close(self) -> None:
        with self._lock:
            offers = list(self._offers.values())
            self._offers.clear()
        for offer in offers:
            _remove(offer)


def write_into(path: Path, buffers: Sequence[Buffer]) -> bytes | None:
    """The client's side: write a frame into the file of an offer, and return the nonce that was in it.

    None if it is not here, or does not look like an offer of this user's engine. A client that writes whatever it is
    told to could be made to destroy files.
    """
    if not path.is_absolute() or path.name != _NAME or not path.parent.name.startswith(_PREFIX):
        return None
    try:
        # A link is not followed, and nothing is made that is not there.
        handle = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
    except OSError:
        return None
    with os.fdopen(handle, "r+b", buffering=0) as file:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode) or about.st_size != NONCE_BYTES:
            return None
        if hasattr(os, "getuid") and about.st_uid != os.getuid():
            return None
        nonce = file.read(NONCE_BYTES)
        file.seek(0)
        try:
            for buffer in buffers:
                view = memoryview(buffer)
                while view:
                    view = view[file.write(view) :]
        except OSError:  # the folder is full; a connection needs none
            with suppress(OSError):
                file.truncate(0)
            return None
    return nonce


def clear_away(path: Path) -> None:
    """Remove a file that `write_into` has written, if the engine has not: it may have ended before it could."""
    with suppress(OSError):
        path.unlink(missing_ok=True)
        path.parent.rmdir()


def _folder() -> Path | None:
    """In memory where there is such a folder, so that scans do not reach a disk; else the temporary folder."""
    with suppress(OSError):
        if os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free >= _ROOM:
            return _MEMORY
    return None


def _remove(offer: Offer) -> None:
    offer.file.close()  # before it is removed, as Windows wants it
    shutil.rmtree(offer.path.parent, ignore_errors=True)
