"""`segment`: one scan and one model package in, labels and doubt on the scan's own grid out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import combinations
from time import perf_counter
from typing import TYPE_CHECKING, Literal

import numpy as np

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.inference.cleanup import keep_largest, keep_surest
from SSLSegmentationLib.inference.devices import choose_device, describe_device
from SSLSegmentationLib.inference.memory import Plan, free_bytes, is_out_of_memory, release, with_less_memory
from SSLSegmentationLib.inference.predictors import (
    CannotConvert,
    OpenVinoPredictor,
    Predictor,
    TorchPredictor,
    best_precision,
    has_dropout,
    openvino_is_installed,
)
from SSLSegmentationLib.inference.preprocess import Prepared, prepare
from SSLSegmentationLib.inference.restore import Restorer, Targets
from SSLSegmentationLib.inference.sliding import slide
from SSLSegmentationLib.inference.uncertainty import entropy
from SSLSegmentationLib.models.package import ModelPackage, UncertaintyRule
from SSLSegmentationLib.models.weights import load_network
from SSLSegmentationLib.progress import Tick, silent
from SSLSegmentationLib.volume import Volume

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    Load = Callable[[ModelPackage, int], Module]

_FIXED_SIZE_NETWORKS = frozenset({"UNETR"})  # their position embeddings are made for one size of tile

_CERTAIN_LOGIT = 20.0  # of the background in tiles that need not be looked at

Doubt = Literal["auto", "none", "entropy", "flips", "dropout", "members"]


@dataclass(frozen=True)
class Settings:
    """What the user may choose; the defaults suit most machines."""

    device: str = "auto"
    backend: Literal["auto", "torch", "openvino"] = "auto"
    precision: Literal["auto", "f32", "bf16", "f16"] = "auto"
    overlap: float | None = None
    doubt: Doubt = "auto"
    """Source of the uncertainty; "auto" is what the package says, "none" leaves it out."""
    passes: int | None = None
    """Random passes with doubt "dropout"."""
    crop_to_body: bool = True
    probabilities: bool = False
    """Keep the probability of every class, which is what evaluation needs; it takes much memory."""


@dataclass(frozen=True, eq=False)
class Segmentation:
    labels: Volume
    """uint8 label values on the scan's grid."""
    uncertainty: Volume | None
    """float32 normalised entropy, 0 to 1, on the scan's grid."""
    disagreement: Volume | None
    """float32 mutual information where the doubt has several passes."""
    device: str
    plan: Plan
    ladder: list[str]
    """What was done to get by with the memory there is; empty if nothing was."""
    seconds: dict[str, float] = field(default_factory=dict)
    probabilities: np.ndarray | None = None
    """float32 (classes, k, j, i) on the scan's grid, if asked for."""


