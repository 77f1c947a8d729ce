"""Runs that train in a moment: a slice-wise network of a few hundred numbers on boxes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from Testing.trainer.data.folders import plan_for, write_folder
from trainer.data.augment import Augmentation
from trainer.data.cases import find_cases
from trainer.data.plan import Plan
from trainer.data.splits import make_split
from trainer.data.store import prepare_all
from trainer.presets import load
from trainer.run import Recipe, Run, new_run

NETWORK = {"_target_": "SliceUNet", "in_channels": 1, "out_channels": 3, "widths": [4, 8]}

QUICK = ("device=cpu", "precision=f32", "steps=6", "log_every=2", "save_every=2", "validate_every=4", "validate_on=1")


def tiny_plan(folder: Path, **changes: Any) -> Plan:
    """The plan for a folder of boxes, which is written if it is not there."""
    if not folder.exists():
        write_folder(folder, labelled=4)
    fields = {"network": NETWORK, "patch": (16, 16, 8), "batch": 2, "augmentation": Augmentation(mirror=(0,))}
    return plan_for(folder, **(fields | changes))


def tiny_run(folder: Path, name: str = "run", *changes: str, method: str = "supervised", **more: Any) -> Run:
    """A run in FOLDER/NAME on the cases in FOLDER/data, prepared once."""
    plan, split = tiny_plan(folder / "data", **more.pop("plan", {})), {"folds": 4} | more.pop("split", {})
    cases = find_cases(plan.data)
    store = prepare_all(plan, cases, folder / "store")
    settings, training = load(method, "default", (*QUICK, *changes))
    recipe = Recipe(method, "default", settings, training, store=str(store.folder), **more)
    return new_run(folder / name, plan, make_split(cases, **split), recipe)
