"""From bytes to voxels, with the checks that every format needs before and while its voxels are read.

The formats are read here rather than through SimpleITK, because ITK hands out NIfTI files that are cut off, and
compressed MetaImages with broken bytes, as if they were whole. The tests hold the result against SimpleITK's.
"""

from __future__ import annotations

import bz2
import gzip
import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from SSLSegmentationLib.errors import InputError

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])

_CHUNK = 1 << 24
_MOST_PER_BYTE = {"raw": 1, "gzip": 1040, "zlib": 1040}  # deflate cannot shrink more than about 1030 times


@dataclass(frozen=True)
class Layout:
    """How the voxels lie in a file, fastest axis first."""

    sizes: tuple[int, ...]
    dtype: np.dtype
    encoding: str = "raw"
    """raw, gzip, zlib, bzip2 or ascii"""
    start: int = 0
    """Where the (decoded) data begin; -1 if they are the last bytes of the file."""

    @property
    def count(self) -> int:
        count = 1
        for size in self.sizes:
            count *= size
        return count

    @property
    def nbytes(self) -> int:
        return self.count * self.dtype.itemsize


def read_voxels(path: Path, layout: Layout, name: str, *, skip: int = 0) -> np.ndarray:
    """The voxels as an array with the slowest axis first, in this machine's byte order.

    `skip` bytes at the beginning of the file are not encoded (a text header in the same file).
    """
    check_room(path, layout, name)
    with path.open("rb") as file:
        file.seek(skip)
        if layout.encoding == "ascii":
            flat = _numbers(file, layout, name)
        else:
            flat = np.empty(layout.count, dtype=layout.dtype)
            _fill(memoryview(flat).cast("B"), file, layout, name)
    if not flat.dtype.isnative:
        flat = flat.byteswap(inplace=True).view(flat.dtype.newbyteorder("="))
    return flat.reshape(layout.sizes[::-1])


def check_room(path: Path, layout: Layout, name: str) -> None:
    """Refuse, before anything is allocated, what cannot be in the file or cannot fit into memory."""
    if layout.count <= 0:
        raise InputError(f"{name} has no voxels (its size is {by(layout.sizes)}): choose another file.")
    most = _MOST_PER_BYTE.get(layout.encoding)
    if most is not None and layout.nbytes > path.stat().st_size * most:
        raise cut_off(name, f"its header promises {by(layout.sizes)} voxels, which cannot be in a file of this size")
    check_memory(layout.nbytes, layout.sizes, name)


def check_memory(nbytes: int, sizes: Sequence[int], name: str) -> None:
    memory = machine_memory()
    if memory is not None and nbytes > memory:
        raise InputError(
            f"{name} has {by(sizes)} voxels and needs {nbytes / 2**30:.0f} GB, but this machine has "
            f"{memory / 2**30:.0f} GB of memory: crop it or use a larger machine."
        )


def machine_memory() -> int | None:
    """Bytes of memory of this machine; None where it cannot be told."""
    try:
        import psutil
    except ImportError:  # not every Slicer has it
        return None
    return psutil.virtual_memory().total


def rescaled(voxels: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    """slope × value + intercept in floating point, or the very same array if that changes nothing."""
    if slope == 1.0 and intercept == 0.0:
        return voxels
    result = voxels if voxels.dtype.kind == "f" else np.empty(voxels.shape, dtype=np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is counted as not finite by the caller
        for into, plane in zip(result, voxels, strict=True):  # by planes: double precision without the room for all
            into[...] = plane * np.float64(slope) + np.float64(intercept)
    return result


def cut_off(name: str, fact: str) -> InputError:
    return InputError(f"{name} is cut off or damaged ({fact}): copy or export it again.")


def one_value_each(name: str, fact: str) -> InputError:
    return InputError(
        f"{name} has {fact}, but a volume has one number in each voxel: save the part you need as a volume of its own."
    )


def bad_spacing(name: str, spacing: Sequence[float]) -> InputError:
    return InputError(
        f"{name} has a voxel spacing of {mm(spacing)}, which must be above zero: correct the header or convert it "
        "again from the original scan."
    )


def mm(lengths: Sequence[float]) -> str:
    return " × ".join(f"{length:g}" for length in lengths) + " mm"


def by(sizes: Sequence[int]) -> str:
    return " × ".join(str(size) for size in sizes)


def _fill(view: memoryview, file: BinaryIO, layout: Layout, name: str) -> None:
    """Read exactly as many bytes as the voxels need, and the check sum behind them where there is one."""
    try:
        source = _decoder(file, layout.encoding)
        if layout.start < 0:
            source.seek(-len(view), io.SEEK_END)
        elif layout.start:
            source.seek(layout.start, io.SEEK_CUR)
        done = 0
        while done < len(view):
            got = source.readinto(view[done : done + _CHUNK])
            if not got:
                break
            done += got
        # Reading on to the end makes the decoder compare its check sum.
        while layout.encoding != "raw" and source.read(_CHUNK):
            continue
    except (EOFError, OSError, zlib.error) as error:
        raise cut_off(name, f"its compressed data cannot be read to the end: {error}") from error
    if done < len(view):
        raise cut_off(name, f"{done} of {len(view)} bytes of voxels are there")


def _decoder(file: BinaryIO, encoding: str) -> BinaryIO:
    if encoding == "gzip":
        return gzip.GzipFile(fileobj=file)
    if encoding == "bzip2":
        return bz2.BZ2File(file)
    if encoding == "zlib":
        return io.BytesIO(_inflated(file.read()))
    return file


def _inflated(data: bytes) -> bytes:
    decoder = zlib.decompressobj()
    result = decoder.decompress(data) + decoder.flush()
    if not decoder.eof:
        raise EOFError("the compressed stream ends too early")
    return result


def _numbers(file: BinaryIO, layout: Layout, name: str) -> np.ndarray:
    words = file.read().split()
    if len(words) != layout.count:
        raise cut_off(name, f"{len(words)} of {layout.count} values are there")
    try:
        return np.array(words).astype(np.float64 if layout.dtype.kind == "f" else np.int64).astype(layout.dtype)
    except ValueError as error:
        raise cut_off(name, "not all of its values are numbers") from error
