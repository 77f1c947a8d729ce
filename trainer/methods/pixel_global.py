"""Pixel-global pre-training with an uncertainty-aware context stabiliser (after Zhang and Zhang, arXiv 2210.00646).

Two crops of one region go through a student and through its running average, the teacher. Their pooled features are
to agree (global), and so are the features of one and the same pixel (pixel). The crops show that pixel in different
contexts, and the difference is no mistake: a stabiliser on the student's side may learn to predict it, and is thrown
away afterwards. Its Monte-Carlo dropout says how sure the prediction is, and unsure pixels count less. There are no
negatives. Neither formulas nor code have been published, so the formulas are ours, in the line of BYOL and PixPro.

BYOL is the same with `alpha` 0, PixPro with `match` radius, `context` propagation and `weighting` none.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from SSLSegmentationLib.errors import InputError
from trainer.methods.base import Batch, Method
from trainer.methods.optimiser import Optimiser, Schedule
from trainer.networks import Backbone, build
from trainer.parts.collapse import CollapseGuard, spread
from trainer.parts.contrast import byol_distance, nothing
from trainer.parts.heads import MLPProjector, Propagation, Stabiliser, at_every_pixel, global_vector
from trainer.parts.peers import EMATeacher
from trainer.parts.samplers_views import Crops, TwoViews
from trainer.parts.schedules import cosine_momentum
from trainer.parts.transfer import Output, freeze_the_rest, state_behind
from trainer.parts.views import Matches, match_places, match_radius

if TYPE_CHECKING:
    from trainer.data.plan import Plan
    from trainer.data.splits import Split
    from trainer.data.store import Store

Weighting = Literal["exp", "kendall", "none"]


@dataclass(frozen=True)
class Settings:
    alpha: float = 1.0
    """Weight of the pixel terms; 0 leaves BYOL, which trains the encoder alone."""
    global_weight: float = 1.0
    """Of the global term; 0 leaves the pixels, as PGL trains."""
    beta: float = 0.1
    """Weight of the variance within the pixel terms, so that doubt is not a cheap way out."""
    context: Literal["stabiliser", "identity", "propagation"] = "stabiliser"
    weighting: Weighting = "exp"
    match: Literal["place", "radius"] = "place"
    """A pixel's partner: the other view's features interpolated at the very place, or all within 0.7 cell diagonals."""
    passes: int = 8
    """Random passes of the stabiliser."""
    dropout: float = 0.2
    """Of the stabiliser."""
    stride: int = 0
    """Voxels of the image in one side of a pixel cell; 0: 4 in slices, 2 in volumes."""
    pixels: int = 512
    """The most pixels of each view that are compared."""
    hidden: int = 512
    pixel_hidden: int = 256
    out: int = 128
    momentum: float = 0.99
    """Of the teacher at first; it rises to 1 along a cosine."""
    batch: int = 0
    """Regions in a batch; 0 takes the plan's."""
    crops: Crops = field(default_factory=Crops)
    optimiser: Optimiser = field(
        default_factory=lambda: Optimiser("adamw", 3.5e-4, schedule=Schedule("cosine", warm_up=5, of=100))
    )


