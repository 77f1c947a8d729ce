"""The model card tells a person what the package is, and leaves to programs what only they read."""

from __future__ import annotations

from typing import Any

from SSLSegmentationLib.models.card import card
from Testing.models.packages import small_package

DICE = {"value": 0.48, "low": 0.4194, "high": 0.5, "cases": 3}
FAR = {"value": 27.84, "low": 12.0, "high": 45.25, "cases": 3}


def told(**changes: Any) -> list[str]:
    return card(small_package(**changes)).splitlines()


def test_scores_of_labels_are_a_table_with_their_mean() -> None:
    found = {"liver": {"dice": DICE, "hd95_mm": FAR}, "spleen": {"dice": {"value": None}}}
    scores = {"judged": "test", "cases": 3, "scores": {"all": {"dice": DICE, "hd95_mm": FAR}, "labels": found}}
    lines = told(scores=scores)
    assert "- judged: test" in lines
    assert "|  | Dice | 95 % | 95HD mm | 95 % |" in lines
    assert "| liver | 0.480 | 0.419 – 0.500 | 27.8 | 12.0 – 45.2 |" in lines
    assert "| spleen | – | – | – | – |" in lines
    assert "| mean | 0.480 | 0.419 – 0.500 | 27.8 | 12.0 – 45.2 |" in lines


def test_scores_of_what_answers_prompts_are_a_table_of_measures() -> None:
    lines = told(scores={"judged": "test", "scores": {"all": {"1 click": DICE}, "cases": {"a": {"1 click": 0.4}}}})
    assert "| 1 click | 0.480 | 0.419 – 0.500 |" in lines
    assert not any("| a |" in line for line in lines)


def test_several_trainings_have_a_table_each() -> None:
    one = {"judged": "validation", "scores": {"all": {"dice": DICE}, "labels": {}}}
    lines = told(scores={"1: first": one, "2: second": one})
    assert [line for line in lines if line.startswith("###")] == ["### 1: first", "### 2: second"]
    assert lines.count("| mean | 0.480 | 0.419 – 0.500 |") == 2


def test_settings_are_left_to_the_metadata_and_words_are_not() -> None:
    training = {"data": "ten scans", "seeds": [0, 1], "licences": [], "recipe": {"lr": 0.001}, "part": 0.123456}
    lines = told(training=training)
    assert {"- data: ten scans", "- seeds: 0, 1", "- part: 0.123"} <= set(lines)
    assert not any("recipe" in line or "lr" in line or "licences" in line for line in lines)
    assert lines[-1] == "The plan and all settings are in `configs/metadata.json`."


def test_a_label_with_a_bar_in_its_name_does_not_break_the_table() -> None:
    from SSLSegmentationLib.labels import Label

    assert "| 1 | left/right |" in told(labels=(Label(1, "left|right"),))
