"""A plan, networks and batches so small that a step takes milliseconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.models.package import Preprocessing
from trainer.data.plan import Plan
from trainer.methods import method_class
from trainer.methods.base import Method

SIDES = (8, 8, 8)
FIRST = {"_target_": "VNet3D", "widths": [4, 8], "convolutions": [1, 1], "norm": "instance", "dropout": 0.1}
SECOND = {
    "_target_": "ResVNet3D",
    "widths": [4, 8],
    "blocks": [1],
    "convolutions": [1],
    "norm": "instance",
    "dropout": 0.1,
}
FLAT = {"_target_": "SliceUNet", "widths": [4, 8]}


def tiny_plan(classes: int = 3, network: dict[str, Any] = FIRST, sides: tuple[int, int, int] = SIDES) -> Plan:
    return Plan(
        name="tiny",
        data=Path("nowhere"),
        modality="MR",
        labels=tuple(Label(value, f"organ {value}") for value in range(1, classes)),
        preprocessing=Preprocessing(),
        patch=sides,
        batch=4,
        dims=2 if sides[2] == 1 else 3,
        network={**network, "in_channels": 1, "out_channels": classes},
    )


def tiny_method(name: str, plan: Plan | None = None, *, steps: int = 100, seed: int = 0, **settings: Any) -> Method:
    torch.manual_seed(seed)
    kind = method_class(name)
    return kind(plan or tiny_plan(), kind.Settings(**settings), steps, seed).train()


def tiny_batch(
    classes: int = 3, labelled: int = 2, unlabelled: int = 2, seed: int = 0, sides: tuple[int, int, int] = SIDES
) -> dict[str, Tensor]:
    """Random scans, in which the classes are ranges of a smoothed copy."""
    random = torch.Generator().manual_seed(seed)
    image = torch.randn(labelled + unlabelled, 1, *sides, generator=random)
    rank = image[:labelled].flatten(1).argsort(dim=1).argsort(dim=1) / image[0].numel()
    labels = (rank * classes).long().view(labelled, 1, *sides)
    return {"image": image, "labels": labels, "annotated": torch.ones(labelled, classes, dtype=torch.bool)}


def gradients_of(method: Method, batch: dict[str, Tensor], term: str, step: int = 50) -> set[str]:
    """Names of the parameters that a term alone moves."""
    method.zero_grad(set_to_none=True)
    torch.manual_seed(1)
    method.terms(batch, step)[term].backward()
    return {
        name
        for name, parameter in method.named_parameters()
        if parameter.grad is not None and bool((parameter.grad != 0).any())
    }


def weights_of(module: nn.Module, prefix: str) -> set[str]:
    """Names of a module's kernels: a bias before a normalisation has a gradient of zero by nature."""
    return {f"{prefix}{name}" for name, parameter in module.named_parameters() if parameter.dim() > 1}


def train(method: Method, batches: list[dict[str, Tensor]]) -> list[float]:
    """Steps as the loop makes them, and the loss of each."""
    optimiser = method.configure_optimizers()
    losses = []
    for step, batch in enumerate(batches):
        method.optimiser.set_rate(optimiser, step, method.steps)
        optimiser.zero_grad()
        loss, _ = method.loss(batch, step)
        loss.backward()
        optimiser.step()
        method.after_step(step)
        losses.append(float(loss.detach()))
    return losses
