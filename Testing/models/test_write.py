"""Packages of our own: what is written reads back equal, and nothing half-written remains."""

from __future__ import annotations

import dataclasses
import itertools
import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.models import write
from SSLSegmentationLib.models.package import IntensityRule, Preprocessing, Sliding, UncertaintyRule
from SSLSegmentationLib.models.read import read_package
from SSLSegmentationLib.models.weights import load_network
from SSLSegmentationLib.models.write import write_package
from Testing.models.packages import SMALL_UNET, small_package, state_of

LICENCE = "Apache License\nVersion 2.0\n"
STATE = state_of(SMALL_UNET)

LINES = st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=20)
FREE = st.dictionaries(LINES, st.floats(-9, 9) | LINES | st.lists(st.integers(), max_size=3) | st.none(), max_size=3)
NUMBERS = st.floats(-1e6, 1e6)
ORIENTATIONS = ["".join(p) for letters in itertools.product("LR", "PA", "IS") for p in itertools.permutations(letters)]


@st.composite
def rules(draw, depth=2):
    kind = draw(st.sampled_from(["window", "percentile", "zscore", "none"]))
    low, high = sorted(draw(st.lists(st.floats(0, 100), min_size=2, max_size=2, unique=True)))
    out_low, out_high = sorted(draw(st.lists(NUMBERS, min_size=2, max_size=2, unique=True)))
    then = draw(st.none() | rules(depth - 1)) if depth else None
    return IntensityRule(kind, low, high, out_low, out_high, draw(st.booleans()), draw(st.booleans()), then)


@st.composite
def packages(draw):
    colors = st.tuples(*[st.floats(0, 1)] * 3)
    sizes = st.floats(0.1, 10)
    labels = [Label(value, draw(LINES), draw(colors), draw(st.text(max_size=20))) for value in (1, 2)]
    return small_package(
        id=draw(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,9}", fullmatch=True)),
        title=draw(LINES),
        version=draw(LINES),
        modality=draw(st.sampled_from(["CT", "MR", "PT", ""])),
        licence=draw(LINES),
        labels=tuple(draw(st.permutations(labels))),
        sliding=Sliding(
            draw(st.tuples(*[st.integers(1, 256)] * 3)),
            draw(st.floats(0, 0.9)),
            draw(st.sampled_from(["gaussian", "constant"])),
            draw(st.sampled_from(["zero", "edge"])),
        ),
        preprocessing=Preprocessing(
            draw(st.sampled_from(ORIENTATIONS)),
            draw(st.none() | st.tuples(sizes, sizes, sizes)),
            draw(rules()),
            draw(st.booleans()),
            draw(st.booleans()),
        ),
        uncertainty=UncertaintyRule(
            draw(st.sampled_from(["entropy", "flips", "dropout"])),
            draw(st.integers(1, 20)),
            draw(st.sampled_from([(), (0,), (0, 1, 2)])),
            draw(st.floats(0.1, 10)),
        ),
        keep_largest=draw(st.sampled_from([(), (1,), (2, 1)])),
        keep_surest=draw(st.sampled_from([(), (2,)])),
        description=draw(st.text(max_size=50)),
        training=draw(FREE),
        scores=draw(FREE),
    )


@settings(deadline=None, max_examples=40)
@given(package=packages())
def test_what_is_written_reads_back_equal(tmp_path_factory, package):
    folder = tmp_path_factory.mktemp("p") / "model"
    written = write_package(folder, package, [STATE], LICENCE)
    assert read_package(folder) == written
    place = {"folder": folder, "weights": (folder / "models/model.safetensors",)}
    assert written == dataclasses.replace(package, **place)
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_the_weights_of_every_member_come_back(tmp_path):
    states = [STATE, state_of(SMALL_UNET, seed=5)]
    package = write_package(tmp_path / "p", small_package(uncertainty=UncertaintyRule("members")), states, LICENCE)
    assert [path.name for path in package.weights] == ["member_1.safetensors", "member_2.safetensors"]
    for member, state in enumerate(states):
        found = load_network(read_package(tmp_path / "p"), member).state_dict()
        assert all(torch.equal(found[name], tensor) for name, tensor in state.items())


def test_one_object_with_a_sigmoid_reads_back_equal(tmp_path):
    network = SMALL_UNET | {"out_channels": 1}
    package = small_package(network=network, labels=(Label(1, "atrium"),), activation="sigmoid")
    written = write_package(tmp_path / "p", package, [state_of(network)], LICENCE)
    assert read_package(tmp_path / "p") == written
    assert (written.activation, written.classes) == ("sigmoid", 2)


def test_tensors_that_share_memory_and_need_gradients_are_written(tmp_path):
    state = {name: torch.nn.Parameter(tensor) for name, tensor in STATE.items() if tensor.is_floating_point()}
    big = torch.cat([torch.zeros(3), *[t.detach().reshape(-1) for t in state.values()]])
    start, views = 3, {}
    for name, tensor in state.items():
        views[name] = big[start : start + tensor.numel()].view(tensor.shape)
        start += tensor.numel()
    write_package(tmp_path / "p", small_package(), [STATE | views], LICENCE)
    found = load_network(read_package(tmp_path / "p")).state_dict()
    assert all(torch.equal(found[name], STATE[name]) for name in STATE)


