"""Fetch one large file over a connection that may break, and put it in place only when it is the right one.

What has arrived lies in a part file beside the target, with a note of what it is a part of. A later call goes on there,
if the server still has the same file.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from SSLSegmentationLib import __version__
from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.models.catalogue import check_address, is_loopback, size_text
from SSLSegmentationLib.progress import Tick, silent

if TYPE_CHECKING:
    import httpx

ROOM_TO_SPARE = 64 * 2**20
"""Bytes that have to stay free on the disk."""

_FAILURES = 6
_FAILURES_BEFORE_THE_FIRST_BYTE = 3  # without a network nobody should wait half a minute to be told
_WORTH_GOING_ON = 2**20  # a connection that brought this much before it broke does not count as a failure
_SLOWEST = (60.0, 64 * 1024)  # seconds, bytes: a server that sends less in that time is as good as gone
_MOST_REDIRECTS = 5
_PASSING = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Downloaded:
    bytes: int
    sha256: str


class _Dropped(Exception):  # noqa: N818 - not an error yet: the next attempt may go on from here
    """The connection broke; what has arrived is kept."""


def download(
    address: str,
    target: Path,
    name: str,
    *,
    sha256: str | None = None,
    size: int | None = None,
    tick: Tick = silent,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Downloaded:
    """Download `address` to `target`, going on where an earlier call was stopped, and check its size and SHA-256.

    Cancelling, Ctrl-C and a broken network leave a part file to go on from. A file that is not the expected one is
    deleted. `name` is what the user calls it, for messages.
    """
    check_address(address, name)
    part = _Part(address, target, name, sha256, size)
    failures = 0
    farthest = begun = part.length
    with _client(address) as client:
        while True:
            try:
                _transfer(client, part, tick, clock)
                break
            except _Dropped as drop:
                failures = 0 if part.length >= farthest + _WORTH_GOING_ON else failures + 1
                farthest = max(farthest, part.length)
                if failures >= (_FAILURES if farthest > begun else _FAILURES_BEFORE_THE_FIRST_BYTE):
                    kept = f"; {size_text(part.length)} have arrived and are kept" if part.length else ""
                    raise InputError(
                        f"{name} could not be downloaded from {urlsplit(address).hostname} ({drop}){kept}: "
                        "look after the network connection and try again."
                    ) from None
            _wait(2.0 ** max(failures - 1, 0), lambda: tick(f"Downloading {name}", part.part_done), sleep)
    return _finish(part)


def check_room(folder: Path, count: int, name: str) -> None:
    """Refuse what would fill the disk."""
    free = shutil.disk_usage(folder).free
    if free < count + ROOM_TO_SPARE:
        raise InputError(
            f"{name} needs {size_text(count)}, but the disk of {folder} has {size_text(free)} free: make room, "
            "or choose another folder with --models-dir."
        )


class _Part:
    """What is wanted, the bytes of it that have arrived, and the note of which file on the server they belong to."""

    def __init__(self, address: str, target: Path, name: str, sha256: str | None, size: int | None) -> None:
        self.address = address
        self.target = target
        self.name = name
        self.sha256 = sha256
        self.size = size
        self.path = target.with_name(target.name + ".part")
        self.note = target.with_name(target.name + ".part.json")
        self.validator: str | None = None
        self.total: int | None = None
        self.length = 0
        self.hash = hashlib.sha256()
        self._find()

    @property
    def part_done(self) -> float:
        return min(self.length / self.total, 1.0) if self.total else 0.0

    @property
    def expected(self) -> int | None:
        """Bytes of the whole file, by the server or by the catalogue."""
        return self.total if self.total is not None else self.size

    @property
    def complete(self) -> bool:
        return self.total is not None and self.length == self.total > 0

    def begin(self, validator: str | None, total: int | None) -> None:
        """Start from the first byte of what the server has now."""
        self.forget()
        self.validator, self.total = validator, total
        self.path.write_bytes(b"")
        self.note.write_text(json.dumps({"address": self.address, "validator": validator, "total": total}), "utf-8")

    def forget(self) -> None:
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)
        self.validator = self.total = None
        self.length = 0
        self.hash = hashlib.sha256()

    def _find(self) -> None:
        """What an earlier call has left; anything doubtful is begun anew."""
        try:
            note = json.loads(self.note.read_text("utf-8"))
            length = self.path.stat().st_size
        except (OSError, ValueError):
            return
        validator, total = (note.get("validator"), note.get("total")) if isinstance(note, dict) else (None, None)
        fits = isinstance(note, dict) and note.get("address") == self.address
        fits = fits and isinstance(validator, str | None) and isinstance(total, int | None)
        if not fits or length == 0 or (total is not None and length > total):
            return
        with self.path.open("rb") as file:
            self.hash = hashlib.file_digest(file, "sha256")
        self.validator, self.total, self.length = validator, total, length


@contextmanager
def _client(address: str) -> Iterator[httpx.Client]:
    """A client that honours the proxies of the environment, except for servers on this very machine."""
    import httpx

    loopback = is_loopback(urlsplit(address).hostname or "")
    try:
        client = httpx.Client(
            trust_env=not loopback,
            timeout=httpx.Timeout(30.0, connect=20.0),
            headers={"User-Agent": f"sslsegmentation/{__version__}", "Accept-Encoding": "identity"},
        )
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        raise InputError(f"The proxy named in the environment cannot be used ({error}): correct HTTPS_PROXY.") from None
    with client:
        yield client


@contextmanager
def _answer(client: httpx.Client, address: str, headers: dict[str, str], name: str) -> Iterator[httpx.Response]:
    """The answer at the end of all redirects, none of which may leave https."""
    import httpx

    request = client.build_request("GET", address, headers=headers)
    local = is_loopback(request.url.host)
    try:
        for _ in range(_MOST_REDIRECTS + 1):
            response = client.send(request, stream=True)
            try:
                if response.next_request is None:
                    yield response
                    return
                request = response.next_request
            finally:
                response.close()
            at_home = local and request.url.scheme == "http" and is_loopback(request.url.host)
            if request.url.scheme != "https" and not at_home:
                raise InputError(
                    f"{name} is not downloaded, because {urlsplit(address).hostname} sends it on to "
                    f"{request.url.scheme}://{request.url.host}, which is not https: tell the owner of the address."
                )
        raise InputError(f"{name}: {urlsplit(address).hostname} sends it on and on: correct the address.")
    except httpx.TransportError as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise InputError(
                f"{name} is not downloaded, because the certificate of {request.url.host} is not trusted here: if your "
                "network inspects connections, name its certificate file in the environment variable SSL_CERT_FILE."
            ) from None
        raise _Dropped(_reason(error)) from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise InputError(f"{name} could not be downloaded ({error}): correct the address {address}.") from None


def _transfer(client: httpx.Client, part: _Part, tick: Tick, clock: Callable[[], float]) -> None:
    """One connection: all that is missing, or _Dropped."""
    if part.complete:
        return
    headers = {}
    # Without a validator only a known hash can tell whether two halves are of the same file.
    if part.length and (part.validator or part.sha256):
        headers = {"Range": f"bytes={part.length}-"} | ({"If-Range": part.validator} if part.validator else {})
    with _answer(client, part.address, headers, part.name) as response:
        _check_status(response, part)
        total = _accept(response, part)
        if None not in (part.size, total) and total != part.size:
            part.forget()
            raise InputError(
                f"{part.name}: the server offers {total} bytes, but the catalogue says {part.size}, "
                "so it is another file: nothing was downloaded; look for a newer version of the catalogue."
            )
        if total == 0:
            part.forget()
            raise InputError(f"{part.name}: the server sent an empty file: try again later, or tell the owner.")
        check_room(part.path.parent, (part.expected or 0) - part.length, part.name)
        try:
            _receive(response, part, tick, clock)
        except InputError:
            part.forget()
            raise
    if part.total is None:  # the server did not say, and has ended properly
        part.total = part.length
    if part.length < part.total:
        raise _Dropped(f"the connection ended after {size_text(part.length)} of {size_text(part.total)}")


def _check_status(response: httpx.Response, part: _Part) -> None:
    status, host = response.status_code, response.url.host
    if status in {200, 206}:
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise InputError(
                f"{part.name}: {host} sends it encoded, so it cannot be checked: tell the owner of the address."
            )
        return
    if status == 416:  # the file has become shorter than our part of it
        part.forget()
        raise _Dropped("the file on the server has changed")
    if status in _PASSING:
        raise _Dropped(f"the server answered {status} {response.reason_phrase}".strip())
    if status in {404, 410}:
        raise InputError(
            f"{part.name} is not at its address any more ({host} answered {status}): look for a newer version of the "
            'catalogue, or get the file elsewhere and add it with "sslseg models add".'
        )
    if status in {401, 403, 407, 451}:
        raise InputError(
            f"{part.name} is not given out without permission ({host} answered {status}): get the file in a "
            'browser and add it with "sslseg models add".'
        )
    raise InputError(f"{part.name} could not be downloaded ({host} answered {status}): try again later.")


def _accept(response: httpx.Response, part: _Part) -> int | None:
    """Decide whether the answer goes on from the part or begins anew; the number of bytes of the whole file."""
    validator = _validator(response.headers)
    if response.status_code == 206:
        given = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip())
        total = int(given[2]) if given and given[2] != "*" else None
        same = given and int(given[1]) == part.length and part.total in (None, total)
        same = same and (part.validator is None or validator in (None, part.validator))
        if not same:
            part.forget()
            raise _Dropped("the file on the server has changed")
        part.total = total
    else:
        length = response.headers.get("Content-Length", "")
        part.begin(validator, int(length) if length.isdecimal() else None)
    return part.total


def _validator(headers: Any) -> str | None:
    """What names this version of the file; weak tags do not promise the same bytes."""
    tag = headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified")


def _receive(response: httpx.Response, part: _Part, tick: Tick, clock: Callable[[], float]) -> None:
    import httpx

    seconds, bytes_ = _SLOWEST
    since, mark = clock(), part.length
    tick(f"Downloading {part.name}", part.part_done)
    with part.path.open("ab") as file:
        try:
            for chunk in response.iter_raw():
                if part.expected is not None and part.length + len(chunk) > part.expected:
                    raise InputError(f"{part.name}: the server sent more than {part.expected} bytes: try again later.")
                file.write(chunk)
                part.hash.update(chunk)
                part.length += len(chunk)
                tick(f"Downloading {part.name}", part.part_done)
                if (now := clock()) - since > seconds:
                    if part.length - mark < bytes_:
                        raise _Dropped("the server has almost stopped sending")
                    since, mark = now, part.length
        except httpx.TransportError as error:
            raise _Dropped(_reason(error)) from None


def _finish(part: _Part) -> Downloaded:
    """Check the whole file and rename it into its place."""
    found, length = part.hash.hexdigest(), part.length
    if length == 0 or part.size not in (None, length):
        part.forget()
        raise InputError(
            f"{part.name}: the server sent {length} bytes instead of {part.size or 'a file'}: try again later."
        )
    if part.sha256 not in (None, found):
        part.forget()
        raise InputError(
            f"{part.name} is not the file it should be: expected SHA-256 {part.sha256}, found {found}; it has been "
            "deleted: try again, and if the same happens do not use the file but tell the owner of the address."
        )
    with part.path.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(part.path, part.target)
    part.note.unlink(missing_ok=True)
    return Downloaded(length, found)


def _wait(seconds: float, look: Callable[[], None], sleep: Callable[[float], None]) -> None:
    """Wait before the next attempt, in short steps, so that the user can cancel."""
    for _ in range(round(seconds / 0.25)):
        look()
        sleep(0.25)


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
