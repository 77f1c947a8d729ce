"""What a trained network says about a case, by the code that Slicer and `sslseg` run: SSLSegmentationLib.inference."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from SSLSegmentationLib.inference.predictors import Precision, TorchPredictor
from SSLSegmentationLib.inference.segment import Segmenter, Settings
from SSLSegmentationLib.inference.sliding import slide
from SSLSegmentationLib.io.read import read_volume
from SSLSegmentationLib.models.networks import single_output
from SSLSegmentationLib.models.package import ModelPackage, UncertaintyRule
from SSLSegmentationLib.progress import silent
from SSLSegmentationLib.volume import Volume
from trainer.data.cases import CaseFiles
from trainer.data.plan import Plan
from trainer.networks import Backbone


@dataclass(frozen=True, eq=False)
class Prediction:
    """All on the grid of the scan, with the values of the user's labels."""

    scan: Volume
    labels: Volume
    probabilities: np.ndarray
    """float32 (classes, k, j, i); classes in the order of the plan, the background first."""
    uncertainty: Volume


class Predictor:
    """Segments cases with a network in memory, as the package that will hold it does."""

    def __init__(
        self,
        backbone: Backbone,
        plan: Plan,
        settings: Settings | None = None,
        temperature: float = 1.0,
        flip_axes: tuple[int, ...] = (),
    ) -> None:
        doubt = UncertaintyRule("flips" if flip_axes else "entropy", flip_axes=flip_axes, temperature=temperature)
        package = as_package(plan, backbone.definition, doubt)
        network = single_output(backbone.network.eval().requires_grad_(False), backbone.definition["_target_"])
        settings = settings or Settings(doubt="entropy", probabilities=True)
        self._plan = plan
        self._segmenter = Segmenter(package, settings, load=lambda *_: network)

    def __call__(self, case: CaseFiles | Volume) -> Prediction:
        scan = case if isinstance(case, Volume) else read_volume(case.image)
        found = self._segmenter(scan)
        labels = found.labels.with_voxels(values_of_classes(self._plan)[found.labels.voxels])
        return Prediction(scan, labels, found.probabilities, found.uncertainty)


def values_of_classes(plan: Plan) -> np.ndarray:
    """The value in the user's label files of every class."""
    return np.array([0, *(label.value for label in plan.labels)], dtype=np.uint8)


def as_package(plan: Plan, definition: dict, doubt: UncertaintyRule | None = None) -> ModelPackage:
    """What the plan says about a model, without the weights. Label c is class c: outputs are numbered without a gap."""
    from dataclasses import replace

    return ModelPackage(
        folder=Path(),
        id=re.sub(r"[^A-Za-z0-9._-]+", "-", plan.name).strip("-.") or "model",
        title=plan.name,
        version="",
        modality=plan.modality,
        licence="",
        labels=tuple(replace(label, value=number) for number, label in enumerate(plan.labels, start=1)),
        network=definition,
        weights=(Path("model.safetensors"),),
        sliding=plan.sliding,
        preprocessing=plan.preprocessing,
        uncertainty=doubt or UncertaintyRule(),
        keep_surest=tuple(c for c, label in enumerate(plan.labels, start=1) if label.value in plan.keep_surest),
    )


def logits_on_grid(
    network: nn.Module, plan: Plan, image: np.ndarray, device: str, precision: Precision, overlap: float | None = None
) -> torch.Tensor:
    """(classes, i, j, k) float32 logits of a prepared image, by the sliding window that segments scans."""
    window = plan.sliding if overlap is None else plan.sliding.__class__(plan.patch, overlap, "gaussian", plan.padding)
    predictor = TorchPredictor(network, device, precision)
    with torch.inference_mode(), torch.random.fork_rng():
        slabs = slide(
            torch.from_numpy(np.asarray(image, dtype=np.float32)),
            [predictor],
            window,
            combine=lambda logits: logits[0],
            tick=silent,
            keep_on=device,
        )
        return torch.cat([slab.scores.float().cpu() for slab in slabs], dim=1)


def classes_on_grid(network: nn.Module, plan: Plan, image: np.ndarray, device: str, precision: Precision) -> np.ndarray:
    """(i, j, k) class numbers of a prepared image."""
    return logits_on_grid(network, plan, image, device, precision).argmax(dim=0).numpy().astype(np.uint8)
