"""Semi-supervised runs go on exactly: averages, prototypes and both streams are where they were."""

from __future__ import annotations

from pathlib import Path

import pytest

from Testing.trainer.data.folders import write_folder
from Testing.trainer.test_resume import assert_same
from Testing.trainer.tiny import tiny_run
from trainer import records
from trainer.loop import fit
from trainer.saving import read_checkpoint

SECOND = "second={_target_: SliceUNet, widths: [4, 4]}"
SETTINGS = {
    "mean_teacher": (),
    "dual_networks": (SECOND, "teacher=average"),
}


class PowerCutError(Exception):
    pass


def cut_power(moment) -> None:
    if moment.step >= 5:
        raise PowerCutError


@pytest.mark.parametrize("method", sorted(SETTINGS))
def test_an_interrupted_run_ends_with_the_same_weights(method: str, tmp_path: Path) -> None:
    write_folder(tmp_path / "data", labelled=4, unlabelled=3)
    changes = ("workers=0", "log_every=1", "save_every=4", "validate_on=0", *SETTINGS[method])
    whole = tiny_run(tmp_path, "whole", *changes, method=method)
    assert len(whole.split.unlabelled) == 3
    fit(whole)
    interrupted = tiny_run(tmp_path, "interrupted", *changes, method=method)
    with pytest.raises(PowerCutError):
        fit(interrupted, cut_power)
    assert read_checkpoint(interrupted.checkpoint)["global_step"] == 4
    fit(interrupted)
    one, other = read_checkpoint(whole.checkpoint), read_checkpoint(interrupted.checkpoint)
    assert_same(one["state_dict"], other["state_dict"])
    assert_same(one["optimizer_states"], other["optimizer_states"])
    curve = records.read(whole.metrics)
    assert curve["train/loss"] == records.read(interrupted.metrics)["train/loss"]
    assert curve["train/loss"][0] == [1, 2, 3, 4, 5, 6]
