"""The networks of a pair are judged alone and together, on the cases that judge their run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from Testing.trainer.tiny import tiny_run
from trainer.evaluate.run import evaluate
from trainer.loop import fit
from trainer.recipes.one_by_one import dice_of_each
from trainer.run import Run
from trainer.saving import read_checkpoint


def test_a_pair_is_judged_as_evaluate_judges_it_and_its_networks_as_what_they_are(tmp_path: Path) -> None:
    run = tiny_run(tmp_path, "pair", method="cross_pseudo", split={"labelled": 2})
    fit(run)
    first, second, both = dice_of_each(run.folder, "cpu")
    judged = evaluate(run.folder, device="cpu").summary()["scores"]["all"]["dice"]["value"]
    assert both == pytest.approx(judged, abs=1e-9)
    assert first != second
    # With the first network's weights in both, all three are the same.
    twins = Run(shutil.copytree(run.folder, tmp_path / "twins"))
    checkpoint = read_checkpoint(twins.checkpoint)
    state = checkpoint["state_dict"]
    for name in [name for name in state if ".first." in name]:
        state[name.replace(".first.", ".second.")] = state[name]
    torch.save(checkpoint, twins.checkpoint)
    assert dice_of_each(twins.folder, "cpu") == pytest.approx((first, first, first), abs=1e-9)


def test_a_run_of_a_single_network_is_refused_by_its_name(tmp_path: Path) -> None:
    run = tiny_run(tmp_path, "alone", "steps=1")
    fit(run)
    with pytest.raises(SystemExit, match=r"alone has trained a single network"):
        dice_of_each(run.folder, "cpu")
