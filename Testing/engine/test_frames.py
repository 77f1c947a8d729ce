"""Frames: what goes in comes out; what was damaged on the way is refused before memory is taken for it."""

from __future__ import annotations

import json
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from SSLSegmentationLib.engine.frames import DTYPES, MAGIC, FrameError, in_pieces, pack, unpack

LIMIT = 2**24


def arrays() -> st.SearchStrategy[np.ndarray]:
    """Of every type, from empty to three dimensions; any bits, so that NaN and negative zero come along."""
    shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=7)
    return st.sampled_from(DTYPES).flatmap(lambda dtype: hnp.arrays(np.dtype(dtype), shapes))


def joined(array: np.ndarray, compress: bool) -> bytes:
    return b"".join(pack("test", {}, {"array": array}, compress))


def same_bytes(one: np.ndarray, other: np.ndarray) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


@given(arrays(), st.booleans())
def test_arrays_come_back_bit_for_bit(array: np.ndarray, compress: bool) -> None:
    fields, found = unpack(joined(array, compress), "test", LIMIT)
    assert fields == {}
    assert same_bytes(found["array"], array)


@given(st.lists(arrays(), max_size=4), st.booleans())
def test_several_arrays_share_a_frame(several: list[np.ndarray], compress: bool) -> None:
    named = {str(number): array for number, array in enumerate(several)}
    fields, found = unpack(b"".join(pack("test", {"a": [1, "ü"]}, named, compress)), "test", LIMIT)
    assert fields == {"a": [1, "ü"]}
    assert list(found) == list(named)
    assert all(same_bytes(found[name], named[name]) for name in named)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("dtype", ["u1", "<u2", "<i2", "<f4"])
def test_large_arrays_travel_in_several_chunks(dtype: str, compress: bool) -> None:
    array = (np.arange(9 * 2**20 // np.dtype(dtype).itemsize) // 977).astype(dtype).reshape(3, -1, 4)
    assert same_bytes(unpack(joined(array, compress), "test", LIMIT)[1]["array"], array)


def test_label_maps_travel_as_runs() -> None:
    labels = np.zeros((64, 64, 64), np.uint8)
    labels[20:40, 10:30, 30:50] = 3
    data = joined(labels, compress=False)
    assert len(data) < labels.nbytes / 40
    assert same_bytes(unpack(data, "test", LIMIT)[1]["array"], labels)


def test_strided_and_big_endian_arrays_are_sent_as_what_they_mean() -> None:
    array = np.arange(24, dtype=">i2").reshape(2, 3, 4).transpose(2, 0, 1)[::-1]
    found = unpack(joined(array, compress=False), "test", LIMIT)[1]["array"]
    np.testing.assert_array_equal(found, array)
    assert found.dtype == np.dtype("<i2")


def test_raw_arrays_are_neither_copied_nor_misaligned() -> None:
    array = np.arange(1000, dtype=np.float64).reshape(10, 10, 10)
    assert np.shares_memory(np.frombuffer(pack("test", {}, {"array": array}, False)[1], np.float64), array)
    data = np.frombuffer(joined(array, compress=False), np.uint8).copy()
    found = unpack(data.data, "test", LIMIT)[1]["array"]
    assert np.shares_memory(found, data)
    assert (found.ctypes.data - data.ctypes.data) % 64 == 0


@given(arrays(), st.booleans(), st.floats(0, 1, exclude_max=True))
def test_a_truncated_frame_is_refused(array: np.ndarray, compress: bool, part: float) -> None:
    data = joined(array, compress)
    with pytest.raises(FrameError):
        unpack(data[: int(len(data) * part)], "test", LIMIT)


@given(arrays(), st.booleans(), st.data())
def test_a_damaged_frame_is_refused_or_read_but_never_breaks_the_reader(
    array: np.ndarray, compress: bool, data: st.DataObject
) -> None:
    frame = bytearray(joined(array, compress))
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = unpack(frame, "test", LIMIT)[1]
    except FrameError:
        return
    assert all(part.nbytes <= LIMIT for part in found.values())


@given(st.binary(max_size=200))
def test_noise_is_refused(noise: bytes) -> None:
    with pytest.raises(FrameError):
        unpack(noise, "test", LIMIT)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "dtype": st.sampled_from([*DTYPES, "|O", "<U4"]) | json_values,
            "shape": st.lists(st.integers(-1, 2**40), max_size=4) | json_values,
            "bytes": st.integers(-1, 200) | json_values,
            "form": st.sampled_from(["plain", "bits", "runs"]) | json_values,
            "runs": st.integers(-1, 2**33) | json_values,
            "chunks": st.lists(st.integers(-5, 200), max_size=4) | json_values,
        },
    ),
    st.binary(max_size=128),
)
def test_a_header_that_lies_is_refused(lie: dict[str, object], content: bytes) -> None:
    text = json.dumps({"kind": "test", "fields": {}, "arrays": [{"name": "array", **lie}]}).encode()
    frame = struct.pack("<4sB3xI", MAGIC, 1, len(text)) + text + content
    try:
        found = unpack(frame, "test", LIMIT)[1]["array"]
    except FrameError:
        return
    assert found.nbytes <= LIMIT


@pytest.mark.parametrize("form", ["plain", "bits", "runs"])
def test_a_bomb_takes_no_memory(form: str) -> None:
    """A gigabyte of zeros in a few bytes, above the limit and below it."""
    dtype = {"plain": "<i2", "bits": "|b1", "runs": "|u1"}[form]
    entry = {"name": "array", "dtype": dtype, "shape": [1024, 1024, 1024], "form": form, "bytes": 8, "chunks": [8]}
    text = json.dumps({"kind": "test", "fields": {}, "arrays": [{**entry, "runs": 2**28}]}).encode()
    frame = struct.pack("<4sB3xI", MAGIC, 1, len(text)) + text + bytes(64)
    for limit in (2**20, 2**33):
        tracemalloc.start()
        with pytest.raises(FrameError):
            unpack(frame, "test", limit)
        assert tracemalloc.get_traced_memory()[1] < 2**20
        tracemalloc.stop()


def test_another_kind_is_named() -> None:
    with pytest.raises(FrameError, match="This is a test, but a volume was expected"):
        unpack(joined(np.zeros(3), False), "volume", LIMIT)


def test_a_newer_version_is_named() -> None:
    data = bytearray(joined(np.zeros(3), False))
    data[4] = 9
    with pytest.raises(FrameError, match="version 9"):
        unpack(data, "test", LIMIT)


def test_pieces_add_up() -> None:
    buffers = [b"abc", bytes(range(100)), b""]
    assert b"".join(in_pieces(buffers, 7)) == b"".join(buffers)
