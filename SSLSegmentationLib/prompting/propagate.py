"""Spread what is drawn on one or several slices through the scan, both ways or one way, until the object ends."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise

import numpy as np

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.progress import Tick, silent
from SSLSegmentationLib.prompting import crops
from SSLSegmentationLib.prompting.assemble import Drawn, assembled, share_out
from SSLSegmentationLib.prompting.between import between
from SSLSegmentationLib.prompting.boxes import filled_around
from SSLSegmentationLib.prompting.compose import NOTHING_KEPT, Kept, Patch, around, compose, patch_of
from SSLSegmentationLib.prompting.crops import Crop
from SSLSegmentationLib.prompting.follow import follow
from SSLSegmentationLib.prompting.picture import Window, picture, window_of
from SSLSegmentationLib.prompting.protocol import Promptable, Spreader
from SSLSegmentationLib.prompting.spreaders import Allowed, GreyValues, HandedOn
from SSLSegmentationLib.prompting.stack import Stack, part_of
from SSLSegmentationLib.prompting.stopping import BORDER, LEAKED, MET, StopRule
from SSLSegmentationLib.proposal import Cropped, End, Proposal

_THIN_MM = 1.5  # slices up to this far apart may be looked at one by one …
_MOST_FRAMES = 200  # … if there are not more than this
_LEAKED_DOUBT = 0.5  # of the last slice before a leak, at least
_MOST_SEEDS = 8  # known slices that a model is told of at once: each takes memory and time for as long as it follows

BOTH, UP, DOWN = "both", "up", "down"
DIRECTIONS = (BOTH, UP, DOWN)
"""Up is where the numbers of the slices grow."""

_MODEL_RULE = StopRule()
_GREY_RULE = StopRule(least_score=0.5)
"""Grey values lead astray more easily than a model does."""


def usual_rule(model: Spreader | Promptable | None, max_frames: int | None = None) -> StopRule:
    """When to stop following with this model, or with grey values alone, at the latest after so many slices."""
    return replace(_GREY_RULE if model is None else _MODEL_RULE, max_frames=max_frames)


@dataclass(eq=False)
class Propagation:
    proposals: dict[str, Proposal]
    ends: list[End] = field(default_factory=list)
    slices: dict[str, list[int]] = field(default_factory=dict)
    """For each segment the slices it was found on, without the known ones."""


@dataclass(eq=False)
class _Found:
    patch: Patch
    score: float
    crop: Crop
    mask: np.ndarray


@dataclass(frozen=True)
class _Pass:
    """From a known slice, in one direction."""

    start: int
    order: tuple[int, ...]

    @property
    def step(self) -> int:
        return 1 if self.order[0] > self.start else -1


def propagate(
    stack: Stack,
    segments: Mapping[str, Cropped],
    slices: Sequence[int],
    model: Spreader | Promptable | None = None,
    *,
    window: Window | None = None,
    rule: StopRule | None = None,
    direction: str = BOTH,
    crop: bool = True,
    stride: int | None = None,
    redo: int | None = None,
    kept: Mapping[str, Kept] | None = None,
    tick: Tick = silent,
) -> Generator[Proposal, None, Propagation]:
    """Follow the segments from the slices on which they are known to the rest of the stack.

    A slice is a known one for each segment that has voxels on it, and these are kept to the last voxel. Slices between
    two known ones are found from the nearer; where the way from there ends early, the other goes on to meet it. With
    one `direction` each known slice is followed that way only, and the segment stays as it is on its other side.

    What hangs together with the known slices is replaced by what is found; parts of a segment that lie apart stay. With
    `redo`, a known slice that was corrected, only what lies beyond it is done again, seen from the next known one, and
    what an earlier run put there is taken away also where nothing is found any more.

    Every slice is yielded as a Proposal as soon as it is found; the whole Proposals come at the end. `stride` looks at
    each second (third, …) slice only, and draws the others between; by default it does so for many thin slices. Without
    a model the grey values are followed; a model that only takes prompts is handed each slice's mask for the next.
    """
    if direction not in DIRECTIONS:
        raise InputError(f"{direction} is no direction: choose {', '.join(DIRECTIONS[:-1])} or {DIRECTIONS[-1]}.")
    kept = kept or {}
    rule = rule or usual_rule(model)
    window = window or window_of(stack.volume)
    groups = _groups(stack, segments, slices, redo)
    drawn = {
        segment: Drawn(stack, segments[segment], seeds, tick) for seeds, names in groups.items() for segment in names
    }
    kept = {segment: _with_drawn(kept.get(segment, NOTHING_KEPT), segment, drawn) for segment in drawn}
    ways = {seeds: _passes(seeds, stack, stride, redo, direction) for seeds in groups}
    count = sum(len(one.order) for passes in ways.values() for one in passes)
    allowed = _allowed(stack, segments, kept)
    result = Propagation({})
    found: dict[str, dict[int, _Found]] = {segment: {} for segment in drawn}

    def looked(n: int, at: Crop) -> np.ndarray:
        return picture(stack.volume, part_of(stack.plane(n), at.rows, at.columns), window)

    done, count = 0, max(1, count)
    for seeds, names in groups.items():
        known = {n: {segment: stack.look(segments[segment], n) for segment in names} for n in seeds}
        shape = stack.first.shape
        start_crop = crops.around((m for masks in known.values() for m in masks.values()), shape)
        for one in ways[seeds]:
            order = _still_wanted(one, names, found)
            if not order:
                continue
            steps = follow(
                lambda free: _spreader(model, free),
                looked,
                order,
                _nearest_seeds(known, order),
                rule=rule,
                allowed=allowed,
                crop=start_crop if crop else crops.whole(shape),
                tick=lambda _stage, _part, done=done: tick("Following", min(1.0, done / count)),
            )
            ends: dict[str, str] = {}
            while True:
                tick("Following", min(1.0, done / count))
                try:
                    n, at, answers = next(steps)
                except StopIteration as end:
                    ends = end.value
                    break
                for segment, answer in answers.items():
                    if n in found[segment]:
                        continue
                    patch = patch_of(
                        answer.logits,
                        part_of(stack.plane(n), at.rows, at.columns),
                        stack.volume,
                        filled_around(answer.mask),
                    )
                    found[segment][n] = _Found(patch.trimmed(), answer.score, at, answer.mask)
                    yield _partial(segments[segment], found[segment][n], kept[segment], segment)
                done += 1
            for segment in names:
                yield from _fill(stack, segment, segments[segment], one, known, found[segment], kept[segment])
                result.ends.append(_end(segment, one, seeds, found[segment], ends.get(segment)))
    share_out(drawn, {segment: {n: one.patch for n, one in its.items()} for segment, its in found.items()})
    for segment, its in found.items():
        whole = assembled(
            drawn[segment],
            {n: one.patch for n, one in its.items()},
            _redone(segment, groups, stack, redo, direction),
            tick,
        )
        areas = np.array([max(1, int(one.patch.mask.sum())) for one in its.values()])
        scores = np.array([one.score for one in its.values()])
        score = float((scores * areas).sum() / areas.sum()) if len(its) else 1.0
        result.proposals[segment] = compose(segments[segment], whole, score=score, kept=kept[segment], segment=segment)
        result.slices[segment] = sorted(its)
    tick("Following", 1.0)
    return result


def _groups(
    stack: Stack, segments: Mapping[str, Cropped], slices: Sequence[int], redo: int | None
) -> dict[tuple[int, ...], list[str]]:
    """Segments by the slices they are known on: those of a group are followed together."""
    wanted = sorted(set(slices) | ({redo} if redo is not None else set()))
    for n in wanted:
        if not 0 <= n < stack.count:
            raise InputError(f"There is no slice {n}: choose from 0 to {stack.count - 1}.")
    if not wanted or not segments:
        raise InputError("There is nothing to follow: name a segment and a slice on which it is drawn.")
    groups: dict[tuple[int, ...], list[str]] = {}
    for segment in sorted(segments):
        touched = set(stack.touched(segments[segment]))
        seeds = tuple(n for n in wanted if n in touched)
        if not seeds or (redo is not None and redo not in seeds):
            missing = [redo] if redo is not None else wanted
            where = ", ".join(str(n) for n in missing)
            drawn = f"it is on {min(touched)} to {max(touched)}" if touched else "it is empty"
            raise InputError(f'"{segment}" is not drawn on slice {where} ({drawn}): draw it there, or name another.')
        groups.setdefault(seeds, []).append(segment)
    return groups


def _passes(seeds: tuple[int, ...], stack: Stack, stride: int | None, redo: int | None, direction: str) -> list[_Pass]:
    """The ways to go: from known slices outwards, and between two of them from both sides to the middle.

    The second way between two known slices is the whole gap, so that it can go on where the first has ended early; and
    so is the only one, where one direction is wanted.
    """
    passes = []
    for low, high in zip((-1, *seeds), (*seeds, stack.count), strict=True):
        if redo is not None and not _beyond(redo, seeds, low, high):
            continue
        step = stride or _stride(stack, high - low - 1)
        if low == -1:
            passes.append(_Pass(high, tuple(range(high - step, -1, -step))))
        elif high == stack.count:
            passes.append(_Pass(low, tuple(range(low + step, high, step))))
        else:
            middle = (low + high) // 2 if direction == BOTH else high - 1
            passes.append(_Pass(low, tuple(range(low + step, middle + 1, step))))
            passes.append(_Pass(high, tuple(range(high - step, low, -step))))
    return [one for one in passes if one.order and direction in (BOTH, UP if one.step > 0 else DOWN)]


def _beyond(redo: int, seeds: tuple[int, ...], low: int, high: int) -> bool:
    """Whether the gap from `low` to `high` lies beyond the corrected slice, seen from the nearest other known one."""
    if redo not in (low, high):
        return False
    others = [n for n in seeds if n != redo]
    if not others:
        return True
    came_from = min(others, key=lambda n: (abs(n - redo), n))
    return (high == redo) if came_from > redo else (low == redo)


def _redone(
    segment: str, groups: Mapping[tuple[int, ...], list[str]], stack: Stack, redo: int | None, direction: str
) -> list[int]:
    """The slices that a correction makes void, whether or not something is found on them now."""
    if redo is None:
        return []
    seeds = next(seeds for seeds, names in groups.items() if segment in names)
    return [
        n
        for low, high in zip((-1, *seeds), (*seeds, stack.count), strict=True)
        if _beyond(redo, seeds, low, high) and direction in (BOTH, UP if low == redo else DOWN)
        for n in range(low + 1, high)
    ]


def _stride(stack: Stack, count: int) -> int:
    return max(1, min(-(-count // _MOST_FRAMES), int(_THIN_MM / stack.step_mm)))


def _still_wanted(one: _Pass, names: Sequence[str], found: Mapping[str, Mapping[int, _Found]]) -> list[int]:
    """A way without its far end that all segments have been found on from the other side."""
    order = list(one.order)
    while order and all(order[-1] in found[segment] for segment in names):
        order.pop()
    return order


def _nearest_seeds(known: Mapping[int, Mapping[str, np.ndarray]], order: Sequence[int]) -> dict:
    """The known slices nearest to a way, that it begins at among them."""
    ends = order[0], order[-1]
    return {n: known[n] for n in sorted(known, key=lambda n: min(abs(n - end) for end in ends))[:_MOST_SEEDS]}


def _spreader(model: Spreader | Promptable | None, free: Allowed) -> Spreader:
    if model is None:
        return GreyValues(free)
    return model if hasattr(model, "spread") else HandedOn(model, free)


def _allowed(stack: Stack, segments: Mapping[str, Cropped], kept: Mapping[str, Kept]) -> Allowed:
    """The pixels a segment may take on a slice."""
    forbidden = {}
    for segment, its in kept.items():
        box = around([its.locked.box, *(neighbour.box for neighbour in its.neighbours)])
        forbidden[segment] = Cropped(box, its.forbids(box) & ~segments[segment].within(box)).tight()

    @lru_cache(maxsize=16)
    def allowed(segment: str, n: int) -> np.ndarray:
        return ~stack.look(forbidden[segment], n)

    return allowed


def _with_drawn(kept: Kept, segment: str, drawn: Mapping[str, Drawn]) -> Kept:
    """What the user drew of the other segments is a neighbour too."""
    others = [other.seeds for name, other in drawn.items() if name != segment]
    return Kept(kept.locked, (*kept.neighbours, *others))


def _partial(before: Cropped, one: _Found, kept: Kept, segment: str) -> Proposal:
    return compose(before, one.patch.adding(before), score=one.score, kept=kept, segment=segment)


def _fill(
    stack: Stack,
    segment: str,
    before: Cropped,
    one: _Pass,
    known: Mapping[int, Mapping[str, np.ndarray]],
    found: dict[int, _Found],
    kept: Kept,
) -> Iterator[Proposal]:
    """The slices that were stepped over, between those on both sides of them."""
    stride = abs(one.order[0] - one.start)
    if stride == 1:
        return
    rows, columns = (float(np.linalg.norm(stack.first.pixel_to_ras[:3, axis])) for axis in (1, 0))
    masks = {n: masks[segment] for n, masks in known.items()}
    shape = stack.first.shape
    there = sorted({*masks, *found})
    for low, high in pairwise(there):
        if not 1 < high - low <= stride:
            continue
        ends = [masks[n] if n in masks else found[n].crop.back(found[n].mask, shape, False) for n in (low, high)]
        at = crops.around(ends, shape)
        score = float(np.mean([found[n].score for n in (low, high) if n in found] or [1.0]))
        for n in range(low + 1, high):
            distance = between(at.of(ends[0]), at.of(ends[1]), (n - low) / (high - low), (rows, columns))
            # Half a pixel from the outline the chances are about three to one.
            logits = np.clip(2.0 * distance / min(rows, columns), -20, 20).astype(np.float32)
            patch = patch_of(
                logits, part_of(stack.plane(n), at.rows, at.columns), stack.volume, filled_around(logits > 0)
            )
            found[n] = _Found(patch.trimmed(), score, at, logits > 0)
            yield _partial(before, found[n], kept, segment)


def _end(segment: str, one: _Pass, seeds: tuple[int, ...], found: dict[int, _Found], reason: str | None) -> End:
    """Say where it ended, and doubt the last slice before a leak."""
    last = one.start
    while last + one.step in found:
        last += one.step
    if reason == LEAKED and last in found:
        patch = found[last].patch
        sure = np.where(patch.mask, np.float32(_LEAKED_DOUBT), np.float32(0.0))
        found[last].patch = Patch(patch.box, patch.known, patch.mask, np.maximum(patch.uncertainty, sure))
    ahead = [n for n in seeds if (n - one.start) * one.step > 0]
    return End(segment, one.step, one.start, last, reason or (MET if ahead else BORDER))
