"""A training that is ended by force ends, once it has gone on, with the weights of one that was not: bit for bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from Testing.trainer.tiny import tiny_run
from trainer import records
from trainer.loop import fit
from trainer.run import Run
from trainer.saving import read_checkpoint

# Ends itself after a step that no checkpoint was written for, as a machine does that loses its power.
KILLED = """
import os, signal, sys
from trainer.loop import fit
from trainer.run import Run

def watch(moment):
    if moment.step >= 5:
        os.kill(os.getpid(), signal.SIGKILL)

fit(Run(sys.argv[1]), watch)
"""


def train_until_killed(run: Run) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    command = [sys.executable, "-c", KILLED, str(run.folder)]
    done = subprocess.run(command, capture_output=True, check=False, env=environment)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_a_killed_run_goes_on_to_the_same_weights(tmp_path: Path, precision: str) -> None:
    before = tiny_run(tmp_path, "before", "steps=1")
    fit(before)
    changes = (f"precision={precision}", "log_every=1", "save_every=4", "average=0.9", "start_share=0.5")
    whole = tiny_run(tmp_path, "whole", *changes, start=str(before.folder))
    fit(whole)
    killed = tiny_run(tmp_path, "killed", *changes, start=str(before.folder))
    train_until_killed(killed)
    assert read_checkpoint(killed.checkpoint)["global_step"] == 4
    assert killed.done is None
    assert [path.name for path in killed.checkpoint.parent.iterdir()] == ["last.ckpt"]
    fit(killed)
    assert killed.done["steps"] == 6
    one, other = read_checkpoint(whole.checkpoint), read_checkpoint(killed.checkpoint)
    assert one["global_step"] == other["global_step"] == 6
    assert_same(one["state_dict"], other["state_dict"])
    assert_same(one["optimizer_states"], other["optimizer_states"])
    assert_same(one["callbacks"]["Average"], other["callbacks"]["Average"])
    assert_same(one["callbacks"]["Start"], other["callbacks"]["Start"])
    curve, resumed = records.read(whole.metrics), records.read(killed.metrics)
    assert curve["train/loss"] == resumed["train/loss"]
    assert curve["train/loss"][0] == [1, 2, 3, 4, 5, 6]
    assert curve["validation/dice"] == resumed["validation/dice"]


def test_a_run_that_is_done_is_left_alone(tmp_path: Path) -> None:
    run = tiny_run(tmp_path)
    fit(run)
    before = run.checkpoint.read_bytes()
    said: list[str] = []
    fit(run, say=said.append)
    assert run.checkpoint.read_bytes() == before
    assert "trained already" in said[0]


def test_the_same_seed_gives_the_same_weights_and_another_does_not(tmp_path: Path) -> None:
    states = []
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        run = tiny_run(tmp_path, name, f"seed={seed}", "steps=2")
        fit(run)
        states.append(read_checkpoint(run.checkpoint)["state_dict"])
    assert_same(states[0], states[1])
    with pytest.raises(AssertionError):
        assert_same(states[0], states[2])


def assert_same(one: object, other: object) -> None:
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one:
            assert_same(one[name], other[name])
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    else:
        assert one == other
