"""Ask a promptable model: prompts of one or many segments in, a Proposal for each out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.plane import put_back
from SSLSegmentationLib.progress import Tick, silent
from SSLSegmentationLib.prompting.boxes import PixelBox, filled_around
from SSLSegmentationLib.prompting.clicks import Placed, placed_on_planes
from SSLSegmentationLib.prompting.compose import NOTHING_KEPT, Kept, Patch, compose, joined, patch_of
from SSLSegmentationLib.prompting.embeddings import Embeddings
from SSLSegmentationLib.prompting.picture import Window, window_of
from SSLSegmentationLib.prompting.protocol import Answer, PixelPrompts, Promptable
from SSLSegmentationLib.prompting.stack import Stack, acquired, look
from SSLSegmentationLib.prompts import Prompt
from SSLSegmentationLib.proposal import NOTHING, Cropped, Proposal
from SSLSegmentationLib.volume import Volume

_SURELY = np.float32(20.0)


@dataclass(eq=False)
class _Question:
    """What is asked on one plane for one segment."""

    segment: str
    placed: Placed
    sets: list[PixelPrompts]
    corrected: Cropped
    """The parts of the segment on the plane that the answer takes the place of."""
    seen: np.ndarray
    """The pixels of these parts."""


def ask(
    volume: Volume,
    wanted: Mapping[str, Sequence[Prompt]],
    model: Promptable,
    *,
    segments: Mapping[str, Cropped] | None = None,
    window: Window | None = None,
    stack: Stack | None = None,
    kept: Mapping[str, Kept] | None = None,
    embeddings: Embeddings | None = None,
    tick: Tick = silent,
) -> dict[str, Proposal]:
    """What prompts suggest for each segment; every plane is encoded once for all of them.

    On each plane the parts of a segment that a prompt touches are corrected: the model is told of them, and its answer
    takes their place. Parts that no prompt touches stay. What was painted as not belonging is never in the result.
    Prompts that were not placed in a view lie on the slices of the stack, which are the acquired ones by default.
    """
    segments, kept = segments or {}, kept or {}
    window, stack = window or window_of(volume), stack or acquired(volume)
    embeddings = embeddings or Embeddings()
    tick("Looking", 0.0)
    questions = []
    for segment, prompts in wanted.items():
        if not prompts:
            raise InputError(f'There is no prompt for "{segment}": place at least one point or box.')
        asked = [
            _question(volume, segment, placed, segments.get(segment, NOTHING))
            for placed in placed_on_planes(volume, prompts, stack)
        ]
        if not any(question.sets or question.placed.erased.any() for question in asked):
            raise InputError(
                f'There is nothing of "{segment}" where the negative points are: place a positive point or a box first.'
            )
        questions.extend(asked)

    patches: dict[str, list[Patch]] = {segment: [] for segment in wanted}
    scores: dict[str, list[float]] = {segment: [] for segment in wanted}
    # Questions on the same plane one after the other, so that a plane is encoded once even in a small store.
    questions.sort(key=lambda question: question.placed.plane.pixel_to_ras.tobytes())
    for n, question in enumerate(questions):
        done = n / len(questions)
        tick("Looking", done)
        answers: list[Answer] = []
        if question.sets:
            within = _within(tick, done, len(questions))
            embedding = embeddings.of(model, volume, question.placed.plane, window, within)
            answers = model.decode(embedding, question.sets, within)
        patches[question.segment].append(_patch(volume, question, answers, segments.get(question.segment, NOTHING)))
        scores[question.segment].extend(answer.score for answer in answers)
    tick("Looking", 1.0)
    return {
        segment: compose(
            segments.get(segment, NOTHING),
            joined(patches[segment]),
            score=float(np.mean(scores[segment])) if scores[segment] else 1.0,
            kept=kept.get(segment, NOTHING_KEPT),
            segment=segment,
        )
        for segment in wanted
    }


def _question(volume: Volume, segment: str, placed: Placed, before: Cropped) -> _Question:
    parts = _parts(volume, placed, before)
    points, signs = np.array(placed.points).reshape(-1, 2), np.array(placed.signs, dtype=bool)
    sets, corrected, free = [], [], signs.copy()
    for box in placed.boxes:
        inside = _inside(points, box)
        area = np.zeros(placed.plane.shape, dtype=bool)
        left, top, right, bottom = (round(side) for side in box)
        area[top : bottom + 1, left : right + 1] = True
        # A part of the segment is what the box is about if most of it lies in the box.
        known = [part for part in parts if 2 * (part.seen & area).sum() > part.seen.sum()]
        mask = np.logical_or.reduce([placed.painted & area, *(part.seen for part in known)])
        used = inside | ~signs
        sets.append(PixelPrompts(points[used], signs[used], box, mask if mask.any() else None))
        corrected.extend(known)
        free &= ~inside
    # Positive points outside every box, and paint that no box holds, ask for something of their own.
    painted = placed.painted.copy()
    for left, top, right, bottom in placed.boxes:
        painted[round(top) : round(bottom) + 1, round(left) : round(right) + 1] = False
    known = [part for part in parts if part.touched(points) or (part.seen & painted).any()]
    mask = np.logical_or.reduce([painted, *(part.seen for part in known)])
    if free.any() or painted.any() or (known and not placed.boxes):
        used = free | ~signs
        sets.append(PixelPrompts(points[used], signs[used], None, mask if mask.any() else None))
        corrected.extend(known)
    seen = np.logical_or.reduce([np.zeros(placed.plane.shape, dtype=bool), *(part.seen for part in corrected)])
    voxels = NOTHING
    for part in corrected:
        voxels = voxels.patched(part.voxels.box, voxels.within(part.voxels.box) | part.voxels.bits)
    return _Question(segment, placed, sets, voxels, seen)


@dataclass(eq=False)
class _Part:
    """A connected part of a segment on a plane, in voxels and in pixels."""

    voxels: Cropped
    seen: np.ndarray

    def touched(self, points: np.ndarray) -> bool:
        columns, rows = np.floor(points + 0.5).astype(int).T
        rows, columns = (np.clip(at, 0, n - 1) for at, n in zip((rows, columns), self.seen.shape, strict=True))
        return bool(self.seen[rows, columns].any())


def _parts(volume: Volume, placed: Placed, before: Cropped) -> list[_Part]:
    from scipy.ndimage import find_objects, label

    # A voxel of the segment may be seen by a pixel beside its own, hence all pixels around.
    area = filled_around(look(before, placed.plane, volume))
    box, on_plane = put_back(area, placed.plane, volume)
    here = before.within(box) & on_plane
    if not here.any():
        return []
    numbers, _ = label(here, np.ones((3, 3, 3)))
    parts = []
    for number, at in enumerate(find_objects(numbers), start=1):
        place = tuple(slice(a.start + b.start, a.stop + b.start) for a, b in zip(at, box, strict=True))
        voxels = Cropped(place, numbers[at] == number)
        parts.append(_Part(voxels, look(voxels, placed.plane, volume)))
    return parts


def _patch(volume: Volume, question: _Question, answers: Sequence[Answer], before: Cropped) -> Patch:
    """What the answers make of the segment on the plane."""
    logits = np.full(question.placed.plane.shape, -_SURELY, dtype=np.float32)
    for answer in answers:
        np.maximum(logits, answer.logits, out=logits)
    logits[question.placed.erased] = -_SURELY
    concerned = (logits > 0) | question.seen | question.placed.erased
    patch = patch_of(logits, question.placed.plane, volume, filled_around(concerned))
    box, erased = put_back(question.placed.erased, question.placed.plane, volume)
    stays = before.within(patch.box) & ~question.corrected.within(patch.box) & ~Cropped(box, erased).within(patch.box)
    return Patch(patch.box, patch.known, patch.mask | (stays & patch.known), patch.uncertainty)


def _inside(points: np.ndarray, box: PixelBox) -> np.ndarray:
    left, top, right, bottom = box
    across = (points[:, 0] >= left - 0.5) & (points[:, 0] <= right + 0.5)
    return across & (points[:, 1] >= top - 0.5) & (points[:, 1] <= bottom + 0.5)


def _within(tick: Tick, start: float, count: int) -> Tick:
    """A Tick for one of several equal steps."""
    return lambda stage, part: tick("Looking", start + part / count)
