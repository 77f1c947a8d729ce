"""Names of labels, from whichever file a folder has."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from SSLSegmentationLib.errors import InputError
from trainer.data.names import named_labels, unnamed_labels

WRITTEN = {
    "dataset.json": json.dumps({"labels": {"background": 0, "left horn": 1, "Spleen": 2}}),
    "labels.json": '{"1": "left horn", "2": "Spleen"}',
    "colours.ctbl": "# Color table\n0 background 0 0 0 0\n1 left_horn 255 0 0 255\n2 Spleen 157 108 162 255\n",
}


@pytest.mark.parametrize("file", WRITTEN)
def test_every_form_names_the_same_labels(tmp_path: Path, file: str) -> None:
    (tmp_path / file).write_text(WRITTEN[file])
    assert [(label.value, label.name) for label in named_labels(tmp_path)] == [(1, "left horn"), (2, "Spleen")]


def test_names_and_values_may_be_the_other_way_round(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"0": "background", "1": "tumour"}}))
    assert [(label.value, label.name) for label in named_labels(tmp_path)] == [(1, "tumour")]


def test_an_organ_that_is_known_gets_its_colour_and_terminology(tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text(WRITTEN["labels.json"])
    horn, spleen = named_labels(tmp_path)
    assert "Spleen" in spleen.terminology
    assert spleen.color == pytest.approx((157 / 255, 108 / 255, 162 / 255))
    assert horn.terminology == ""


def test_a_folder_without_names_has_none(tmp_path: Path) -> None:
    assert named_labels(tmp_path) is None
    assert [(label.value, label.name) for label in unnamed_labels({4, 2})] == [(2, "label 2"), (4, "label 4")]


@pytest.mark.parametrize(
    "text",
    [
        *("[1]", "{", '{"a": 1, "b": 1}', '{"a": 300}', '{"a": 1.5}', '{"a": [1, 2]}', '{"a": true}', '{"": 1}'),
        *('{"a": 1, "ignore": 2}', '{"a": -1}', '{"labels": [{"name": "a"}]}', '{"background": 0}'),
    ],
)
def test_labels_that_cannot_be_meant_are_refused_with_their_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "labels.json").write_text(text)
    with pytest.raises(InputError, match=r"labels\.json"):
        named_labels(tmp_path)


def test_a_broken_line_of_a_colour_table_is_shown(tmp_path: Path) -> None:
    (tmp_path / "a.ctbl").write_text("one liver 1 2 3\n")
    with pytest.raises(InputError, match="one liver 1 2 3"):
        named_labels(tmp_path)
