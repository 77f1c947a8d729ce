"""The address of a scan by its content, by which caches, engines and datasets know it again."""

from __future__ import annotations

import hashlib
import struct
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from SSLSegmentationLib.volume import Volume

_CHUNK = 4 * 2**20


def digest(volume: Volume) -> str:
    """SHA-256 of voxels, their type and shape, and where they lie. Names do not count.

    A hash of the hashes of chunks, so that all cores work on it.
    """
    voxels = np.ascontiguousarray(volume.voxels, dtype=volume.voxels.dtype.newbyteorder("<"))
    head = f"{voxels.dtype.str} {voxels.shape} ".encode() + struct.pack("<16d", *(volume.ijk_to_ras.ravel() + 0.0))
    content = memoryview(voxels.reshape(-1).view(np.uint8))
    whole = hashlib.sha256(head)
    with ThreadPoolExecutor(4) as pool:
        pieces = (content[at : at + _CHUNK] for at in range(0, len(content), _CHUNK))
        for part in pool.map(lambda piece: hashlib.sha256(piece).digest(), pieces):
            whole.update(part)
    return whole.hexdigest()
