"""Two processes train one network: each on images of its own, and both with the mean of their gradients."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from Testing.trainer.tiny import tiny_run
from trainer.data.store import Store
from trainer.loop import new_method
from trainer.methods import method_class
from trainer.run import Run
from trainer.saving import read_checkpoint

RATE = 0.1


def stepped_by_hand(run: Run) -> dict[str, torch.Tensor]:
    """The weights after one step along the mean of the gradients of two processes."""
    method, recipe = new_method(run), run.recipe
    method.train()
    names, store = [name for name, _ in method.named_parameters()], Store(recipe.store)
    gradients = []
    for rank in (0, 1):
        batches = method_class(recipe.method).batches(
            run.plan, store, run.split, recipe.settings, steps=1, seed=recipe.training.seed, rank=rank, world=2
        )
        method.zero_grad()
        method.rank = rank
        method.loss(batches[0], 0)[0].backward()
        gradients.append([weight.grad.clone() for weight in method.parameters()])
    assert not all(torch.equal(one, other) for one, other in zip(*gradients, strict=True)), "both saw the same"
    means = [(one + other) / 2 for one, other in zip(*gradients, strict=True)]
    weights = zip(names, method.parameters(), means, strict=True)
    return {name: weight.detach() - RATE * mean for name, weight, mean in weights}


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch cannot train in several processes")
def test_two_processes_step_along_the_mean_of_their_gradients(tmp_path: Path) -> None:
    sgd = ("optimiser.name=sgd", f"optimiser.lr={RATE}", "optimiser.weight_decay=0", "optimiser.schedule.kind=constant")
    changes = (*sgd, "optimiser.schedule.warm_up=0", "steps=1", "clip=0", "devices=2", "strategy=ddp")
    run = tiny_run(tmp_path, "run", *changes)
    expected = stepped_by_hand(run)
    done = subprocess.run(
        [sys.executable, "-m", "trainer", "resume", str(run.folder)],
        capture_output=True, text=True, check=False, timeout=300, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert run.done["steps"] == 1
    found = read_checkpoint(run.checkpoint)["state_dict"]
    for name, weight in expected.items():
        torch.testing.assert_close(found[name], weight, rtol=1e-4, atol=1e-5)