class Student(nn.Module):
    """Backbone and projectors; its running average is the teacher.

    Pixels are projected once they are drawn, of which there are far fewer.
    """

    def __init__(self, backbone: Backbone, settings: Settings, *, dims: int) -> None:
        super().__init__()
        channels = backbone.channels()
        self.backbone = backbone
        self.global_projector = MLPProjector(channels["bottleneck"], settings.hidden, settings.out)
        self.pixel_projector = None
        if settings.alpha:
            self.pixel_projector = MLPProjector(channels["feat"], settings.pixel_hidden, settings.out)
        self.stride = settings.stride or (4 if dims == 2 else 2)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        """Global projections (batch, d), and the decoder's pooled features (batch, c, i, j, k)."""
        if self.pixel_projector is None:
            return self.global_projector(global_vector(self.backbone.bottleneck(image))), None
        features = self.backbone.features(image)
        vector = self.global_projector(global_vector(features["bottleneck"]))
        grid = [max(1, side // self.stride) for side in image.shape[2:]]
        return vector, functional.adaptive_avg_pool3d(features["feat"], grid)


class PixelGlobal(Method):
    Settings = Settings
    pretraining = True
    needs_labels = 0

    def __init__(self, plan: Plan, settings: Settings, steps: int, seed: int) -> None:
        super().__init__(plan, settings, steps, seed)
        if not settings.alpha and not settings.global_weight:
            raise InputError("With alpha and global_weight both 0 nothing is left to learn: give one of them a weight.")
        if (settings.batch or plan.batch) < 2:
            raise InputError("This method compares the images of a batch, but the batch has one: give it more.")
        backbone = build(plan.network)
        freeze_the_rest(backbone, self._output)
        self.student = Student(backbone, settings, dims=plan.dims)
        self.teacher = EMATeacher(self.student)
        self.global_predictor = MLPProjector(settings.out, settings.hidden, settings.out)
        self.context = None
        if settings.alpha and settings.context == "stabiliser":
            self.context = Stabiliser(settings.out, settings.pixel_hidden, dropout=settings.dropout)
        elif settings.alpha and settings.context == "propagation":
            self.context = Propagation(settings.out)
        self.guard = CollapseGuard(steps)

    @classmethod
    def batches(
        cls,
        plan: Plan,
        store: Store,
        split: Split,
        settings: Settings,
        **place: Any,
    ) -> TwoViews:
        names = (*split.labelled, *split.unlabelled)
        return TwoViews(plan, store, names, batch=settings.batch or None, crops=settings.crops, **place)

    def terms(self, batch: Batch, step: int) -> dict[str, Tensor]:
        a, b = batch["view_a"], batch["view_b"]
        vectors, maps = self.student(torch.cat([a, b]))
        their_vectors, their_maps = self.teacher(torch.cat([a, b]))
        terms = {"global": global_term(self.global_predictor(vectors), their_vectors)}
        watched = {"global_features": spread(vectors)} if self.settings.global_weight else {}
        if maps is not None:
            found = [self._pixels(*views) for views in _both_ways(maps, their_maps, batch)]
            pixel, variance, doubt, shared, apart = (torch.stack(values).mean() for values in zip(*found, strict=True))
            terms |= {"pixel": pixel}
            terms |= {"variance": variance} if self._weighs_variance else {}
            terms |= {"watched/doubt": doubt, "watched/overlap": shared}
            watched["pixel_features"] = apart
        self.guard.look(watched, step)
        return terms | {f"watched/spread_of_{name}": value for name, value in watched.items()}

    def weights(self, step: int) -> dict[str, float]:
        settings = self.settings
        weights = {"global": settings.global_weight}
        weights |= {"watched/spread_of_global_features": 0.0} if settings.global_weight else {}
        if settings.alpha:
            weights |= {"pixel": settings.alpha}
            weights |= {"variance": settings.alpha * settings.beta} if self._weighs_variance else {}
            weights |= dict.fromkeys(("watched/doubt", "watched/overlap", "watched/spread_of_pixel_features"), 0.0)
        return weights

    def after_step(self, step: int) -> None:
        self.teacher.update(self.student, cosine_momentum(step, self.steps, self.settings.momentum))

    def transferable(self) -> dict[str, Tensor]:
        return state_behind(self.student.backbone, self._output)

    @property
    def _output(self) -> Output:
        return "feat" if self.settings.alpha else "bottleneck"

    @property
    def _weighs_variance(self) -> bool:
        return self.settings.context == "stabiliser" and self.settings.weighting != "kendall"

    def _pixels(
        self, mine: Tensor, theirs: Tensor, affine: Tensor, other: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Pixel loss and variance of one direction, and to watch: the doubt, the part of pixels with a partner, and how
        far projections are spread."""
        settings, shape = self.settings, tuple(mine.shape[2:])
        match = match_places if settings.match == "place" else match_radius
        matches = match(theirs, affine, other, shape, settings.pixels)
        count = len(matches.image)
        shared = mine.new_tensor(count / (len(mine) * min(settings.pixels, shape[0] * shape[1] * shape[2])))
        if count < 2:  # no overlap, or too little for statistics of a batch
            rows = self.student.pixel_projector(mine.detach().movedim(1, -1).flatten(0, -2))
            return nothing(mine), nothing(mine), mine.new_zeros(()), shared, spread(rows)
        if isinstance(self.context, Propagation):
            rows = matches.rows(self.context(at_every_pixel(self.student.pixel_projector, mine)))
        else:
            rows = self.student.pixel_projector(matches.rows(mine.float()))
        with torch.no_grad():
            matches = replace(matches, target=self.teacher.network.pixel_projector(matches.target))
        prediction, variance = rows, rows.new_zeros(count)
        if isinstance(self.context, Stabiliser):
            prediction, variance = self.context(rows, settings.passes)
        # The variance of a direction in d channels is at most 1/d each; times d, it is a number from 0 to 1.
        variance = variance * rows.shape[1]
        weighting = settings.weighting if isinstance(self.context, Stabiliser) else "none"
        pixel = pixel_term(prediction, variance, matches, weighting)
        return pixel, variance.mean(), variance.detach().mean(), shared, spread(rows)


def global_term(predictions: Tensor, targets: Tensor) -> Tensor:
    """2 − 2 cos(q(g₁), g'₂), and with the views exchanged; mean over both and the batch.

    Both arguments hold the first views and then the second ones.
    """
    return byol_distance(predictions, targets.roll(len(targets) // 2, 0)).mean()


def pixel_term(prediction: Tensor, variance: Tensor, matches: Matches, weighting: Weighting) -> Tensor:
    """How far the predicted pixels q̄_i are from their partners z'_j, d_ij = 2 − 2 cos(q̄_i, z'_j).

    exp      Σ w_i d_ij / Σ w_i,  w_i = exp(−u_i / mean(u)), without gradient
    kendall  mean( e^{−s_i} d_ij + s_i ),  s = log u: the variance itself is learnt as the doubt in d
    none     mean of d_ij
    """
    distance = byol_distance(prediction[matches.pixel], matches.target)
    if weighting == "none":
        return distance.mean()
    variance = variance[matches.pixel]
    if weighting == "kendall":
        s = variance.clamp_min(1e-4).log()
        return ((-s).exp() * distance + s).mean()
    weight = (-variance.detach() / variance.detach().mean().clamp_min(1e-8)).exp()
    return (weight * distance).sum() / weight.sum()


def _both_ways(maps: Tensor, their_maps: Tensor, batch: Batch) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Student's map, teacher's map of the other view, and the affines of the two: from a to b, and from b to a."""
    (mine_a, mine_b), (theirs_a, theirs_b) = maps.chunk(2), their_maps.chunk(2)
    return [
        (mine_a, theirs_b, batch["affine_a"], batch["affine_b"]),
        (mine_b, theirs_a, batch["affine_b"], batch["affine_a"]),
    ]
