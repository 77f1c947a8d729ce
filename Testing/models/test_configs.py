"""Configuration files as data: nothing in them runs, and nothing outside the folder is read."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.models.configs import Config, find_config, inside, read_data

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("abc ", max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("xyz", min_size=1), inner, max_size=3),
    max_leaves=12,
)


def config_of(folder, data, name="configs/inference.json"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return Config(folder, name)


@settings(deadline=None, max_examples=40)
@given(value=PLAIN)
def test_plain_values_come_back_as_written_also_through_references(tmp_path_factory, value):
    config = config_of(tmp_path_factory.mktemp("p"), {"a": {"b": [value]}, "c": "@a#b#0", "d": ["@c", "%a::b"]})
    assert config.get("c") == value
    assert config.get("d") == [value, [value]]


EXPRESSION = "$__import__('pathlib').Path('ran').touch()"


@pytest.mark.parametrize(
    "data",
    [
        {"x": EXPRESSION},
        {"x": {"y": [1, EXPRESSION]}},
        {"x": "@hidden", "hidden": EXPRESSION},
        {"x": "%hidden", "hidden": [EXPRESSION]},
        {"x": "%configs/other.json::hidden"},
    ],
)
def test_an_expression_that_is_needed_is_shown_and_never_run(tmp_path, monkeypatch, data):
    monkeypatch.chdir(tmp_path)
    config = config_of(tmp_path / "p", data)
    (tmp_path / "p/configs/other.json").write_text(json.dumps({"hidden": EXPRESSION}))
    with pytest.raises(InputError, match=r"__import__.*code in packages is never run"):
        config.get("x")
    assert not (tmp_path / "ran").exists()


def test_an_expression_that_nobody_asks_for_does_no_harm(tmp_path):
    assert config_of(tmp_path, {"x": 1, "y": EXPRESSION}).get("x") == 1


def test_a_macro_reads_from_another_file_of_the_package_only(tmp_path):
    config = config_of(tmp_path / "p", {"x": "%configs/common.json::a#b", "y": "%../outside.json::a"})
    config_of(tmp_path / "p", {"a": {"b": [1, 2]}}, "configs/common.json")
    (tmp_path / "outside.json").write_text('{"a": 1}')
    assert config.get("x") == [1, 2]
    with pytest.raises(InputError, match="not in the package"):
        config.get("y")


@pytest.mark.parametrize(
    "data",
    [
        {"x": "@x"},
        {"x": "@y", "y": {"z": "@x"}},
        {"x": "%configs/inference.json::x"},
        {"x": ["@a"] * 50, "a": ["@b"] * 50, "b": ["@c"] * 50, "c": ["@d"] * 50, "d": 1},
    ],
)
def test_references_that_never_end_or_multiply_are_stopped(tmp_path, data):
    with pytest.raises(InputError, match="refers to itself or to too many"):
        config_of(tmp_path, data).get("x")


def test_a_missing_key_and_a_relative_reference_are_named(tmp_path):
    config = config_of(tmp_path, {"x": {"y": 1}, "r": "@#y", "gone": "@nowhere"})
    for key, words in (("x#z", '"x#z" is missing'), ("x#y#z", "missing"), ("r", "@#y"), ("gone", '"nowhere" is')):
        with pytest.raises(InputError, match=words):
            config.get(key)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("c.json", "{"),
        ("c.json", ""),
        ("c.json", "[1, 2]"),
        ("c.json", '{"a": NaN}'),
        ("c.json", '{"a": ' + "[" * 5000 + "]" * 5000 + "}"),
        ("c.json", '{"a": ' + "[" * 80 + "]" * 80 + "}"),
        ("c.json", b'{"a": "\xff\xfe"}'),
        ("c.yaml", "a: [1"),
        ("c.yaml", "a: !!python/object/apply:os.system ['touch ran']"),
        ("c.yaml", "a: &a [*a]"),
        ("c.yaml", "just text"),
    ],
)
def test_a_file_that_is_no_table_of_plain_values_is_refused_with_its_name(tmp_path, monkeypatch, name, content):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match="the file"):
        read_data(tmp_path / name, "the file")
    assert not (tmp_path / "ran").exists()


def test_a_file_too_large_for_a_configuration_is_not_read(tmp_path):
    with (tmp_path / "c.json").open("wb") as file:
        file.truncate(2**24)
    with pytest.raises(InputError, match="larger than 8 MB"):
        read_data(tmp_path / "c.json", "the file")


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "/etc/passwd", "C:/x", "C:x", "a\\..\\..\\x", "\\\\host\\share\\x", "", ".", "a\0b"]
)
def test_a_name_that_climbs_out_of_the_package_is_refused(tmp_path, name):
    with pytest.raises(InputError, match="here names"):
        inside(tmp_path, name, "here")


def test_links_may_stay_inside_but_not_lead_outside(tmp_path):
    folder = tmp_path / "p"
    (folder / "models").mkdir(parents=True)
    (tmp_path / "secret.pt").touch()
    (folder / "models/real.pt").touch()
    try:
        (folder / "models/good.pt").symlink_to("real.pt")
        (folder / "models/bad.pt").symlink_to(tmp_path / "secret.pt")
        (folder / "elsewhere").symlink_to(tmp_path)
    except OSError:
        pytest.skip("this system does not let us make links")
    assert inside(folder, "models/good.pt", "here").name == "good.pt"
    for name in ("models/bad.pt", "elsewhere/secret.pt"):
        with pytest.raises(InputError, match="a link out of the package"):
            inside(folder, name, "here")


def test_a_folder_without_configurations_is_no_package(tmp_path):
    with pytest.raises(InputError, match=r"has no configs/inference.json"):
        find_config(tmp_path, "inference")
