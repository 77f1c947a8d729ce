"""Files appear whole or not at all: they are written beside their place and renamed into it."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from SSLSegmentationLib.errors import InputError

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """A temporary path in the same folder and with the same ending; renamed to `path` when the block ends well.

    After an error or an interruption inside the block the temporary file is gone and what stood at `path` is untouched.
    A symbolic link stays one: the file it points at is replaced.
    """
    target = Path(path).resolve()
    temporary = target.with_name(f".{secrets.token_hex(8)}{ending(target)}")
    _claim(temporary, target)
    try:
        yield temporary
        _flush(temporary)
        os.replace(temporary, target)
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise InputError(
                f"{target.name} could not be written, because {target.parent} has no room left: "
                "free some space or choose another folder."
            ) from error
        raise
    finally:
        # Gone already if it was renamed; on Windows it may still be open in a writer that failed.
        with suppress(OSError):
            temporary.unlink()
    _flush_folder(target.parent)


def ending(path: Path) -> str:
    """The last two suffixes, such as ".nii.gz" or ".seg.nrrd": writers choose the format by them."""
    return "".join(path.suffixes[-2:])


def _claim(temporary: Path, target: Path) -> None:
    """Create the temporary file, so that a folder that is missing or closed is told before any work is done."""
    if target.is_dir():
        raise InputError(f"{target} is a folder: name a file in it.")
    if not target.parent.is_dir():
        raise InputError(f"{target.name} cannot be written, because the folder {target.parent} is missing: create it.")
    try:
        temporary.open("xb").close()
    except OSError as error:
        raise InputError(
            f"{target.name} cannot be written into {target.parent} ({error.strerror}): choose another folder."
        ) from error


def _flush(path: Path) -> None:
    """Have the bytes on the disk before the name points at them; else a power cut could leave an empty file."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open folders, and records a rename by itself
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems refuse it; the rename itself has happened
            os.fsync(handle)
    finally:
        os.close(handle)
