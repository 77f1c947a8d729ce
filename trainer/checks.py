"""What can be known to go wrong is said before anything long begins."""

from __future__ import annotations

import math
import shutil
import warnings
from pathlib import Path
from typing import Any

import torch

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.models.catalogue import size_text
from trainer.data.cases import CaseFiles
from trainer.data.plan import Plan
from trainer.data.splits import Split
from trainer.methods import method_class
from trainer.networks import build, divisors

_COPIES = 8  # weights, two moments of the optimiser, a peer or teacher, and the checkpoint before this one


def check_cases(method: str, split: Split) -> None:
    """Whether there are enough cases of either kind for the method."""
    kind = method_class(method)
    for needed, names, what in (
        (kind.needs_labels, split.labelled, "labelled"),
        (kind.needs_unlabelled, split.unlabelled, "unlabelled"),
    ):
        if len(names) < needed:
            raise InputError(
                f"{method} needs {needed} {what} cases or more to train on, but the split has {len(names)}: "
                + (
                    "give more of them labels."
                    if what == "labelled"
                    else "lower --labelled, or add scans without labels."
                )
            )


def check_network(method: str, plan: Plan, settings: Any) -> int:
    """Run a patch through the outline of the method's network, which costs nothing; how many numbers all parts have."""
    patch = " × ".join(map(str, plan.patch))
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outline = method_class(method)(plan, settings, 1, 0)
        backbone = outline.predictor() or build(plan.network)
        name = backbone.definition["_target_"]
        try:
            logits = backbone(torch.empty((2, 1, *plan.patch)))
        except (RuntimeError, ValueError) as error:
            steps = " × ".join(map(str, divisors(backbone.definition)))
            raise InputError(
                f"A patch of {patch} voxels does not go through {name} ({str(error).splitlines()[0][:120]}): "
                f"give the plan a larger patch, with sides that are multiples of {steps}."
            ) from None
    if tuple(logits.shape) != (2, plan.classes, *plan.patch):
        raise InputError(
            f"{name} gives {logits.shape[1]} classes for a patch of {patch} voxels, but the plan has {plan.classes} "
            'with the background: correct "network" in the plan.'
        )
    return sum(parameter.numel() for parameter in outline.parameters())


def check_room(folder: Path, plan: Plan, cases: list[CaseFiles], numbers: int, prepared: bool) -> None:
    """Whether the disk can hold the prepared cases and the checkpoints."""
    needed = _COPIES * 4 * numbers
    if not prepared:  # an estimate: packed files unfold, and the network's grid is rarely finer than the scan's
        needed += sum(3 * case.image.stat().st_size for case in cases if case.image.is_file())
    place = folder.resolve()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < needed:
        raise InputError(
            f"{folder} would need about {size_text(math.ceil(needed))}, but the disk has {size_text(free)} left: "
            "free some room, or choose another --out."
        )
