"""Embeddings of pictures, kept by what they are made of: voxels, place of the plane among them, window and model.

A scan opened twice, or moved by a transform, finds its embeddings again; a changed voxel does not. The store is bounded
in bytes: what was not used for longest goes first. One thread at a time uses it, the one that runs the models.
"""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable
from weakref import WeakKeyDictionary

import numpy as np

from SSLSegmentationLib.io.atomic import replacing
from SSLSegmentationLib.plane import Plane
from SSLSegmentationLib.progress import Tick, silent
from SSLSegmentationLib.prompting.picture import Window, picture, window_of
from SSLSegmentationLib.prompting.protocol import Promptable
from SSLSegmentationLib.volume import Volume

MOST_BYTES = 2**30
MOST_ON_DISK = 8 * 2**30

_DECIMALS = 4  # of a voxel: planes closer than this are the same

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Bounded(Generic[Key, Value]):
    """Values of known sizes, of which those used last are kept."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.bytes = 0
        self._kept: OrderedDict[Key, tuple[Value, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, key: Key) -> bool:
        return key in self._kept

    def get(self, key: Key) -> Value | None:
        if key not in self._kept:
            return None
        self._kept.move_to_end(key)
        return self._kept[key][0]

    def put(self, key: Key, value: Value, size: int) -> None:
        """Keep a value; one that is larger than the whole room is not kept, and throws nothing out."""
        self.drop(lambda other: other == key)
        if size > self.most_bytes:
            return
        while self.bytes + size > self.most_bytes:
            _, (_, freed) = self._kept.popitem(last=False)
            self.bytes -= freed
        self._kept[key] = value, size
        self.bytes += size

    def drop(self, which: Callable[[Key], bool] = lambda key: True) -> None:
        for key in [key for key in self._kept if which(key)]:
            self.bytes -= self._kept.pop(key)[1]


@runtime_checkable
class Storable(Protocol):
    """A model whose embeddings can be written down."""

    def arrays_of(self, embedding: Any) -> dict[str, np.ndarray]: ...

    def from_arrays(self, arrays: dict[str, np.ndarray]) -> Any: ...


@dataclass(frozen=True)
class EmbeddingKey:
    model: str
    voxels: str
    """Hash of the scan's voxels."""
    place: bytes
    """Where the pixels lie among the voxels, and how many there are."""
    window: Window | None
    """None for a model that does not need the user's."""

    @property
    def file(self) -> str:
        digest = hashlib.blake2b(repr(self).encode(), digest_size=20)
        return f"{digest.hexdigest()}.npz"


@dataclass(frozen=True)
class Usage:
    hits: int
    misses: int
    from_disk: int
    """Of the hits, those that were read from the disk."""
    prefetched: int
    kept: int
    bytes: int

    @property
    def hit_rate(self) -> float:
        return self.hits / max(1, self.hits + self.misses)


