"""The presets of pre-training and of dual_ssl hold what the papers and their code are known to use."""

from __future__ import annotations

import pytest

from trainer.presets import load, presets_of

METHODS = ("dual_ssl", "pixel_global", "polycl", "simclr", "models_genesis")


@pytest.mark.parametrize(("method", "preset"), [(m, preset) for m in METHODS for preset in presets_of(m)])
def test_every_preset_can_be_read(method: str, preset: str) -> None:
    _, training = load(method, preset)
    assert training.steps >= 6000


def _rates(method: str, preset: str, at: list[int]) -> list[float]:
    settings, training = load(method, preset)
    optimiser = settings.optimiser
    return [optimiser.lr * optimiser.schedule(step, training.steps) for step in at]


def test_dual_ssl_as_published() -> None:
    settings, training = load("dual_ssl", "paper")
    assert (settings.optimiser.name, settings.optimiser.lr, settings.optimiser.weight_decay) == ("adam", 1e-4, 5e-4)
    assert (settings.contrast, settings.temperature, settings.restoration, settings.batch) == (0.1, 0.05, 1.0, 1)
    assert training.steps == 12000
    assert _rates("dual_ssl", "paper", [0, 6000, 11999]) == pytest.approx(
        [1e-4, 1e-4 * 0.5**0.9, 1e-4 * (1 / 12000) ** 0.9]
    )


def test_pixel_global_warms_up_and_falls_along_a_cosine() -> None:
    settings, _ = load("pixel_global", "paper")
    assert (settings.alpha, settings.beta, settings.passes, settings.dropout) == (1.0, 0.1, 8, 0.2)
    assert (settings.momentum, settings.batch, settings.crops.overlap) == (0.99, 32, 0.3)
    rates = _rates("pixel_global", "paper", [0, 500, 1000, 10500, 20000])
    assert rates == pytest.approx([0.0, 1.75e-4, 3.5e-4, 1.75e-4, 0.0], abs=5e-7)


def test_byol_has_no_pixels_and_pixpro_no_doubt() -> None:
    assert load("pixel_global", "byol")[0].alpha == 0
    settings, _ = load("pixel_global", "pixpro")
    assert (settings.match, settings.context, settings.weighting) == ("radius", "propagation", "none")


def test_polycl_as_published_restarts_ten_times() -> None:
    settings, _ = load("polycl", "paper")
    assert (settings.variant, settings.neg_scope, settings.negatives, settings.central) == ("M", "same", 1, 0.3)
    assert (settings.optimiser.name, settings.batch, settings.temperature) == ("adam", 30, 0.5)
    rates = _rates("polycl", "paper", [0, 1000, 1999, 2000, 18000, 19000])
    assert rates == pytest.approx([1e-3, 5e-4, 0.0, 1e-3, 1e-3, 5e-4], abs=1e-6)


@pytest.mark.parametrize("variant", ["s", "o", "m"])
def test_each_variant_of_polycl_has_its_preset(variant: str) -> None:
    assert load("polycl", variant)[0].variant == variant.upper()


def test_models_genesis_has_the_chances_of_its_code() -> None:
    chances = load("models_genesis", "paper")[0].corruption
    assert (chances.remapped, chances.shuffled, chances.painted, chances.outer) == (0.9, 0.5, 0.9, 0.8)
