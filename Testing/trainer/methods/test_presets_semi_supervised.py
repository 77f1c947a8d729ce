"""The presets of semi-supervised methods hold the numbers that were published, and train."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from SSLSegmentationLib.errors import InputError
from Testing.trainer.methods.tiny import FIRST, SECOND, tiny_batch, tiny_plan
from trainer.methods import method_class
from trainer.presets import load, presets_of

PUBLISHED = [
    ("mean_teacher", "paper"),
    ("ua_mt", "paper"),
    ("cross_pseudo", "paper"),
    ("ssl_contrastive", "paper"),
    ("ssl_contrastive", "released"),
    ("dual_networks", "paper"),
    ("dual_networks", "released"),
]
PRESETS = [*PUBLISHED, ("cross_pseudo", "apart")]


def test_every_preset_file_of_these_methods_is_tested_here():
    methods = {method for method, _ in PRESETS}
    assert {(method, preset) for method in methods for preset in presets_of(method) if preset != "default"} == {
        *PRESETS
    }


@pytest.mark.parametrize(("method", "preset"), PUBLISHED)
def test_optimiser_length_and_streams_are_the_published_ones(method, preset):
    settings, training = load(method, preset)
    optimiser = settings.optimiser
    assert training.steps == 6000
    assert (optimiser.name, optimiser.lr, optimiser.momentum, optimiser.weight_decay) == ("sgd", 0.01, 0.9, 1e-4)
    assert (settings.streams.labelled, settings.streams.unlabelled) == (2, 2)
    assert settings.streams.foreground == 0, "patches are cut anywhere"
    if method != "cross_pseudo":
        rates = [optimiser.lr * optimiser.schedule(step, 6000) for step in (0, 2499, 2500, 5000)]
        assert rates == pytest.approx([0.01, 0.01, 0.001, 0.0001])


@pytest.mark.parametrize(("method", "preset"), PRESETS)
def test_a_preset_makes_finite_losses_with_small_networks(method, preset):
    settings, training = load(method, preset)
    smaller = {"first": FIRST, "second": SECOND} if hasattr(settings, "first") else {"network": FIRST}
    torch.manual_seed(0)
    made = method_class(method)(tiny_plan(2), dataclasses.replace(settings, **smaller), training.steps, 0)
    for step in (0, 6000):
        loss, terms = made.loss(tiny_batch(2), step)
        assert torch.isfinite(loss)
        assert all(torch.isfinite(term) for term in terms.values())


def test_networks_that_are_apart_learn_nothing_from_each_other():
    apart, together = load("cross_pseudo", "apart")[0], load("cross_pseudo")[0]
    assert dataclasses.replace(apart, cross=together.cross) == together
    made = method_class("cross_pseudo")(tiny_plan(2), dataclasses.replace(apart, first=FIRST, second=SECOND), 100, 0)
    weights = made.weights(99)
    assert weights["cross_a"] == weights["cross_b"] == 0
    assert weights["dice_a"] == weights["dice_b"] == 1


@pytest.mark.parametrize(
    "method", ["mean_teacher", "ua_mt", "cross_pseudo", "ssl_contrastive", "dual_networks", "dual_ssl"]
)
def test_without_a_preset_the_optimiser_is_that_of_supervised_training(method):
    assert load(method)[0].optimiser == load("supervised")[0].optimiser


def test_the_released_kind_of_pseudo_labels_is_refused_for_several_classes_with_the_remedy():
    settings, training = load("ssl_contrastive", "released")
    with pytest.raises(InputError, match="--set pseudo=winner"):
        method_class("ssl_contrastive")(tiny_plan(3), settings, training.steps, 0)
