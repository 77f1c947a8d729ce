"""Frames: how arrays travel. A JSON header, and behind it the bytes of each array, raw or compressed.

    4 bytes  "SSLF"
    1 byte   version of this layout
    3 bytes  zero
    4 bytes  length of the header, little endian
    header   JSON in UTF-8, padded with spaces: {"kind": …, "fields": {…}, "arrays": [{…}, …]}
    arrays   one after the other, each padded with zeros to a multiple of 64 bytes

An array is sent in the form that is smallest for what it is: numbers as they are ("plain"), masks as bits ("bits"),
label maps as runs of equal values ("runs"). Each form may be compressed on top: bytes of equal weight side by side,
then zlib at level 1, in chunks that several cores share. Measured on CT and MR, that shrinks scans to between an eighth
and a third; differences between neighbours gained nothing. It pays on networks slower than a gigabit, not on loopback.

Nothing in a frame is ever run: no pickle, no names of types outside the table below. Every length is compared with what
has arrived, and with the caller's limit, before memory is taken for it.
"""

from __future__ import annotations

import json
import math
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.steps import Steps

Buffer = bytes | bytearray | memoryview
Packed = tuple[dict[str, Any], list[Buffer]]
"""What the header says of an array, and its bytes."""

MAGIC = b"SSLF"
VERSION = 1
LARGEST_HEADER = 2**20
DTYPES = ("|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8")

_PREFIX = struct.Struct("<4sB3xI")
_ALIGNMENT = 64  # so that arrays can be used where they lie in the message
_CHUNK = 4 * 2**20
_MORSEL = 2**19  # compressed in about a hundredth of a second
_LONGEST_SIDE = 2**24


class FrameError(InputError):
    """What arrived is not a frame, or is damaged."""


def pack(kind: str, fields: Mapping[str, Any], arrays: Mapping[str, np.ndarray], compress: bool) -> list[Buffer]:
    """The buffers of a frame, to be sent one after the other; arrays that go raw are not copied."""
    return _framed(kind, fields, {name: _packed(array, compress) for name, array in arrays.items()})


def packing(
    kind: str, fields: Mapping[str, Any], arrays: Mapping[str, np.ndarray], compress: bool
) -> Steps[list[Buffer]]:
    """A frame of the same arrays in pieces, for a window that must not stand still; it looks for no runs or bits."""
    packed: dict[str, Packed] = {}
    for name, given in arrays.items():
        entry, array = _plain(given)
        plain, parts = _bytes_of(array), []
        for at in range(0, len(plain), _CHUNK):
            chunk = plain[at : at + _CHUNK]
            parts.append((yield from _deflating(chunk, array.itemsize)) if compress else chunk)
        if compress and parts:
            entry["chunks"] = [len(part) for part in parts]
        packed[name] = entry, parts
    return _framed(kind, fields, packed)


def _framed(kind: str, fields: Mapping[str, Any], packed: Mapping[str, Packed]) -> list[Buffer]:
    entries: list[dict[str, Any]] = []
    buffers: list[Buffer] = []
    for name, (entry, parts) in packed.items():
        size = sum(len(part) for part in parts)
        entries.append({"name": name, "bytes": size, **entry})
        buffers += [*parts, bytes(-size % _ALIGNMENT)]
    header = json.dumps({"kind": kind, "fields": fields, "arrays": entries}, separators=(",", ":"), allow_nan=False)
    text = header.encode()
    text += b" " * (-(_PREFIX.size + len(text)) % _ALIGNMENT)
    return [_PREFIX.pack(MAGIC, VERSION, len(text)) + text, *buffers]