class Embeddings:
    """The embeddings of the pictures that users look at.

    Nothing is written to the disk unless a folder is given: whoever can read an embedding can see a part of the scan in
    it, so that is for the user to decide.
    """

    def __init__(
        self, most_bytes: int = MOST_BYTES, folder: Path | None = None, most_on_disk: int = MOST_ON_DISK
    ) -> None:
        self._kept: Bounded[EmbeddingKey, Any] = Bounded(most_bytes)
        self._folder = folder
        self._most_on_disk = most_on_disk
        self._hashes: WeakKeyDictionary[Volume, str] = WeakKeyDictionary()
        self._hits = self._misses = self._from_disk = self._prefetched = 0

    @property
    def usage(self) -> Usage:
        return Usage(self._hits, self._misses, self._from_disk, self._prefetched, len(self._kept), self._kept.bytes)

    def of(self, model: Promptable, volume: Volume, plane: Plane, window: Window, tick: Tick = silent) -> Any:
        """The embedding of the picture of the volume on the plane, encoded if it is not there yet."""
        key = self._key(model, volume, plane, window)
        embedding = self._kept.get(key)
        if embedding is None:
            embedding = self._read(model, key)
            self._from_disk += embedding is not None
        if embedding is not None:
            self._hits += 1
            return embedding
        self._misses += 1
        return self._encode(model, volume, plane, key, window, tick)

    def has(self, model: Promptable, volume: Volume, plane: Plane, window: Window) -> bool:
        return self._key(model, volume, plane, window) in self._kept

    def prefetch(
        self, model: Promptable, volume: Volume, planes: Iterable[Plane], window: Window, tick: Tick = silent
    ) -> Iterator[Plane]:
        """Encode planes the user may look at next, the likeliest first; each step does one and names it.

        It ends when no further one fits beside the others and the one in use, and may be dropped at any step.
        """
        taken, largest = 0, 0
        for plane in planes:
            key = self._key(model, volume, plane, window)
            embedding = self._kept.get(key)
            if embedding is None:
                embedding = self._encode(model, volume, plane, key, window, tick)
                self._prefetched += 1
                yield plane
            size = model.bytes_of(embedding)
            taken, largest = taken + size, max(largest, size)
            if taken + 2 * largest > self._kept.most_bytes:
                return

    def look_through(self, window: Window) -> None:
        """The user has changed the window: what was seen through another is dropped; the rest does not depend on it."""
        self._kept.drop(lambda key: key.window not in (None, window))

    def forget(self) -> None:
        """Drop everything that is kept in memory."""
        self._kept.drop()

    def _encode(
        self, model: Promptable, volume: Volume, plane: Plane, key: EmbeddingKey, window: Window, tick: Tick
    ) -> Any:
        seen = picture(volume, plane, window if key.window else window_of(volume))
        embedding = model.encode(seen) if tick is silent else model.encode(seen, tick)
        self._kept.put(key, embedding, model.bytes_of(embedding))
        self._write(model, key, embedding)
        return embedding

    def _key(self, model: Promptable, volume: Volume, plane: Plane, window: Window) -> EmbeddingKey:
        voxels = self._hashes.get(volume)
        if voxels is None:
            voxels = self._hashes[volume] = hash_voxels(volume.voxels)
        # The third column says how thick a slice is; the picture does not depend on it.
        place = np.round((volume.ras_to_ijk @ plane.pixel_to_ras)[:3, [0, 1, 3]], _DECIMALS) + 0.0  # no minus zero
        needed = window if getattr(model, "sees_window", True) else None
        return EmbeddingKey(model.key, voxels, place.tobytes() + repr(plane.shape).encode(), needed)

    def _read(self, model: Promptable, key: EmbeddingKey) -> Any:
        from zipfile import BadZipFile

        if self._folder is None or not isinstance(model, Storable):
            return None
        path = self._folder / key.file
        try:
            # Opened here: numpy leaves a damaged archive open.
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                embedding = model.from_arrays(dict(arrays))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, EOFError, BadZipFile):  # damaged: it is made again
            path.unlink(missing_ok=True)
            return None
        os.utime(path)
        self._kept.put(key, embedding, model.bytes_of(embedding))
        return embedding

    def _write(self, model: Promptable, key: EmbeddingKey, embedding: Any) -> None:
        if self._folder is None or not isinstance(model, Storable):
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        with replacing(self._folder / key.file) as path:
            np.savez(path, **model.arrays_of(embedding))
        files = sorted(self._folder.glob("[0-9a-f]*.npz"), key=lambda path: path.stat().st_mtime_ns)
        taken = sum(path.stat().st_size for path in files)
        for path in files:
            if taken <= self._most_on_disk:
                break
            taken -= path.stat().st_size
            path.unlink()


def hash_voxels(voxels: np.ndarray) -> str:
    """A hash of the values, slice by slice, so that a view of another orientation is not copied whole."""
    digest = hashlib.blake2b(f"{voxels.shape} {voxels.dtype.str}".encode(), digest_size=20)
    for one in voxels:
        digest.update(np.ascontiguousarray(one).data)
    return digest.hexdigest()


def around(index: int, count: int, reach: int) -> Iterator[int]:
    """Slice numbers around the one in view, nearest first."""
    for step in range(1, reach + 1):
        yield from (number for number in (index + step, index - step) if 0 <= number < count)
