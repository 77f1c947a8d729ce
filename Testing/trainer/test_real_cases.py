"""Every method learns from real scans: its loss falls, and what is trained with labels finds the hippocampus.

With SSLSEG_HIPPOCAMPUS naming a folder of images/ and labels/ (the Medical Segmentation Decathlon's Task04); about two
minutes a method on one core. What a method gains is no matter for a test: docs/results.md has what was measured.
"""

from __future__ import annotations

import os
from pathlib import Path
from statistics import mean

import pytest
from typer.testing import CliRunner

from trainer import records
from trainer.commands import app
from trainer.evaluate.run import evaluate
from trainer.recipes.few_labels import plan_of
from trainer.run import Run

REAL = "SSLSEG_HIPPOCAMPUS"
pytestmark = pytest.mark.skipif(REAL not in os.environ, reason=f"{REAL} names no folder of real cases")

STEPS = 160
SEGMENTING = ("supervised", "mean_teacher", "ua_mt", "cross_pseudo", "ssl_contrastive", "dual_networks", "dual_ssl")
PRETRAINING = ("pixel_global", "simclr", "models_genesis", "polycl")
FLOOR = 0.4
"""Dice; guessing gives less than 0.05."""


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    out = tmp_path_factory.mktemp("hippocampus")
    return {flat: plan_of(Path(os.environ[REAL]), out, flat) for flat in (False, True)}


def trained(command: str, plan: Path, out: Path, method: str, *more: str) -> Run:
    words = [command, str(plan), "--out", str(out), "--method", method, "--steps", str(STEPS), "--device", "cpu"]
    same = ["--labelled", "8", "--test", "0.05", "--folds", "10", "--set", "validate_every=100000"]
    done = CliRunner().invoke(app, [*words, *same, *more])
    assert done.exit_code == 0, done.output
    return Run(out)


def falls(run: Run, *terms: str) -> bool:
    """Whether the sum of these is smaller over the last quarter than over the first."""
    curves = records.read(run.metrics)
    sums = [sum(values) for values in zip(*(curves[f"train/{term}"][1] for term in terms), strict=True)]
    quarter = len(sums) // 4
    return mean(sums[-quarter:]) < mean(sums[:quarter])


@pytest.mark.parametrize("method", SEGMENTING)
def test_a_method_that_segments_learns_from_eight_labels(plans: dict[bool, Path], tmp_path: Path, method: str) -> None:
    run = trained("train", plans[False], tmp_path / "run", method)
    paired = "train/dice_b" in records.read(run.metrics)
    assert falls(run, *(("cross_entropy_a", "dice_b") if paired else ("cross_entropy", "dice")))
    assert evaluate(run.folder, device="cpu").summary()["scores"]["all"]["dice"]["value"] > FLOOR


@pytest.mark.parametrize("method", PRETRAINING)
def test_a_pretraining_learns_without_them(plans: dict[bool, Path], tmp_path: Path, method: str) -> None:
    flat = method == "polycl"
    more = ("--preset", "m") if flat else ("--set", "batch=6")
    assert falls(trained("pretrain", plans[flat], tmp_path / "run", method, *more), "loss")
