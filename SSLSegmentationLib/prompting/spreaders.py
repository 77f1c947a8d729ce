"""Spreaders for whoever has no video model: hand the mask on to a promptable model, or follow the grey values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from SSLSegmentationLib.progress import Tick, silent
from SSLSegmentationLib.prompting.between import inside_distance
from SSLSegmentationLib.prompting.boxes import grown, tight
from SSLSegmentationLib.prompting.protocol import Answer, PixelPrompts, Promptable

Allowed = Callable[[str, int], np.ndarray]
"""The pixels that a segment may take on a slice; others belong to somebody else."""

Known = Mapping[int, Mapping[str, np.ndarray]]

_SURELY = 20.0


class HandedOn:
    """Each slice's mask is, with a box around it, the prompt for the next slice."""

    def __init__(self, model: Promptable, allowed: Allowed) -> None:
        self._model = model
        self._allowed = allowed

    def spread(
        self, picture: Callable[[int], np.ndarray], order: Sequence[int], known: Known, tick: Tick = silent
    ) -> Iterator[tuple[int, dict[str, Answer]]]:
        last = nearest(known, order[0]) if order else {}
        for n in order:
            present = {segment: mask for segment, mask in last.items() if mask.any()}
            found = {}
            if present:
                embedding = self._model.encode(picture(n), tick)
                asked = [PixelPrompts(box=grown(tight(mask), mask.shape), mask=mask) for mask in present.values()]
                found = dict(zip(present, self._model.decode(embedding, asked), strict=True))
            for segment, mask in last.items():
                if segment not in found:
                    found[segment] = _nothing(mask.shape)
            last = {segment: found[segment].mask & self._allowed(segment, n) for segment in last}
            yield n, found


class GreyValues:
    """Follows what has the grey values of a segment and not those around it, near to where it was.

    No network: good for what stands out from its surroundings, such as bone, vessels with contrast, air, or a lesion in
    an even organ, and honest about the rest, where its score falls.
    """

    def __init__(self, allowed: Allowed, reach: float = 6.0) -> None:
        self._allowed = allowed
        self._reach = reach
        """Pixels that an outline may move from one slice to the next."""

    def spread(
        self, picture: Callable[[int], np.ndarray], order: Sequence[int], known: Known, tick: Tick = silent
    ) -> Iterator[tuple[int, dict[str, Answer]]]:
        last = nearest(known, order[0]) if order else {}
        odds = {segment: _odds(picture, known, segment) for segment in last}
        for n in order:
            tick("Following", 0.0)
            seen = _smooth(picture(n))
            found = {segment: self._follow(seen, last[segment], odds[segment]) for segment in last}
            last = {segment: found[segment].mask & self._allowed(segment, n) for segment in last}
            yield n, found

    def _follow(self, seen: np.ndarray, last: np.ndarray, odds: np.ndarray) -> Answer:
        from scipy.ndimage import gaussian_filter, label

        if not last.any():
            return _nothing(last.shape)
        # Where it was counts as much as how it looks: an outline that moves has to be paid for by what is seen.
        distance = inside_distance(last)
        prior = np.clip(distance, -2 * self._reach, 2 * self._reach) * (3.0 / self._reach)
        likeness = gaussian_filter(odds[seen], 0.7)
        logits = (likeness + prior).astype(np.float32)
        logits[distance < -self._reach] = -_SURELY
        parts, _ = label(logits > 0)
        touching = np.unique(parts[last & (parts > 0)])
        logits[(logits > 0) & ~np.isin(parts, touching)] = -1.0
        mask = logits > 0
        if not mask.any():
            return _nothing(last.shape)
        # How well what was found looks like the segment, and overlaps with where it was.
        alike = float(1 / (1 + np.exp(-likeness[mask].mean())))
        overlap = 2 * float((mask & last).sum()) / float(mask.sum() + last.sum())
        return Answer(logits, alike * min(1.0, overlap + 0.2))


def _odds(picture: Callable[[int], np.ndarray], known: Known, segment: str) -> np.ndarray:
    """For each grey the logarithm of how much likelier it is inside than around, bounded, over the known slices."""
    from scipy.ndimage import binary_dilation, gaussian_filter1d

    inside, outside = np.zeros(256), np.zeros(256)
    for n, masks in known.items():
        mask = masks.get(segment)
        if mask is None or not mask.any():
            continue
        seen = _smooth(picture(n))
        rim = binary_dilation(mask, iterations=max(3, round(0.5 * np.sqrt(mask.sum() / np.pi)))) & ~mask
        inside += np.bincount(seen[mask], minlength=256)
        outside += np.bincount(seen[rim], minlength=256)
    shares = []
    for counts in (inside, outside):
        wide = gaussian_filter1d(counts, 5.0, mode="constant") + 1e-3
        shares.append(wide / wide.sum())
    return np.clip(np.log(shares[0] / shares[1]), -4.0, 4.0)


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
