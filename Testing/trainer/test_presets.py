"""Presets and the changes to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from SSLSegmentationLib.errors import InputError
from trainer.methods import METHODS
from trainer.presets import load, presets_of


def test_without_anything_the_defaults_hold() -> None:
    settings, training = load("supervised")
    assert (training.steps, settings.optimiser.name, settings.dice) == (6000, "muon", 1.0)


@pytest.mark.parametrize(
    ("method", "preset"), [(method, preset) for method in METHODS for preset in presets_of(method)]
)
def test_every_preset_that_comes_with_a_method_can_be_read(method: str, preset: str) -> None:
    settings, training = load(method, preset)
    assert settings.optimiser.lr > 0
    assert training.steps >= 1


def test_changes_reach_what_lies_inside(tmp_path: Path) -> None:
    given = ["optimiser.schedule.kind=poly", "optimiser.lr=1e-4", "steps=12", "training.seed=7", "settings.dice=2"]
    settings, training = load("supervised", "default", given)
    assert (settings.optimiser.schedule.kind, settings.optimiser.lr, settings.dice) == ("poly", 1e-4, 2.0)
    assert settings.optimiser.weight_decay == 1e-3, "what is not named keeps the preset's value"
    assert (training.steps, training.seed) == (12, 7)


def test_a_preset_of_the_user_is_read_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("method: supervised\nsettings: {optimiser: {lr: 2e-3, name: sgd}}\ntraining: {steps: 5}\n")
    settings, training = load("supervised", str(file))
    assert (settings.optimiser.name, settings.optimiser.lr, training.steps) == ("sgd", 2e-3, 5)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("rate=1", "changes nothing that supervised knows.*optimiser"),
        ("steps", "changes nothing"),
        ("steps=many", "training.steps is 'many'.*whole number"),
        ("steps=0", "training.steps is 0.*1 or more"),
        ("average=1", "training.average"),
        ("start_share=1", "training.start_share"),
        ("optimiser.name=lion", "one of sgd, adam, adamw, muon"),
        ("optimiser.speed=2", "no key 'speed'"),
        ("dice.weight=1", "dice"),
        ("steps=[", "cannot be read"),
    ],
)
def test_a_wrong_change_is_told_in_a_sentence(change: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        load("supervised", "default", [change])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("method: mean_teacher\n", "is a preset of mean_teacher"),
        ("stepps: 3\n", 'no key "stepps"'),
        ("training: {stepps: 3}\n", "no key 'stepps'"),
    ],
)
def test_a_wrong_preset_is_told_with_its_file(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(InputError, match=told):
        load("supervised", str(tmp_path / "mine.yaml"))


def test_a_preset_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(InputError, match=r'no preset "fast".*default, finetune, paper'):
        load("supervised", "fast")
