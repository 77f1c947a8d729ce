"""Whatever stands in the files of a package, reading it ends with a package or with one sentence."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.models.networks import build, check_network, outline
from SSLSegmentationLib.models.read import read_package
from SSLSegmentationLib.models.write import write_package
from Testing.models.packages import HU_WINDOW, SMALL_UNET, image_transforms, small_package, state_of, write_bundle

STEPS = (
    {"_target_": "Spacingd", "pixdim": [1, 1, 2], "mode": "bilinear"},
    HU_WINDOW,
    {"_target_": "CropForegroundd", "source_key": "image"},
)
POST = [{"_target_": "KeepLargestConnectedComponentd", "keys": "pred", "applied_labels": [1]}]

ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**6), 10**6)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "@image_key", "@", "$1", "%x", "..", "RAS", "UNet", "true", "@inferer", "@@", "a#b", "@#x"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["_target_", "a", "0"]), inner),
    max_leaves=6,
)


def places(value, path=()):
    """The path of every value in nested lists and tables."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def changed(data, path, value):
    data = copy.deepcopy(data)
    target = data
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    return data


def refusal(call):
    """What is said to the user; empty if it went well. Any other error goes on and fails the test."""
    try:
        call()
    except InputError as error:
        return str(error)
    return ""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("hostile")
    write_bundle(root / "zoo", transforms=image_transforms(*STEPS), post=POST)
    write_package(root / "own", small_package(), [state_of(SMALL_UNET)], "MIT License\n")
    return root


@pytest.mark.parametrize(
    "file", ["zoo/configs/metadata.json", "zoo/configs/inference.json", "own/configs/metadata.json"]
)
@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_any_value_anywhere_is_read_or_refused_in_one_sentence(folders, file, data):
    path = folders / file
    before = path.read_text()
    plain = json.loads(before)
    place = data.draw(st.sampled_from([p for p in places(plain) if p]))
    path.write_text(json.dumps(changed(plain, place, data.draw(ANYTHING))))
    try:
        message = refusal(lambda: read_package(path.parent.parent))
    finally:
        path.write_text(before)
    assert "\n" not in message
    assert not message or path.parent.parent.name in message


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_any_argument_of_a_network_is_built_or_refused_in_one_sentence(data):
    full = SMALL_UNET | {"kernel_size": 3, "num_res_units": 1, "act": ["relu", {"inplace": True}], "norm": "batch"}
    place = data.draw(st.sampled_from([p for p in places(full) if p]))
    value = data.draw(ANYTHING)

    def make():
        definition = check_network(changed(full, place, value), "test")
        outline(definition, "test", 10**6)
        build(definition, "test")

    assert "\n" not in refusal(make)
