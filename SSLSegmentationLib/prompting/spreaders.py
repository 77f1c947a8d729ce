"""Spreaders for whoever has no video model: hand the mask on to a promptable model, or follow the grey values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from SSLSegmentationLib.progress import Tick, silent
from SSLSegmentationLib.prompting.between import inside_distance
from SSLSegmentationLib.prompting.boxes import grown, tight
from SSLSegmentationLib.prompting.protocol import Answer, PixelPrompts, Promptable

Allowed = Callable[[str, int], np.ndarray]
"""The pixels that a segment may take on a slice; others belong to somebody else."""

Known = Mapping[int, Mapping[str, np.ndarray]]

_SURELY = 20.0
_SURE = 6.0  # more than this a model may not say: it is never so sure that nothing else would count
_LARGE = 200  # pixels


class HandedOn:
    """Each slice's mask is, with a box around it, the prompt for the next slice; what is seen there counts as well.

    A model that sees one slice does not know what the segment looked like where it was drawn, and drifts. Its logits,
    twice the odds of the grey values, and half of what is known of the place together are far better than the model or
    the grey values alone: docs/models.md has figures.
    """

    def __init__(self, model: Promptable, allowed: Allowed) -> None:
        self._model = model
        self._allowed = allowed

    def spread(
        self, picture: Callable[[int], np.ndarray], order: Sequence[int], known: Known, tick: Tick = silent
    ) -> Iterator[tuple[int, dict[str, Answer]]]:
        last = nearest(known, order[0]) if order else {}
        looks = {segment: _looks(picture, known, segment) for segment in last}
        for n in order:
            present = {segment: mask for segment, mask in last.items() if mask.any()}
            found = {segment: _nothing(mask.shape) for segment, mask in last.items()}
            if present:
                seen = picture(n)
                embedding = self._model.encode(seen, tick)
                asked = [PixelPrompts(box=grown(tight(mask), mask.shape), mask=mask) for mask in present.values()]
                smooth = _smooth(seen)
                for segment, answer in zip(present, self._model.decode(embedding, asked, tick), strict=True):
                    told = np.clip(answer.logits, -_SURE, _SURE) + 2.0 * _likeness(smooth, looks[segment])
                    found[segment] = Answer(_placed(told, last[segment], prior=0.5, farthest=2.0), answer.score)
            last = {segment: found[segment].mask & self._allowed(segment, n) for segment in last}
            yield n, found


@dataclass(frozen=True, eq=False)
class _Looks:
    """How a segment looks on its known slices."""

    inside: np.ndarray
    """Share of each of the 256 greys."""
    odds: np.ndarray
    """For each grey the logarithm of how much likelier it is inside than around, bounded."""
    area: int
    """Pixels on the largest known slice."""


class GreyValues:
    """Follows what has the grey values of a segment and not those around it, near to where it was.

    No network: good for what stands out from its surroundings, such as bone, vessels with contrast, air, or a lesion in
    an even organ, and honest about the rest, where its score falls.
    """

    def __init__(self, allowed: Allowed) -> None:
        self._allowed = allowed

    def spread(
        self, picture: Callable[[int], np.ndarray], order: Sequence[int], known: Known, tick: Tick = silent
    ) -> Iterator[tuple[int, dict[str, Answer]]]:
        last = nearest(known, order[0]) if order else {}
        looks = {segment: _looks(picture, known, segment) for segment in last}
        for n in order:
            tick("Following", 0.0)
            seen = _smooth(picture(n))
            found = {segment: _followed(seen, last[segment], looks[segment]) for segment in last}
            last = {segment: found[segment].mask & self._allowed(segment, n) for segment in last}
            yield n, found


def _followed(seen: np.ndarray, last: np.ndarray, looks: _Looks) -> Answer:
    """The segment on a picture, given where it was on the one before."""
    if not last.any():
        return _nothing(last.shape)
    likeness = _likeness(seen, looks)
    logits = _placed(likeness, last, prior=1.0, farthest=1.0)
    mask = logits > 0
    if not mask.any():
        return _nothing(last.shape)
    return Answer(logits, _score(seen, mask, likeness, looks))


def _likeness(seen: np.ndarray, looks: _Looks) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(looks.odds[seen], 0.7)


def _placed(evidence: np.ndarray, last: np.ndarray, *, prior: float, farthest: float) -> np.ndarray:
    """Logits of what is seen on a slice and of where the segment was on the one before."""
    from scipy.ndimage import binary_opening, label

    # Where it was counts as much as how it looks: an outline that moves has to be paid for by what is seen. How far it
    # may move goes with its size, or a vessel could become an organ within a few slices.
    reach = float(np.clip(0.3 * np.sqrt(last.sum() / np.pi), 1.5, 6.0))
    distance = inside_distance(last)
    logits = (evidence + prior * np.clip(distance, -2 * reach, 2 * reach) * (3.0 / reach)).astype(np.float32)
    logits[distance < -farthest * reach] = -_SURELY
    # Bridges of one or two pixels are vessels and partial volumes, over which a large segment would creep.
    if last.sum() > _LARGE:
        logits[(logits > 0) & ~binary_opening(logits > 0, iterations=2)] = -0.5
    parts, _ = label(logits > 0)
    # A part that only grazes where the segment was is something else.
    sizes = np.bincount(parts.ravel())
    met = np.bincount(parts[last], minlength=len(sizes)) >= 0.25 * sizes
    met[0] = False
    logits[(logits > 0) & ~met[parts]] = -1.0
    return logits


def _score(seen: np.ndarray, mask: np.ndarray, likeness: np.ndarray, looks: _Looks) -> float:
    """Falls where the outline is not to be seen, where the greys become others, and where the area has grown a lot.

    The first is Youden's index of telling the mask from what lies around it: once an outline has drifted into something
    alike, it is held by where it was alone.
    """
    from scipy.ndimage import binary_dilation

    rim = binary_dilation(mask, iterations=4) & ~binary_dilation(mask)
    if not rim.any():
        return 0.0
    told_apart = float((likeness[mask] > 0).mean() + (likeness[rim] <= 0).mean() - 1)
    same_greys = float(np.minimum(looks.inside, _shares(np.bincount(seen[mask], minlength=256))).sum())
    return max(0.0, told_apart) * same_greys * min(1.0, 2.0 * looks.area / float(mask.sum()))


def _looks(picture: Callable[[int], np.ndarray], known: Known, segment: str) -> _Looks:
    from scipy.ndimage import binary_dilation

    inside, outside, area = np.zeros(256), np.zeros(256), 0
    for n, masks in known.items():
        mask = masks.get(segment)
        if mask is None or not mask.any():
            continue
        seen = _smooth(picture(n))
        rim = binary_dilation(mask, iterations=max(3, round(0.5 * np.sqrt(mask.sum() / np.pi)))) & ~mask
        inside += np.bincount(seen[mask], minlength=256)
        outside += np.bincount(seen[rim], minlength=256)
        area = max(area, int(mask.sum()))
    inside, outside = _shares(inside), _shares(outside)
    return _Looks(inside, np.clip(np.log(inside / outside), -4.0, 4.0), area)


def _shares(counts: np.ndarray) -> np.ndarray:
    """Of all; a little is lent to greys nearby, and to those that were not seen at all."""
    from scipy.ndimage import gaussian_filter1d

    wide = gaussian_filter1d(counts.astype(float), 5.0, mode="constant") + 1e-3
    return wide / wide.sum()


def _smooth(seen: np.ndarray) -> np.ndarray:
    from scipy.ndimage import median_filter

    return median_filter(seen, size=3)


def nearest(known: Known, place: int) -> dict[str, np.ndarray]:
    """For each segment its mask on the known slice nearest to a place."""
    found: dict[str, np.ndarray] = {}
    for n in sorted(known, key=lambda n: (abs(n - place), n)):
        for segment, mask in known[n].items():
            found.setdefault(segment, mask)
    return found


def _nothing(shape: tuple[int, int]) -> Answer:
    return Answer(np.full(shape, -_SURELY, dtype=np.float32), 0.0)
