"""The long work of a client, in pieces, for a window that must not stand still: generators that yield between them."""

from __future__ import annotations

import hashlib
import struct

import numpy as np

from SSLSegmentationLib.engine.frames import Buffer
from SSLSegmentationLib.engine.results import Result
from SSLSegmentationLib.engine.wire import labelling_in_pieces, read_result_frame
from SSLSegmentationLib.steps import Steps
from SSLSegmentationLib.volume import Volume

_CHUNK = 4 * 2**20


def digest_in_pieces(volume: Volume) -> Steps[str]:
    """What `identity.digest` gives, one chunk after the other."""
    voxels = np.ascontiguousarray(volume.voxels, dtype=volume.voxels.dtype.newbyteorder("<"))
    head = f"{voxels.dtype.str} {voxels.shape} ".encode() + struct.pack("<16d", *(volume.ijk_to_ras.ravel() + 0.0))
    content = memoryview(voxels.reshape(-1).view(np.uint8))
    whole = hashlib.sha256(head)
    for at in range(0, len(content), _CHUNK):
        whole.update(hashlib.sha256(content[at : at + _CHUNK]).digest())
        yield
    return whole.hexdigest()


def result_in_pieces(data: Buffer, volume: Volume) -> Steps[Result]:
    """What `wire.read_result_frame` gives; labellings, which are large, slab by slab."""
    if b'"kind":"labelling"' in bytes(memoryview(data)[:64]):
        return (yield from labelling_in_pieces(data, volume))
    return read_result_frame(data, volume)
