"""Refine a coarse segmentation slice by slice: a promptable model sees a box around each part of it.

Its answer is taken only where it is plausible; everywhere else the coarse part stays.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field

import numpy as np

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.plane import cut
from SSLSegmentationLib.progress import Tick, silent
from SSLSegmentationLib.prompting.boxes import grown, pixels_in, tight
from SSLSegmentationLib.prompting.compose import NOTHING_KEPT, Kept, Patch, compose, joined, patch_of
from SSLSegmentationLib.prompting.embeddings import Embeddings
from SSLSegmentationLib.prompting.picture import Window, window_of
from SSLSegmentationLib.prompting.protocol import Answer, PixelPrompts, Promptable
from SSLSegmentationLib.prompting.stack import Stack
from SSLSegmentationLib.proposal import Cropped, PartReport, Proposal

_LEAST_PIXELS, _LEAST_PART = 16, 0.02  # of a part, and of the largest part on its slice: smaller ones are not refined
_ANY_SIDE = np.ones((3, 3))
_SURELY = np.float32(20.0)


@dataclass(frozen=True)
class AcceptRule:
    """When an answer is plausible."""

    least_score: float = 0.70
    """What the model itself expects of the overlap."""
    least_overlap: float = 0.50
    """Intersection over union with the coarse part."""
    area_ratio: tuple[float, float] = (0.5, 2.0)
    """Area of the answer over that of the coarse part."""
    least_inside: float = 0.95
    """Part of the answer that lies in the box."""


DEFAULT_RULE = AcceptRule()


@dataclass(eq=False)
class Refined:
    proposals: dict[str, Proposal]
    report: list[PartReport] = field(default_factory=list)

    @property
    def accepted(self) -> int:
        return sum(part.accepted for part in self.report)


@dataclass(eq=False)
class _Part:
    """A connected part of a segment on a slice, or all of them if one box is to hold them all."""

    segment: str
    mask: np.ndarray
    box: tuple[float, float, float, float]


def refine(
    stack: Stack,
    segments: Mapping[str, Cropped],
    model: Promptable,
    *,
    window: Window | None = None,
    rule: AcceptRule = DEFAULT_RULE,
    probabilities: Mapping[str, np.ndarray] | None = None,
    one_box: bool = False,
    kept: Mapping[str, Kept] | None = None,
    embeddings: Embeddings | None = None,
    tick: Tick = silent,
) -> Generator[Proposal, None, Refined]:
    """Proposals slice by slice as they are made, and at the end one for each segment and what became of each part.

    Slices on which a segment has nothing are not touched. Parts that are too small for a model to see stay as they are.
    Where two segments want a pixel, the one with the higher coarse probability has it; without `probabilities` (of the
    whole grid, 0 to 1) the one that had it before, else the one the model is surer of. `one_box` draws one box around
    all parts of a segment on a slice, which suits organs that a slice cuts into lobes.
    """
    if not any(mask.bits.any() for mask in segments.values()):
        raise InputError("There is nothing to refine: the segmentation is empty.")
    kept, window = kept or {}, window or window_of(stack.volume)
    embeddings = embeddings or Embeddings()
    touched = {segment: stack.touched(mask) for segment, mask in segments.items()}
    numbers = sorted(set().union(*touched.values()))
    result = Refined({})
    patches: dict[str, list[Patch]] = {segment: [] for segment in segments}
    scores: dict[str, list[float]] = {segment: [] for segment in segments}
    for step, n in enumerate(numbers):
        tick("Refining", step / len(numbers))
        masks = {segment: stack.look(segments[segment], n) for segment in segments if n in touched[segment]}
        parts, small = _parts(masks, one_box)
        result.report.extend(PartReport(n, segment, False, "too small", pixels) for segment, pixels in small)
        if not parts:
            continue
        plane = stack.plane(n)

        def within(_stage: str, part: float, step: int = step) -> None:
            tick("Refining", (step + part) / len(numbers))

        embedding = embeddings.of(model, stack.volume, plane, window, within)
        answers = model.decode(embedding, [PixelPrompts(box=part.box) for part in parts], within)
        reports = [_judged(n, part, answer, rule) for part, answer in zip(parts, answers, strict=True)]
        result.report.extend(reports)
        taken = [(p, a) for p, a, said in zip(parts, answers, reports, strict=True) if said.accepted]
        chances = {segment: _chances(stack, n, mask, segment, probabilities) for segment, mask in masks.items()}
        for segment, (logits, changed) in _decided(masks, taken, chances).items():
            patch = patch_of(logits, plane, stack.volume, changed)
            patches[segment].append(patch)
            scores[segment].append(float(np.mean([a.score for p, a in taken if p.segment == segment] or [1.0])))
            yield compose(
                segments[segment],
                patch,
                score=scores[segment][-1],
                kept=kept.get(segment, NOTHING_KEPT),
                segment=segment,
            )
    tick("Refining", 1.0)
    for segment, mask in segments.items():
        score = float(np.mean(scores[segment])) if scores[segment] else 1.0
        result.proposals[segment] = compose(
            mask, joined(patches[segment]), score=score, kept=kept.get(segment, NOTHING_KEPT), segment=segment
        )
    return result


def _parts(masks: Mapping[str, np.ndarray], one_box: bool) -> tuple[list[_Part], list[tuple[str, int]]]:
    """The parts to be refined, each with a box a little larger than it, and the sizes of those that are too small."""
    from scipy.ndimage import label

    parts: list[_Part] = []
    small: list[tuple[str, int]] = []
    for segment, mask in masks.items():
        numbers, count = label(mask, _ANY_SIDE)
        sizes = np.bincount(numbers.ravel(), minlength=count + 1)[1:]
        least = max(_LEAST_PIXELS, _LEAST_PART * sizes.max(initial=0))
        large = np.flatnonzero(sizes >= least) + 1
        small.extend((segment, int(size)) for size in sizes if size < least)
        areas = [np.isin(numbers, large)] if one_box and len(large) else [numbers == number for number in large]
        parts.extend(_Part(segment, area, grown(tight(area), area.shape)) for area in areas)
    return parts, small


def _judged(n: int, part: _Part, answer: Answer, rule: AcceptRule) -> PartReport:
    found, coarse = answer.mask, part.mask
    area, its = int(found.sum()), int(coarse.sum())
    overlap = float((found & coarse).sum() / (found | coarse).sum())
    ratio = area / its
    inside = float((found & pixels_in(part.box, found.shape)).sum() / area) if area else 0.0
    low, high = rule.area_ratio
    if answer.score < rule.least_score:
        reason = "the model is not sure"
    elif overlap < rule.least_overlap:
        reason = "too different"
    elif not low <= ratio <= high:
        reason = "too small an answer" if ratio < low else "too large an answer"
    elif inside < rule.least_inside:
        reason = "outside its box"
    else:
        reason = ""
    return PartReport(n, part.segment, not reason, reason, its, float(answer.score), overlap, ratio, inside)


def _chances(
    stack: Stack, n: int, mask: np.ndarray, segment: str, probabilities: Mapping[str, np.ndarray] | None
) -> np.ndarray:
    """How much of a claim a segment has to each pixel: its coarse probability, or whether it had it."""
    if probabilities is None or segment not in probabilities:
        return mask.astype(np.float32)
    return cut(stack.volume.with_voxels(probabilities[segment]), stack.plane(n)).astype(np.float32)


def _decided(
    masks: Mapping[str, np.ndarray], taken: list[tuple[_Part, Answer]], chances: Mapping[str, np.ndarray]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """For each segment that changes on a slice its logits, and the pixels where they hold."""
    from scipy.ndimage import binary_dilation

    wanted, logits = {}, {}
    for segment, mask in masks.items():
        refined = [(part, answer) for part, answer in taken if part.segment == segment]
        stays = mask.copy()
        for part, _ in refined:
            stays &= ~part.mask
        wanted[segment] = np.logical_or.reduce([stays, *(answer.mask for _, answer in refined)])
        blank = np.where(stays, _SURELY, -_SURELY)
        logits[segment] = np.maximum.reduce([blank, *(answer.logits for _, answer in refined)]).astype(np.float32)
    names = list(masks)
    # What the model says decides only between equal claims.
    claims = np.stack([chances[s] + 1e-3 / (1 + np.exp(-logits[s])) for s in names])
    claims[~np.stack([wanted[s] for s in names])] = -1.0
    winner = claims.argmax(axis=0)
    # Segments that overlapped before may go on to; only what is new is a reason to decide between them.
    new = np.logical_or.reduce([wanted[s] & ~masks[s] for s in names])
    decided = {}
    for number, segment in enumerate(names):
        final = wanted[segment] & ((winner == number) | ~new)
        changed = final != masks[segment]
        if changed.any():
            # On a slanted slice a voxel may be seen by a pixel beside its own: neighbours are decided along with it.
            refined = [part.mask | answer.mask for part, answer in taken if part.segment == segment]
            changed = binary_dilation(np.logical_or.reduce([changed, *refined]), _ANY_SIDE)
            near = np.float32(0.01)
            said = np.where(final, np.maximum(logits[segment], near), np.minimum(logits[segment], -near))
            decided[segment] = said, changed
    return decided
