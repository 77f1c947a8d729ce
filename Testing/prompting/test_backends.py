"""Finding and loading promptable models, and what is said when that cannot be."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.models import store
from SSLSegmentationLib.models.catalogue import Licence
from SSLSegmentationLib.prompting import backends
from SSLSegmentationLib.prompting.backends import Kind, Weights, load_backend, locate, unload
from SSLSegmentationLib.prompting.protocol import Answer


class Threshold:
    """A model of a new kind: inside is what is brighter than its weight says."""

    sees_window = True

    def __init__(self, level: float) -> None:
        self.key, self.level = f"threshold at {level}", level

    def encode(self, picture, tick=lambda stage, part: None):
        return picture

    def decode(self, embedding, prompts, tick=lambda stage, part: None):
        return [Answer(embedding.astype(np.float32) - self.level, 1.0) for _ in prompts]

    def bytes_of(self, embedding) -> int:
        return embedding.nbytes


@pytest.fixture(autouse=True)
def nothing_kept():
    unload()
    yield
    unload()


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A store with one model of a new kind."""
    monkeypatch.setenv(store.VARIABLE, str(tmp_path))
    folder = tmp_path / "bright"
    folder.mkdir()
    torch.save({"level": torch.tensor(100.0)}, folder / "bright.pt")
    stored = store.StoredFile("bright.pt", (folder / "bright.pt").stat().st_size, store.hash_file(folder / "bright.pt"))
    record = store.Record(
        store.FORMAT, "bright", "Bright", "sam", Licence("Apache-2.0"), (stored,), store.now(), config="vit_b",
        image_size=64,
    )  # fmt: skip
    (folder / store.RECORD).write_text(json.dumps(dataclasses.asdict(record)))
    loads: list[Weights] = []

    def load(weights: Weights, device: str) -> Threshold:
        loads.append(weights)
        return Threshold(float(torch.load(weights.path, weights_only=True)["level"]))

    monkeypatch.setitem(backends.LOADERS, "sam", Kind("numpy", load))
    return loads


def test_a_model_is_chosen_by_its_kind_and_told_what_the_store_knows(installed):
    model = load_backend("bright", "cpu")
    assert model.key == "threshold at 100.0"
    [weights] = installed
    assert (weights.name, weights.kind, weights.config, weights.image_size) == ("bright", "sam", "vit_b", 64)


def test_the_model_loaded_last_stays_loaded_until_its_file_changes(installed):
    first = load_backend("bright", "cpu")
    assert load_backend("bright", "cpu") is first
    path = locate("bright").path
    (path.parent / "new").mkdir()
    torch.save({"level": torch.tensor(120.0)}, path.parent / "new" / path.name)
    (path.parent / "new" / path.name).replace(path)
    assert load_backend("bright", "cpu").key == "threshold at 120.0"
    assert len(installed) == 2


def test_a_model_that_is_not_there_is_named_with_the_remedy():
    with pytest.raises(InputError, match=r'sam-vit-b is not installed: get it with "sslseg models get sam-vit-b"'):
        load_backend("sam-vit-b", "cpu")
    with pytest.raises(InputError, match='There is no model "nosuch"'):
        load_backend("nosuch", "cpu")


def test_a_missing_extra_is_named_with_the_command_that_installs_it(installed, monkeypatch):
    monkeypatch.setitem(backends.LOADERS, "sam", Kind("no_such_package_here", lambda *_: None))
    with pytest.raises(InputError, match=r'pip install "\.\[prompting\]"'):
        load_backend("bright", "cpu")


def test_too_little_memory_is_said_before_and_after_trying(installed, monkeypatch):
    monkeypatch.setattr("SSLSegmentationLib.inference.memory.free_bytes", lambda device: 10)
    with pytest.raises(InputError, match=r"bright does not fit into memory \(.* GB needed, 0.0 GB free\)"):
        load_backend("bright", "cpu")
    monkeypatch.undo()

    def burst(weights, device):
        raise RuntimeError("[enforce fail] can't allocate memory: you tried to allocate 9 bytes")

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(backends.LOADERS, "sam", Kind("numpy", burst))
        with pytest.raises(InputError, match="bright does not fit into memory: close"):
            backends._load(Weights(backends.Path(__file__), "bright", "sam"), "cpu")


def test_another_error_of_a_loader_is_not_taken_for_lack_of_memory(installed, monkeypatch):
    def fail(weights, device):
        raise RuntimeError("a defect")

    monkeypatch.setitem(backends.LOADERS, "sam", Kind("numpy", fail))
    with pytest.raises(RuntimeError, match="a defect"):
        load_backend("bright", "cpu")


@pytest.mark.parametrize(
    ("name", "kind"),
    [("image_encoder.trunk.patch_embed.proj.weight", "sam2"), ("image_encoder.patch_embed.proj.weight", "sam")],
)
def test_the_kind_of_a_file_is_told_by_its_weights(tmp_path, name, kind):
    path = tmp_path / "mine.pth"
    torch.save({"model": {name: torch.zeros(1)}}, path)
    assert locate(path) == Weights(path, "mine.pth", kind)


def test_files_of_another_make_are_refused_by_name(tmp_path):
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"x")
    with pytest.raises(InputError, match=r"picture\.png is no weights file"):
        load_backend(picture, "cpu")
    other = tmp_path / "other.pt"
    torch.save({"conv.weight": torch.zeros(2)}, other)
    with pytest.raises(InputError, match=r"other\.pt holds no SAM or SAM 2"):
        load_backend(other, "cpu")


def test_a_package_that_takes_no_prompts_is_refused(tmp_path, monkeypatch):
    model = store.Installed(tmp_path, store._blank("organs"))
    monkeypatch.setattr(backends, "find", lambda name: model)
    with pytest.raises(InputError, match="organs takes no prompts"):
        load_backend("organs", "cpu")
