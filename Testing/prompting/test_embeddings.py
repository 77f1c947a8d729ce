"""The store of embeddings: its keys, its bounds, what it drops and what it writes down."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from SSLSegmentationLib.errors import Cancelled
from SSLSegmentationLib.plane import Plane, slice_plane
from SSLSegmentationLib.prompting.embeddings import Bounded, Embeddings, around
from SSLSegmentationLib.prompting.picture import Window
from SSLSegmentationLib.volume import Volume

WINDOW = Window(100, 50)
SIZE = 1000


class Fake:
    """Encodes a picture as a copy of it, and says that it takes a thousand bytes."""

    sees_window = True

    def __init__(self, key: str = "fake") -> None:
        self.key = key
        self.encoded: list[np.ndarray] = []

    def encode(self, picture, tick=lambda stage, part: None):
        tick("Encoding", 0.0)
        self.encoded.append(picture.copy())
        return picture.copy()

    def decode(self, embedding, prompts, tick=lambda stage, part: None):
        return []

    def bytes_of(self, embedding) -> int:
        return SIZE

    def arrays_of(self, embedding):
        return {"picture": embedding}

    def from_arrays(self, arrays):
        return arrays["picture"]


class Windowless(Fake):
    sees_window = False


@pytest.fixture
def volume() -> Volume:
    voxels = np.random.default_rng(0).integers(0, 100, (12, 6, 7)).astype(np.int16)
    return Volume(voxels, np.diag([0.5, 0.6, 3.0, 1.0]))


def test_a_slice_is_encoded_once_and_then_found(volume):
    model, store, plane = Fake(), Embeddings(), slice_plane(volume, 0, 3)
    first = store.of(model, volume, plane, WINDOW)
    assert store.of(model, volume, slice_plane(volume, 0, 3), WINDOW) is first
    assert len(model.encoded) == 1
    assert (store.usage.hits, store.usage.misses, store.usage.bytes, store.usage.hit_rate) == (1, 1, SIZE, 0.5)


def test_another_plane_window_model_or_voxel_is_another_embedding(volume):
    model, store, plane = Fake(), Embeddings(), slice_plane(volume, 0, 3)
    store.of(model, volume, plane, WINDOW)
    changed = volume.voxels.copy()
    changed[11, 5, 6] += 1
    shifted = plane.pixel_to_ras.copy()
    shifted[0, 3] += 0.01
    for other in (
        (model, volume, slice_plane(volume, 0, 4), WINDOW),
        (model, volume, Plane(shifted, plane.shape), WINDOW),
        (model, volume, Plane(plane.pixel_to_ras, (6, 6)), WINDOW),
        (model, volume, plane, Window(101, 50)),
        (Fake("other"), volume, plane, WINDOW),
        (model, volume.with_voxels(changed), plane, WINDOW),
    ):
        assert not store.has(*other)


def test_the_same_voxels_opened_again_or_moved_by_a_transform_are_found(volume):
    model, store = Fake(), Embeddings()
    store.of(model, volume, slice_plane(volume, 0, 3), WINDOW)
    turned = np.array([[0, -1, 0, 5], [1, 0, 0, -7], [0, 0, 1, 11], [0, 0, 0, 1.0]])
    moved = Volume(volume.voxels.copy(), turned @ volume.ijk_to_ras)
    assert store.has(model, moved, slice_plane(moved, 0, 3), WINDOW)


def test_a_changed_window_drops_only_what_depends_on_it(volume):
    model, free, store, plane = Fake(), Windowless("free"), Embeddings(), slice_plane(volume, 0, 3)
    store.of(model, volume, plane, WINDOW)
    store.of(free, volume, plane, WINDOW)
    other = Window(300, 0)
    store.look_through(other)
    assert store.usage.bytes == SIZE
    assert not store.has(model, volume, plane, WINDOW)
    store.of(free, volume, plane, other)
    assert len(free.encoded) == 1


def test_prefetching_does_one_slice_a_step_and_can_be_dropped(volume):
    model, store = Fake(), Embeddings()
    planes = [slice_plane(volume, 0, n) for n in around(5, 12, 3)]
    steps = store.prefetch(model, volume, planes, WINDOW)
    assert model.encoded == []
    next(steps)
    next(steps)
    steps.close()
    assert len(model.encoded) == 2
    assert store.has(model, volume, slice_plane(volume, 0, 6), WINDOW)
    assert store.has(model, volume, slice_plane(volume, 0, 4), WINDOW)
    store.of(model, volume, slice_plane(volume, 0, 4), WINDOW)
    assert (store.usage.hits, store.usage.misses, store.usage.prefetched) == (1, 0, 2)


def test_prefetching_ends_before_it_throws_out_the_slice_in_use_or_its_own(volume):
    model, store = Fake(), Embeddings(most_bytes=4 * SIZE)
    for n in (0, 1, 2):
        store.of(model, volume, slice_plane(volume, 0, n), WINDOW)
    store.of(model, volume, slice_plane(volume, 0, 6), WINDOW)
    list(store.prefetch(model, volume, [slice_plane(volume, 0, n) for n in around(6, 12, 5)], WINDOW))
    kept = [n for n in range(12) if store.has(model, volume, slice_plane(volume, 0, n), WINDOW)]
    assert kept == [5, 6, 7, 8]


def test_a_cancelled_encoding_leaves_the_store_as_it_was(volume):
    model, store = Fake(), Embeddings()

    def cancel(stage: str, part: float) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        store.of(model, volume, slice_plane(volume, 0, 3), WINDOW, cancel)
    assert (store.usage.kept, store.usage.bytes) == (0, 0)


def test_nothing_is_written_unless_a_folder_is_given_and_then_it_is_found_by_the_next_process(volume, tmp_path):
    plane = slice_plane(volume, 1, 2)
    Embeddings().of(Fake(), volume, plane, WINDOW)
    assert list(tmp_path.iterdir()) == []
    first = Embeddings(folder=tmp_path / "kept").of(Fake(), volume, plane, WINDOW)
    model, again = Fake(), Embeddings(folder=tmp_path / "kept")
    assert np.array_equal(again.of(model, volume, plane, WINDOW), first)
    assert model.encoded == []
    assert (again.usage.hits, again.usage.from_disk) == (1, 1)


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 no archive", None])
def test_a_damaged_file_is_made_again(volume, tmp_path, damage):
    plane = slice_plane(volume, 1, 2)
    Embeddings(folder=tmp_path).of(Fake(), volume, plane, WINDOW)
    [file] = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-40] if damage is None else damage)
    model = Fake()
    Embeddings(folder=tmp_path).of(model, volume, plane, WINDOW)
    assert len(model.encoded) == 1
    with np.load(file, allow_pickle=False) as arrays:
        assert np.array_equal(arrays["picture"], model.encoded[0])


def test_a_file_with_a_pickle_is_not_opened(volume, tmp_path):
    plane = slice_plane(volume, 1, 2)
    Embeddings(folder=tmp_path).of(Fake(), volume, plane, WINDOW)
    [file] = tmp_path.iterdir()
    np.savez(file, picture=np.array([{"a": 1}], dtype=object))
    model = Fake()
    Embeddings(folder=tmp_path).of(model, volume, plane, WINDOW)
    assert len(model.encoded) == 1


def test_the_folder_is_bounded_and_other_files_in_it_are_left_alone(volume, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    store = Embeddings(folder=tmp_path, most_on_disk=1500)
    for n in range(8):
        store.of(Fake(), volume, slice_plane(volume, 0, n), WINDOW)
    files = list(tmp_path.glob("*.npz"))
    assert 0 < len(files) < 8
    assert sum(file.stat().st_size for file in files) <= 1500
    assert (tmp_path / "notes.txt").read_text() == "mine"


@given(index=st.integers(0, 30), count=st.integers(1, 31), reach=st.integers(0, 12))
def test_the_nearest_slices_come_first_and_each_once(index, count, reach):
    index = min(index, count - 1)
    order = list(around(index, count, reach))
    steps = [abs(n - index) for n in order]
    assert steps == sorted(steps)
    assert sorted(order) == [n for n in range(count) if 0 < abs(n - index) <= reach]


class BoundedMachine(RuleBasedStateMachine):
    """Against a plain list of what was used when."""

    def __init__(self) -> None:
        super().__init__()
        self.store: Bounded[int, str] = Bounded(100)
        self.used: list[tuple[int, str, int]] = []  # oldest first

    @rule(key=st.integers(0, 9), size=st.integers(0, 130))
    def put(self, key: int, size: int) -> None:
        value = f"{key} of {size}"
        self.store.put(key, value, size)
        self.used = [entry for entry in self.used if entry[0] != key]
        if size <= 100:
            self.used.append((key, value, size))
            while sum(entry[2] for entry in self.used) > 100:
                self.used.pop(0)

    @rule(key=st.integers(0, 9))
    def get(self, key: int) -> None:
        known = next((entry for entry in self.used if entry[0] == key), None)
        assert self.store.get(key) == (known and known[1])
        if known:
            self.used.remove(known)
            self.used.append(known)

    @rule(least=st.integers(0, 9))
    def drop(self, least: int) -> None:
        self.store.drop(lambda key: key >= least)
        self.used = [entry for entry in self.used if entry[0] < least]

    @invariant()
    def bytes_are_counted_and_bounded(self) -> None:
        assert self.store.bytes == sum(size for _, _, size in self.used) <= 100
        assert len(self.store) == len(self.used)


BoundedMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestBounded = BoundedMachine.TestCase


def test_memory_stays_under_the_bound_over_many_prompts_on_many_slices():
    volume = Volume(np.random.default_rng(1).integers(0, 9, (100, 4, 5)).astype(np.int16))
    model, store = Fake(), Embeddings(most_bytes=10 * SIZE + 1)
    rng = np.random.default_rng(2)
    most = 0
    for _ in range(500):
        store.of(model, volume, slice_plane(volume, 0, int(rng.integers(100))), WINDOW)
        most = max(most, store.usage.bytes)
    assert most == 10 * SIZE
    assert dataclasses.asdict(store.usage)["kept"] == 10
