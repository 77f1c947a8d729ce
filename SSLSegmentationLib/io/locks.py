"""One process at a time: a lock that the system gives back when its holder ends, however it ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from SSLSegmentationLib.errors import InputError


@contextmanager
def locked(path: Path, busy: str) -> Iterator[None]:
    """Hold the lock of a file while the block runs; if another process holds it, refuse with the sentence `busy`.

    The file stays, and is empty: removing it would let two processes hold a lock of the same name.
    """
    with path.open("ab") as file:
        try:
            _take(file)
        except OSError:
            raise InputError(busy) from None
        try:
            yield
        finally:
            _release(file)


def _take(file: IO[bytes]) -> None:
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _release(file: IO[bytes]) -> None:
    if os.name == "nt":
        import msvcrt

        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_UN)