def test_the_card_and_the_licence_say_what_a_person_should_know(tmp_path):
    package = small_package(training={"data": "24 cases"}, scores={"dice": {"liver": 0.95}}, description="Finds organs")
    write_package(tmp_path / "p", package, [STATE], LICENCE)
    text = (tmp_path / "p/docs/README.md").read_text()
    for words in (
        *("# Two organs", "Research use, not a medical device", "Finds organs", "1.5 × 1.5 × 2 mm"),
        *("| 2 | spleen |", "- data: 24 cases", "### dice", "- liver: 0.95", "Apache-2.0"),
    ):
        assert words in text
    assert (tmp_path / "p/LICENSE").read_text() == LICENCE


def test_the_metadata_are_those_of_a_monai_bundle(tmp_path):
    write_package(tmp_path / "p", small_package(), [STATE], LICENCE)
    metadata = json.loads((tmp_path / "p/configs/metadata.json").read_text())
    assert metadata["network_data_format"]["outputs"]["pred"]["channel_def"] == {
        "0": "background",
        "1": "liver",
        "2": "spleen",
    }
    assert metadata["network_data_format"]["inputs"]["image"]["modality"] == "CT"
    assert metadata["sslsegmentation"]["format"] == 1


def test_a_tuple_in_the_free_fields_becomes_a_list_in_what_is_given_back(tmp_path):
    written = write_package(tmp_path / "p", small_package(training={"size": (1, 2)}), [STATE], LICENCE)
    assert written.training == {"size": [1, 2]}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"labels": (Label(1, "liver"),)}, "one label for each output channel: 1, 2"),
        ({"labels": (Label(1, "a"), Label(3, "b"))}, "one label for each output channel"),
        ({"labels": (Label(1, "a\nb"), Label(2, "b"))}, "short names"),
        ({"labels": (Label(1, "a", (0, 0, 2)), Label(2, "b"))}, "colours"),
        ({"id": "../up"}, '"id"'),
        ({"keep_largest": (3,)}, "keep_largest"),
        ({"keep_surest": (3,)}, "keep_surest"),
        ({"activation": "sigmoid", "labels": (Label(1, "a"),)}, "softmax for more than one"),
        ({"sliding": Sliding((0, 1, 1))}, "sides from 1"),
        ({"sliding": Sliding((8, 8, 8), 1.0)}, "overlap"),
        ({"preprocessing": Preprocessing("RAX")}, "letters such as RAS"),
        ({"preprocessing": Preprocessing("RRS")}, "letters such as RAS"),
        ({"preprocessing": Preprocessing(spacing=(1, 0, 1))}, "millimetres"),
        ({"preprocessing": Preprocessing(intensity=IntensityRule("percentile", 1, 101))}, "percentiles"),
        ({"preprocessing": Preprocessing(intensity=IntensityRule("window", 5, 5))}, "low below high"),
        ({"uncertainty": UncertaintyRule(temperature=0)}, "temperature"),
        ({"uncertainty": UncertaintyRule(flip_axes=(3,))}, "axes 0, 1 and 2"),
        ({"uncertainty": UncertaintyRule("members")}, "two or more members"),
        ({"network": SMALL_UNET | {"_target_": "os.system"}}, "os.system"),
        ({"network": SMALL_UNET | {"channels": [2, 8]}}, "does not fit the UNet"),
        ({"scores": {"dice": float("nan")}}, "cannot hold"),
        ({"training": {"model": object()}}, "cannot hold"),
    ],
)
def test_a_package_that_cannot_be_meant_is_not_written(tmp_path, changes, words):
    with pytest.raises(InputError, match=words):
        write_package(tmp_path / "p", small_package(**changes), [STATE], LICENCE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("missing", ["weights", "licence"])
def test_weights_and_licence_are_asked_for(tmp_path, missing):
    states, licence = ([], LICENCE) if missing == "weights" else ([STATE], " ")
    with pytest.raises(InputError, match="needs weights and the text of a licence"):
        write_package(tmp_path / "p", small_package(), states, licence)


def test_an_existing_folder_is_never_written_over(tmp_path):
    write_package(tmp_path / "p", small_package(), [STATE], LICENCE)
    before = (tmp_path / "p/configs/metadata.json").read_bytes()
    with pytest.raises(InputError, match="exists already"):
        write_package(tmp_path / "p", small_package(title="Other"), [STATE], LICENCE)
    assert (tmp_path / "p/configs/metadata.json").read_bytes() == before


def test_a_failure_half_way_leaves_nothing_behind(tmp_path, monkeypatch):
    def full_disk(_package):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(write, "card", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_package(tmp_path / "p", small_package(), [STATE], LICENCE)
    assert list(tmp_path.iterdir()) == []
