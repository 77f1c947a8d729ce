"""Dual self-supervised pancreas segmentation (Zhu, Li, Chen and Qian, JBHI 2023, arXiv 2505.07165), for any organ.

Not pre-training: a segmentation network is trained with labels and with two tasks beside them that are to make it
hold on other scanners. Contrast: features on the organ's midline are alike in all slices and scans, and unlike those of
what lies around it. Restoration, which begins later: the image is spoilt where the network is in doubt, and the same
decoder has to restore it. Contrast needs labels; restoration does not, so unlabelled cases can feed it.

Contrast follows the same group's later code. Of the restoration no code was published: the details are ours.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from trainer.methods.base import Batch, Method
from trainer.methods.optimiser import Optimiser
from trainer.methods.streams import baseline_optimiser, definition_for
from trainer.networks import Backbone, build
from trainer.parts.contrast import nothing, nt_xent
from trainer.parts.heads import RestorationHead
from trainer.parts.losses import supervised
from trainer.parts.restoration import dilated, restoration_error, spoil, uncertain_region
from trainer.parts.samplers_points import PointedBatches, PointedTwoStreamBatches
from trainer.parts.uncertainty import mean_of_passes
from trainer.parts.views import sample_at

if TYPE_CHECKING:
    from trainer.data.plan import Plan
    from trainer.data.splits import Split
    from trainer.data.store import Store


@dataclass(frozen=True)
class Settings:
    network: dict[str, Any] = field(default_factory=dict)
    """Another network than the plan's."""
    batch: int = 0
    """Labelled patches in a batch; 0 takes the plan's."""
    unlabelled: int = 0
    """Unlabelled patches in a batch, which feed the restoration."""
    organ: tuple[int, ...] = ()
    """The classes that make up the organ; all if empty."""
    dice: float = 1.0
    cross_entropy: float = 1.0

    contrast: float = 0.1
    temperature: float = 0.05
    embedding: int = 32
    """Channels that features are projected to before they are compared."""
    relu: bool = False
    """ReLU after the projection, as published: then no two features can be opposite."""
    ring_mm: tuple[float, float] = (8.0, 16.0)
    """How far the surroundings reach."""
    every: int = 8
    """Slices from one pair of points to the next."""

    restoration: float = 1.0
    begin: float = 0.1
    """The part of training without restoration."""
    cubes: tuple[int, int] = (8, 16)
    """How many in a patch."""
    sides: tuple[int, int] = (8, 24)
    """Of a cube, in voxels."""
    top: float = 0.05
    """Part of the region of interest that counts as uncertain."""
    boundary: int = 2
    """Voxels from the predicted boundary that count as uncertain as well."""
    roi: int = 8
    """Voxels around the organ that are of interest."""
    passes: int = 0
    """Passes with dropout that the doubt is taken from; 0: from the prediction as it is."""

    optimiser: Optimiser = field(default_factory=baseline_optimiser)


class DualSSL(Method):
    Settings = Settings

    def __init__(self, plan: Plan, settings: Settings, steps: int, seed: int) -> None:
        super().__init__(plan, settings, steps, seed)
        self.needs_unlabelled = 1 if settings.unlabelled else 0
        self.backbone = build(definition_for(plan, settings.network))
        channels = self.backbone.channels()
        projector: list[nn.Module] = [nn.Conv3d(channels["bottleneck"], settings.embedding, 1)]
        self.projector = nn.Sequential(*projector, *([nn.ReLU()] if settings.relu else []))
        self.restorer = RestorationHead(channels["feat"], dims=plan.dims)

    @classmethod
    def batches(
        cls, plan: Plan, store: Store, split: Split, settings: Settings, **place: Any
    ) -> PointedBatches | PointedTwoStreamBatches:
        labelled = settings.batch or plan.batch
        if settings.unlabelled:
            found = PointedTwoStreamBatches(
                plan, store, split.labelled, split.unlabelled, per_batch=(labelled, settings.unlabelled), **place
            )
        else:
            found = PointedBatches(plan, store, split.labelled, batch=labelled, **place)
        found.organ, found.ring_mm, found.every = settings.organ, settings.ring_mm, settings.every
        return found

    def terms(self, batch: Batch, step: int) -> dict[str, Tensor]:
        image, labels = batch["image"], batch["labels"]
        known = image if self._restores(step) else image[: len(labels)]
        features = self.backbone.features(known)
        logits = features["logits"]
        cross_entropy, dice = supervised(logits[: len(labels)], labels, batch["annotated"])
        embedded = self.projector(features["bottleneck"]).float()
        contrast = structure_term(embedded, batch, tuple(image.shape[2:]), self.settings.temperature)
        restoration = self._restoration(image, labels, logits) if self._restores(step) else nothing(logits)
        return {"dice": dice, "cross_entropy": cross_entropy, "contrast": contrast, "restoration": restoration}

    def weights(self, step: int) -> dict[str, float]:
        settings = self.settings
        return {
            "dice": settings.dice,
            "cross_entropy": settings.cross_entropy,
            "contrast": settings.contrast,
            "restoration": settings.restoration if self._restores(step) else 0.0,
        }

    def predictor(self) -> Backbone:
        return self.backbone

    def _restores(self, step: int) -> bool:
        return self.settings.restoration > 0 and step >= self.settings.begin * self.steps

    def _restoration(self, image: Tensor, labels: Tensor, logits: Tensor) -> Tensor:
        """Spoil the image where the prediction is in doubt, and measure how much of it comes back.

        The error is that of intensities from 0 to 1, as the paper's are, whatever the plan makes of them.
        """
        settings = self.settings
        p = logits.detach().float().softmax(1)
        if settings.passes:
            p = mean_of_passes(self.backbone, image, settings.passes, noise=0.0)
        organ = p.argmax(1, keepdim=True) > 0
        organ[: len(labels)] |= labels > 0
        region = uncertain_region(p, dilated(organ, settings.roi), top=settings.top, boundary=settings.boundary)
        seed = int(torch.randint(2**31, ()))  # of the step's own random numbers
        spoilt, touched = spoil(image, region, cubes=settings.cubes, sides=settings.sides, seed=seed)
        restored = self.restorer(self.backbone.features(spoilt)["feat"])
        axes = tuple(range(1, image.dim()))
        span = (image.amax(axes, keepdim=True) - image.amin(axes, keepdim=True)).clamp(min=1e-6)
        return restoration_error(restored / span, image / span, touched)


def structure_term(embedded: Tensor, batch: Batch, size: tuple[int, int, int], temperature: float) -> Tensor:
    """NT-Xent over the points of all patches: those on the organ are one class, those around it the other.

    A feature is interpolated in the coarse grid at the very place of its point.
    """
    sides = torch.tensor(size, device=embedded.device)
    places = (2 * batch["point_place"] + 1) / sides - 1
    vectors, classes = [embedded.new_zeros(0, embedded.shape[1])], [batch["point_class"][:0]]
    for index in range(len(batch["labels"])):
        chosen = batch["point_image"] == index
        found = sample_at(embedded[index : index + 1], places[chosen][None, :, None, None])
        vectors.append(found.flatten(2)[0].T)
        classes.append(batch["point_class"][chosen])
    if sum(map(len, vectors)) < 2:
        return nothing(embedded)
    return nt_xent(torch.cat(vectors), torch.cat(classes), temperature)
