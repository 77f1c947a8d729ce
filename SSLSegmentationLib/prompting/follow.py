"""Follow segments in one direction, slice by slice, until each has ended, leaked, or come to the end of the way."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

import numpy as np

from SSLSegmentationLib.progress import Tick
from SSLSegmentationLib.prompting.crops import Crop, larger, near_border
from SSLSegmentationLib.prompting.protocol import Answer, Spreader
from SSLSegmentationLib.prompting.spreaders import Allowed, nearest
from SSLSegmentationLib.prompting.stopping import DOUBTFUL, StopRule, Watch

Masks = Mapping[str, np.ndarray]
Step = tuple[int, Crop, dict[str, Answer]]
"""A slice, the part of it that was looked at, and the answers there."""

_REMEMBERED = 3  # found slices that are given as known when the crop has grown: as many as a memory is mostly made of
_NO = np.float32(-20.0)


def follow(
    spreader: Callable[[Allowed], Spreader],
    picture: Callable[[int, Crop], np.ndarray],
    order: Sequence[int],
    known: Mapping[int, Masks],
    *,
    rule: StopRule,
    allowed: Allowed,
    crop: Crop,
    tick: Tick,
) -> Generator[Step, None, dict[str, str]]:
    """The answers that can be trusted, and at the end for each segment why it was not followed further.

    `known` and `allowed` are of whole slices; the answers are of the crop that comes with them. Answers that may lie
    beyond the object's end are held back until a good one follows. What comes near the border of the crop is asked
    again in a larger one before it is judged, so that a crop never hides a leak.
    """
    shape = next(iter(next(iter(known.values())).values())).shape
    begin = nearest(known, order[0])
    state = _Following({s: Watch(rule, int(mask.sum())) for s, mask in begin.items()}, shape)
    position = 0
    while position < len(order) and not state.over:
        told = {
            n: {segment: crop.of(mask) for segment, mask in masks.items() if segment not in state.ends}
            for n, masks in {**known, **state.recent}.items()
        }

        def seen(n: int, crop: Crop = crop) -> np.ndarray:
            return picture(n, crop)

        def free(segment: str, n: int, crop: Crop = crop) -> np.ndarray:
            return crop.of(allowed(segment, n))

        answers = iter(spreader(free).spread(seen, order[position:], told, tick))
        wider = None
        try:
            for n, found in answers:
                mine = _apart({s: _limited(one, free(s, n)) for s, one in found.items() if s not in state.ends})
                near = [answer.mask for answer in mine.values() if near_border(answer.mask, crop, shape)]
                if near:
                    wider = larger(crop, np.logical_or.reduce(near), shape)
                    break
                position += 1
                yield from state.judged(n, crop, mine)
                if state.over:
                    break
        finally:
            # Spreaders are generators; what they hold is freed now and not when somebody collects them.
            getattr(answers, "close", lambda: None)()
        if wider is None:
            break
        crop = wider
    return state.ends


class _Following:
    """How far each segment has been followed."""

    def __init__(self, watches: dict[str, Watch], shape: tuple[int, int]) -> None:
        self._watches = watches
        self._shape = shape
        self._held: dict[str, list[tuple[int, Crop, Answer]]] = {segment: [] for segment in watches}
        self.ends: dict[str, str] = {}
        self.recent: dict[int, dict[str, np.ndarray]] = {}
        """The last good masks, on whole slices."""

    @property
    def over(self) -> bool:
        return len(self.ends) == len(self._watches)

    def judged(self, n: int, crop: Crop, answers: Mapping[str, Answer]) -> Iterator[Step]:
        """What can be trusted now: the good answers of this slice, after those before them that were held back."""
        good: dict[str, Answer] = {}
        for segment, answer in answers.items():
            verdict = self._watches[segment].see(int(answer.mask.sum()), answer.score)
            if verdict is None:
                good[segment] = answer
            elif verdict == DOUBTFUL:
                self._held[segment].append((n, crop, answer))
            else:
                self.ends[segment] = verdict
        for segment in good:
            for earlier, its_crop, answer in self._held[segment]:
                yield earlier, its_crop, {segment: answer}
            self._held[segment].clear()
        if good:
            self.recent[n] = {s: crop.back(answer.mask, self._shape, False) for s, answer in good.items()}
            for old in list(self.recent)[:-_REMEMBERED]:
                del self.recent[old]
            yield n, crop, good


def _limited(answer: Answer, free: np.ndarray) -> Answer:
    return answer if free.all() else Answer(np.where(free, answer.logits, _NO), answer.score)


def _apart(answers: dict[str, Answer]) -> dict[str, Answer]:
    """Where several segments want a pixel, the one that is surest of it has it."""
    if len(answers) < 2:
        return answers
    logits = np.stack([answer.logits for answer in answers.values()])
    winner = logits.argmax(axis=0)
    return {
        segment: Answer(np.where(winner == n, logits[n], np.minimum(logits[n], -0.01)).astype(np.float32), answer.score)
        for n, (segment, answer) in enumerate(answers.items())
    }