class Segmenter:
    """A package made ready to run. Networks stay loaded between scans, so keep it for as long as it is needed."""

    def __init__(self, package: ModelPackage, settings: Settings | None = None, load: Load = load_network) -> None:
        self.package = package
        self._load = load
        self.settings = settings or Settings()
        if self.settings.overlap is not None and not 0 <= self.settings.overlap < 1:
            raise InputError(f"The overlap of tiles is {self.settings.overlap:g}: choose one from 0 to below 1.")
        self.device = choose_device(self.settings.device)
        self.rule = _doubt(package, self.settings)
        self._shows_doubt = self.settings.doubt != "none"
        self._loaded: tuple[Plan, list[Predictor]] | None = None

    def __call__(self, scan: Volume, tick: Tick = silent) -> Segmentation:
        started = perf_counter()
        tick("Preparing", 0.0)
        if not scan.modality:  # most files do not say; the user chose a model for it
            scan = replace(scan, modality=self.package.modality)
        prepared = prepare(scan, self.package.preprocessing, crop_to_body=self.settings.crop_to_body)
        tick("Preparing", 1.0)
        ready = perf_counter()
        (plan, targets), ladder = with_less_memory(
            lambda plan: (plan, self._attempt(plan, scan, prepared, tick)),
            self._first_plan(),
            half=best_precision(self.device),
            any_patch=_any_patch(self.package),
            fits=lambda plan: self._need(plan, prepared) < 0.9 * free_bytes(plan.device),
        )
        done = perf_counter()
        tick("Finishing", 0.0)
        labels, uncertainty, disagreement, probabilities = targets
        keep_largest(labels, self.package.keep_largest)
        if self.package.keep_surest:
            keep_surest(labels, uncertainty, self.package.keep_surest)
            uncertainty = uncertainty if self._shows_doubt else None
        tick("Finishing", 1.0)
        seconds = {"preparing": ready - started, "segmenting": done - ready, "finishing": perf_counter() - done}
        return Segmentation(
            labels=scan.with_voxels(labels, name=f"{scan.name} segmentation"),
            uncertainty=_volume(scan, uncertainty, "uncertainty"),
            disagreement=_volume(scan, disagreement, "disagreement"),
            device=describe_device(plan.device),
            plan=plan,
            ladder=ladder,
            seconds=seconds,
            probabilities=probabilities,
        )

    def _first_plan(self) -> Plan:
        backend, random = self.settings.backend, self.rule.source == "dropout"
        possible = self.device == "cpu" and not random
        if backend == "openvino" and not possible:
            raise InputError("OpenVINO runs on the CPU and without dropout: choose the backend torch for this.")
        if backend == "torch" or not possible or not openvino_is_installed():
            return self._plan("torch")
        plan = self._plan("openvino")
        try:
            self._predictors(plan)
        except CannotConvert:
            if backend == "openvino":
                raise
            return self._plan("torch")
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):  # else the ladder meets it again, and has remedies
                raise
        return plan

    def _plan(self, backend: Literal["torch", "openvino"]) -> Plan:
        import torch

        precision = best_precision(self.device) if self.settings.precision == "auto" else self.settings.precision
        if self.device == "cpu":  # several tiles only pay, and are worth their memory, where there are many cores
            at_once = max(1, min(4, torch.get_num_threads() // 4)) if backend == "openvino" else 1
        else:
            at_once = 4
        return Plan(self.device, backend, precision, at_once, self.device, self.package.sliding.patch)

    def _attempt(self, plan: Plan, scan: Volume, prepared: Prepared, tick: Tick) -> tuple[np.ndarray | None, ...]:
        import torch

        several = self.rule.source in ("flips", "dropout", "members")
        labels = np.zeros(scan.shape, dtype=np.uint8)
        by_doubt = self._shows_doubt or bool(self.package.keep_surest)
        uncertainty = np.zeros(scan.shape, dtype=np.float32) if by_doubt else None
        disagreement = np.zeros(scan.shape, dtype=np.float32) if self._shows_doubt and several else None
        probabilities = None
        if self.settings.probabilities:
            probabilities = np.zeros((self.package.classes, *scan.shape), dtype=np.float32)
            probabilities[0] = 1.0  # where the network is not asked, all is background
        targets = Targets(
            *(self._turned(scan, array) for array in (labels, uncertainty, disagreement)),
            tuple(self._turned(scan, one) for one in probabilities) if self.settings.probabilities else (),
        )
        restorer = Restorer(
            prepared.maps,
            targets,
            temperature=self.rule.temperature,
            averaged=several,
            device=plan.keep_on,
        )
        window = replace(self.package.sliding, patch=plan.patch)
        if self.settings.overlap is not None:
            window = replace(window, overlap=self.settings.overlap)
        combine = self._mean_opinion if several else lambda logits: self._all_classes(logits[0])
        with torch.inference_mode(), torch.random.fork_rng():
            torch.manual_seed(0)  # random passes are the same each time a scan is segmented
            for slab in slide(
                torch.from_numpy(prepared.array),
                self._predictors(plan),
                window,
                flips=_flips(self.rule),
                combine=combine,
                tick=tick,
                passes=self.rule.passes if self.rule.source == "dropout" else 1,
                skip_empty=self.settings.crop_to_body and self.package.preprocessing.crop_to_body,
                unseen=1.0 if several else _CERTAIN_LOGIT,
                keep_on=plan.keep_on,
                at_once=plan.at_once,
            ):
                restorer.add(slab)
        return labels, uncertainty, disagreement, probabilities

    def _turned(self, scan: Volume, array: np.ndarray | None) -> np.ndarray | None:
        """A view of an array on the scan's grid, as (i, j, k) in the orientation of the network."""
        if array is None:
            return None
        return scan.with_voxels(array).reoriented(self.package.preprocessing.orientation).voxels.transpose(2, 1, 0)

    def _predictors(self, plan: Plan) -> list[Predictor]:
        if self._loaded is not None and self._loaded[0] == plan:
            return self._loaded[1]
        if self._loaded is not None:
            self._loaded = None  # what was loaded for another plan goes first, to make room
            release(plan.device)
        members = range(len(self.package.weights)) if self.rule.source == "members" else (0,)
        predictors: list[Predictor] = []
        for member in members:
            network = self._load(self.package, member)
            if self.rule.source == "dropout" and not has_dropout(network):
                raise InputError(f'{self.package.title} has no dropout: choose the doubt "entropy" or "flips" instead.')
            if plan.backend == "openvino":
                predictors.append(OpenVinoPredictor(network, plan.patch, plan.precision, plan.at_once))
            else:
                dropout = self.rule.source == "dropout"
                predictors.append(TorchPredictor(network, plan.device, plan.precision, dropout=dropout))
        self._loaded = (plan, predictors)
        return predictors

    def _all_classes(self, logits: Tensor) -> Tensor:
        """Logits with a channel for the background, which a single sigmoid channel leaves unsaid."""
        import torch

        return torch.cat([torch.zeros_like(logits), logits]) if self.package.activation == "sigmoid" else logits

    def _mean_opinion(self, logits: list[Tensor]) -> Tensor:
        """Mean probabilities of the passes, and below them the mean of their entropies."""
        import torch

        opinions = [(self._all_classes(one).float() / self.rule.temperature).softmax(dim=0) for one in logits]
        spread = torch.stack([entropy(opinion) for opinion in opinions]).mean(dim=0)
        return torch.cat([torch.stack(opinions).mean(dim=0), spread[None]])

    def _need(self, plan: Plan, prepared: Prepared) -> int:
        """An estimate, on the high side, of the bytes a plan takes on its device beyond the scan and the result."""
        voxels = int(np.prod(plan.patch))
        widest = 32 * max(self.package.classes, 8)  # feature channels alive at full resolution, seen in U-Nets
        activations = plan.at_once * voxels * widest // 4 * (4 if plan.precision == "f32" else 2)
        slab = (self.package.classes + 2) * plan.patch[0] * prepared.maps[1].size * prepared.maps[2].size * 4
        return activations + (2 * slab if plan.keep_on == plan.device else 0)


def segment(scan: Volume, package: ModelPackage, settings: Settings | None = None, tick: Tick = silent) -> Segmentation:
    """Segment one scan. For several, keep a `Segmenter`."""
    return Segmenter(package, settings)(scan, tick)


def _any_patch(package: ModelPackage) -> bool:
    """Whether the network works on tiles of another size than it was trained with."""
    return str(package.network.get("_target_", "")).rpartition(".")[2] not in _FIXED_SIZE_NETWORKS


def _doubt(package: ModelPackage, settings: Settings) -> UncertaintyRule:
    """The package's rule with the user's choice of source."""
    rule = package.uncertainty
    source = {"auto": rule.source, "none": "entropy"}.get(settings.doubt, settings.doubt)
    if source == "members" and len(package.weights) < 2:
        raise InputError(f'{package.title} has a single member: choose the doubt "entropy" or "flips" instead.')
    passes = settings.passes or (rule.passes if rule.passes > 1 else 8)
    flip_axes = rule.flip_axes or (0, 1, 2)
    return replace(rule, source=source, passes=passes, flip_axes=flip_axes)


def _flips(rule: UncertaintyRule) -> list[tuple[int, ...]]:
    """The sets of axes to mirror, the plain view first."""
    if rule.source != "flips":
        return [()]
    return [axes for count in range(len(rule.flip_axes) + 1) for axes in combinations(rule.flip_axes, count)]


def _volume(scan: Volume, voxels: np.ndarray | None, what: str) -> Volume | None:
    return None if voxels is None else scan.with_voxels(voxels, name=f"{scan.name} {what}")