def unpack(data: Buffer, kind: str, limit: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Fields and arrays of a frame of the expected kind whose arrays take at most `limit` bytes.

    Raw arrays are views of `data`.
    """
    view = memoryview(data)
    header, at = _header(view)
    if header["kind"] != kind:
        raise FrameError(f"This is a {header['kind'][:40]}, but a {kind} was expected: send the right thing.")
    arrays: dict[str, np.ndarray] = {}
    for entry in header["arrays"]:
        array, taken = _unpacked(entry, view[at:], limit)
        limit -= array.nbytes
        at += taken + -taken % _ALIGNMENT
        arrays[entry["name"]] = array
    if at != len(view):
        raise _damaged("there are bytes behind its end" if at < len(view) else "its end is missing")
    return header["fields"], arrays


def _header(view: memoryview) -> tuple[dict[str, Any], int]:
    if len(view) < _PREFIX.size:
        raise _damaged("its beginning is incomplete")
    magic, version, length = _PREFIX.unpack(view[: _PREFIX.size])
    if magic != MAGIC:
        raise FrameError("What arrived is not a frame of this program: send a volume as a frame or as a NIfTI file.")
    if version != VERSION:
        raise FrameError(f"The frame has version {version}, but this program reads {VERSION}: update the older side.")
    at = _PREFIX.size + length
    if length > LARGEST_HEADER or at > len(view):
        raise _damaged("its header is incomplete or too long")
    try:
        header = json.loads(bytes(view[_PREFIX.size : at]))
    except (ValueError, RecursionError) as error:
        raise _damaged("its header is not JSON") from error
    if not (
        isinstance(header, dict)
        and isinstance(header.get("kind"), str)
        and isinstance(header.get("fields"), dict)
        and isinstance(header.get("arrays"), list)
        and all(isinstance(entry, dict) and isinstance(entry.get("name"), str) for entry in header["arrays"])
        and len({entry["name"] for entry in header["arrays"]}) == len(header["arrays"])
    ):
        raise _damaged("its header lacks a part")
    return header, at


def _plain(array: np.ndarray) -> tuple[dict[str, Any], np.ndarray]:
    """What the header says of an array, and its numbers in the order and form in which they travel."""
    dtype = array.dtype.newbyteorder("<") if array.dtype.itemsize > 1 else array.dtype
    if dtype.str not in DTYPES or array.ndim > 3:
        raise ValueError(f"an array of {array.ndim} dimensions and type {array.dtype} cannot be sent")
    entry: dict[str, Any] = {"dtype": dtype.str, "shape": list(array.shape), "form": "plain"}
    return entry, np.ascontiguousarray(array, dtype=dtype)


def _packed(array: np.ndarray, compress: bool) -> Packed:
    entry, array = _plain(array)
    dtype = array.dtype
    parts, itemsize = [_bytes_of(array)], dtype.itemsize
    if dtype.kind == "b":
        entry["form"], parts, itemsize = "bits", [_bytes_of(np.packbits(array))], 1
    elif dtype.itemsize <= 2 and dtype.kind == "u" and (runs := _runs(array)) is not None:
        lengths, values = runs
        entry |= {"form": "runs", "runs": len(lengths)}
        parts, itemsize = [_bytes_of(lengths), _bytes_of(values)], 1
    if compress and parts[0]:
        plain = memoryview(b"".join(parts)) if len(parts) > 1 else memoryview(parts[0])
        parts = _in_parallel(lambda at: _deflated(plain[at : at + _CHUNK], itemsize), range(0, len(plain), _CHUNK))
        entry["chunks"] = [len(part) for part in parts]
    return entry, parts


def _unpacked(entry: dict[str, Any], view: memoryview, limit: int) -> tuple[np.ndarray, int]:
    """One array and the number of bytes it took."""
    dtype, shape, size = entry.get("dtype"), entry.get("shape"), entry.get("bytes")
    if dtype not in DTYPES or not _counts(shape, 3, _LONGEST_SIDE) or not _counts([size], 1, len(view)):
        raise _damaged(f'the header of "{entry["name"][:40]}" cannot be true')
    dtype, count = np.dtype(dtype), math.prod(shape)
    if count * dtype.itemsize > limit:
        raise FrameError(
            f"The data take {count * dtype.itemsize / 1e6:.3g} MB, but only {max(limit, 0) / 1e6:.3g} MB are allowed: "
            "crop the scan, or close another one."
        )
    form, itemsize = entry.get("form"), 1
    if form == "plain":
        plain, itemsize = count * dtype.itemsize, dtype.itemsize
    elif form == "bits" and dtype.kind == "b":
        plain = -(-count // 8)
    elif form == "runs" and dtype.kind == "u" and _counts([entry.get("runs")], 1, count):
        plain = entry["runs"] * (4 + dtype.itemsize)
    else:
        raise _damaged(f"its form {str(form)[:20]!r} is unknown")
    content: Buffer = view[:size]
    if "chunks" in entry:
        content = _inflated(content, entry["chunks"], plain, itemsize)
    elif size != plain:
        raise _damaged("its lengths contradict each other")
    if form == "bits":
        return np.unpackbits(np.frombuffer(content, np.uint8), count=count).view(bool).reshape(shape), size
    if form == "runs":
        return _from_runs(content, entry["runs"], dtype, count).reshape(shape), size
    return np.frombuffer(content, dtype, count).reshape(shape), size


def _runs(array: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Lengths and values of the runs of equal values; None if there are too many for it to pay."""
    flat = array.reshape(-1)
    ends = np.flatnonzero(flat[1:] != flat[:-1])
    if flat.size < 1024 or len(ends) > flat.size // 16 or flat.size >= 2**32:
        return None
    starts = np.concatenate([[0], ends + 1])
    return np.diff(np.append(starts, flat.size)).astype("<u4"), flat[starts]


def _from_runs(content: Buffer, runs: int, dtype: np.dtype, count: int) -> np.ndarray:
    lengths = np.frombuffer(content, "<u4", runs)
    if int(lengths.sum(dtype=np.uint64)) != count:
        raise _damaged("its runs have another length than its shape")
    return np.repeat(np.frombuffer(content, dtype, runs, offset=4 * runs), lengths)


def _deflated(plain: memoryview, itemsize: int) -> bytes:
    return zlib.compress(_by_weight(plain, itemsize), 1)


def _deflating(plain: memoryview, itemsize: int) -> Steps[bytes]:
    plain = memoryview(_by_weight(plain, itemsize)).cast("B")
    deflate, parts = zlib.compressobj(1), []
    for at in range(0, len(plain), _MORSEL):
        parts.append(deflate.compress(plain[at : at + _MORSEL]))
        yield
    return b"".join([*parts, deflate.flush()])


def _by_weight(plain: memoryview, itemsize: int) -> memoryview:
    """Bytes of equal weight side by side."""
    if itemsize == 1:
        return plain
    return np.ascontiguousarray(np.frombuffer(plain, np.uint8).reshape(-1, itemsize).T).data


def _inflated(content: memoryview, chunks: Any, plain: int, itemsize: int) -> memoryview:
    count = -(-plain // _CHUNK)
    if not _counts(chunks, count, len(content)) or len(chunks) != count or sum(chunks) != len(content):
        raise _damaged("its chunks do not add up")
    whole = np.empty(plain, np.uint8)  # not touched before it is written, so that a lie about it costs no memory
    starts = [sum(chunks[:number]) for number in range(count)]

    def inflate(number: int) -> None:
        part = whole[number * _CHUNK : (number + 1) * _CHUNK]
        stream = zlib.decompressobj()
        try:
            found = stream.decompress(content[starts[number] : starts[number] + chunks[number]], len(part) + 1)
        except zlib.error as error:
            raise _damaged("its compressed data cannot be read") from error
        if len(found) != len(part) or not stream.eof or stream.unused_data:
            raise _damaged("its compressed data have another length than its shape")
        shuffled = np.frombuffer(found, np.uint8)
        part.reshape(-1, itemsize)[:] = shuffled.reshape(itemsize, -1).T

    _in_parallel(inflate, range(count))
    return whole.data


def _in_parallel(work: Callable[[int], Any], numbers: Iterable[int]) -> list[Any]:
    """zlib lets other threads run, so that chunks are worked on by all cores; a single one needs no thread."""
    numbers = list(numbers)
    if len(numbers) < 2:
        return [work(number) for number in numbers]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1, len(numbers))) as pool:
        return list(pool.map(work, numbers))


def in_pieces(buffers: Iterable[Buffer], size: int = 2**18) -> Iterator[memoryview]:
    """Large buffers in pieces, so that a server has time for others between them."""
    for buffer in buffers:
        view = memoryview(buffer)
        for at in range(0, len(view), size):
            yield view[at : at + size]


def _bytes_of(array: np.ndarray) -> memoryview:
    return memoryview(array.reshape(-1).view(np.uint8)) if array.size else memoryview(b"")


def _counts(values: Any, most: int, largest: int) -> bool:
    """Whether these are at most so many whole numbers between 0 and the largest; JSON has room for other things."""
    return (
        isinstance(values, list)
        and len(values) <= most
        and all(isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= largest for value in values)
    )


def _damaged(fact: str) -> FrameError:
    return FrameError(f"The data arrived damaged ({fact}): send them again.")
