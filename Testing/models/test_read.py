"""Our own keys: each is checked, and what is wrong is named with its file and key."""

from __future__ import annotations

import json

import pytest

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.models.read import read_package
from SSLSegmentationLib.models.write import write_package
from Testing.models.packages import SMALL_UNET, small_package, state_of


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packages") / "two-organs"
    write_package(folder, small_package(), [state_of(SMALL_UNET)], "MIT License\n")
    return folder, json.loads((folder / "configs/metadata.json").read_text())


@pytest.fixture
def read_with(written):
    """Read the package with some of our keys changed; None removes one."""
    folder, metadata = written
    path = folder / "configs/metadata.json"

    def read(top=None, **keys):
        changed = {k: v for k, v in (metadata["sslsegmentation"] | keys).items() if v is not None}
        path.write_text(json.dumps(metadata | {"sslsegmentation": changed} | (top or {})))
        return read_package(folder)

    yield read
    path.write_text(json.dumps(metadata))


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"format": 2}, "is of format 2, but this program knows formats up to 1: install a newer version"),
        ({"format": "1"}, 'sslsegmentation.format" is'),
        ({"format": True}, 'sslsegmentation.format" is'),
        ({"format": None}, 'sslsegmentation.format" is None'),
        ({"spacing": [1, 1, 1]}, "has no key 'spacing'"),
        ({"sliding": {"overlap": 0.5}}, 'lacks "patch"'),
        ({"sliding": {"patch": [8, 8]}}, 'sliding"\\.patch is .* a list of 3'),
        ({"sliding": {"patch": [8, 8, 8.5]}}, "item 2, is 8.5: it has to be a whole number"),
        ({"sliding": {"patch": [8, 8, 8], "overlap": "half"}}, 'sliding"\\.overlap is .half.: it has to be a number'),
        ({"sliding": {"patch": [8, 8, 8], "weighting": "round"}}, "one of gaussian, constant"),
        ({"preprocessing": []}, "it has to be a table"),
        ({"preprocessing": {"antialias": 1}}, "true or false"),
        ({"preprocessing": {"intensity": {"kind": "log"}}}, "one of window, percentile, zscore, none"),
        ({"preprocessing": {"intensity": {"kind": "none", "gamma": 2}}}, "no key 'gamma'"),
        ({"labels": [{"value": 1, "name": 3}]}, r"item 0,\.name is 3: it has to be a text"),
        ({"labels": []}, "one label for each output channel"),
        ({"labels": "liver"}, "has to be a list"),
        ({"training": [1]}, "it has to be a table"),
        ({"members": ["../../secret.pt"]}, "not in the package"),
        ({"members": ["/etc/passwd"]}, "not in the package"),
        ({"members": ["models/model.ts"]}, "have to be .safetensors"),
        ({"members": []}, "at least one weights file"),
        ({"id": 7}, 'id" is 7: it has to be a text'),
        ({"activation": "relu"}, "one of softmax, sigmoid"),
        ({"top": {"name": 5}}, '"name" is 5'),
        ({"top": {"sslsegmentation": 5}}, '"sslsegmentation" is 5'),
        ({"top": {"network_data_format": {}}}, "network_data_format.inputs.image"),
    ],
)
def test_a_wrong_key_is_refused_with_the_file_and_the_key(read_with, keys, words):
    with pytest.raises(InputError, match=words) as caught:
        read_with(**keys)
    assert str(caught.value).startswith("two-organs/configs/metadata.json")


def test_optional_keys_have_defaults(read_with):
    package = read_with(
        uncertainty=None, keep_largest=None, keep_surest=None, training=None, scores=None, activation=None, id=None
    )
    assert (package.uncertainty.source, package.keep_largest, package.keep_surest, package.id) == (
        "entropy",
        (),
        (),
        "two-organs",
    )
    assert package.activation == "softmax"


def test_the_licence_is_read_from_its_text_where_nobody_names_it(read_with):
    assert read_with(licence=None).licence == "MIT"


def test_keys_that_nobody_gives_are_missed_in_the_configuration(read_with):
    with pytest.raises(InputError, match=r'inference\.json: "preprocessing" is missing'):
        read_with(preprocessing=None)


def test_a_network_that_does_not_say_its_outputs_is_refused(written):
    folder, _ = written
    path = folder / "configs/inference.json"
    before = path.read_text()
    path.write_text(json.dumps({"network_def": {k: v for k, v in SMALL_UNET.items() if k != "out_channels"}}))
    with pytest.raises(InputError, match='does not say its "out_channels"'):
        read_package(folder)
    path.write_text(before)


def test_a_folder_that_is_no_package_is_refused(tmp_path):
    with pytest.raises(InputError, match="is not a folder"):
        read_package(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"metadata\.json cannot be read"):
        read_package(tmp_path)


def test_a_package_read_through_a_link_is_the_same(written, tmp_path):
    folder, _ = written
    link = tmp_path / "link"
    try:
        link.symlink_to(folder)
    except OSError:
        pytest.skip("this system does not let us make links")
    assert read_package(link).id == "two-organs"


def test_metadata_that_are_a_link_out_of_the_package_are_not_read(written, tmp_path):
    (tmp_path / "p/configs").mkdir(parents=True)
    try:
        (tmp_path / "p/configs/metadata.json").symlink_to(written[0] / "configs/metadata.json")
    except OSError:
        pytest.skip("this system does not let us make links")
    with pytest.raises(InputError, match="a link out of the package"):
        read_package(tmp_path / "p")


def test_reading_needs_no_torch(written):
    import subprocess
    import sys

    code = (
        "import sys, pathlib; from SSLSegmentationLib.models.read import read_package; "
        "read_package(pathlib.Path(sys.argv[1])); "
        "print(sorted({'torch', 'monai', 'safetensors', 'yaml'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(written[0])], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
