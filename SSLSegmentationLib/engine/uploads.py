"""Uploads: the bytes of a request, and the scan in them."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from SSLSegmentationLib.engine.frames import MAGIC, Buffer, FrameError
from SSLSegmentationLib.engine.keeper import Refusal
from SSLSegmentationLib.engine.wire import read_volume_frame
from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.io.nifti import read_nifti
from SSLSegmentationLib.io.read import finite
from SSLSegmentationLib.volume import Volume

_STALLED_SECONDS = 60.0  # an upload that brings nothing for so long is given up


async def read_body(request: Any) -> Buffer:
    """The whole body, in one piece of memory. The guard has seen to its length."""
    from starlette.requests import ClientDisconnect

    length = request.headers.get("content-length")
    whole = None if length is None else np.empty(int(length), np.uint8)  # pages are taken only when bytes arrive
    parts, at = bytearray(), 0
    try:
        async with asyncio.timeout(_STALLED_SECONDS) as patience:
            async for piece in request.stream():
                patience.reschedule(asyncio.get_running_loop().time() + _STALLED_SECONDS)
                if whole is None:
                    parts += piece
                else:
                    whole[at : at + len(piece)] = np.frombuffer(piece, np.uint8)
                    at += len(piece)
    except TimeoutError as error:
        raise Refusal(400, "The upload stopped in the middle: send it again.") from error
    if whole is None:
        return parts
    if at != len(whole):
        raise ClientDisconnect
    return whole.data


def read_scan(content: Buffer, name: str, limit: int) -> Volume:
    """A scan from a frame or from a NIfTI file. Of files only NIfTI: its header cannot name other files."""
    view = memoryview(content)
    if bytes(view[:4]) == MAGIC:
        return read_volume_frame(view, limit)
    if not (bytes(view[:2]) == b"\x1f\x8b" or bytes(view[344:347]) == b"n+1" or bytes(view[4:7]) == b"n+2"):
        raise FrameError("What was sent is neither a frame nor a NIfTI file: send the scan as .nii or .nii.gz.")
    shown = name.replace("\\", "/").rpartition("/")[2] or "scan"
    with disk_may_be_full(), tempfile.TemporaryDirectory(prefix="sslseg-") as folder:
        path = Path(folder) / "scan.nii"  # never a name that was sent
        path.write_bytes(view)
        volume = finite(read_nifti(path, shown), shown, replace_them=False)
    if volume.voxels.nbytes > limit:
        raise Refusal(507, f"{shown} takes {volume.voxels.nbytes / 1e6:.0f} MB, more than is left: close a scan first.")
    return volume


@contextlib.contextmanager
def disk_may_be_full() -> Iterator[None]:
    """A full disk is no fault of the scan, and no reason to stop."""
    try:
        yield
    except (OSError, InputError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Refusal(507, "The disk of the engine is full: free some space there and try again.") from error
        raise
