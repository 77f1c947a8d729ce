"""Models whose answers can be foretold: what is bright inside the box, around the click, or near the last mask."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from scipy.ndimage import binary_dilation, label

from SSLSegmentationLib.progress import Tick, silent
from SSLSegmentationLib.prompting.protocol import Answer, PixelPrompts


class Bright:
    """A Promptable: connected bright pixels in the box or under a positive point, without those under negative ones."""

    def __init__(self, threshold: int = 128, score: float = 0.9) -> None:
        self.key = f"bright-{threshold}"
        self.threshold = threshold
        self.score = score
        self.encoded = 0
        self.asked: list[PixelPrompts] = []

    def encode(self, picture: np.ndarray, tick: Tick = silent) -> np.ndarray:
        assert picture.dtype == np.uint8
        tick("Encoding", 0.0)
        self.encoded += 1
        return picture

    def decode(self, embedding: np.ndarray, prompts: Sequence[PixelPrompts], tick: Tick = silent) -> list[Answer]:
        tick("Answering", 0.0)
        self.asked.extend(prompts)
        return [Answer(_logits(self._mask(embedding, one)), self.score) for one in prompts]

    def bytes_of(self, embedding: np.ndarray) -> int:
        return embedding.nbytes

    def _mask(self, picture: np.ndarray, prompts: PixelPrompts) -> np.ndarray:
        bright = picture >= self.threshold
        if prompts.box is not None:
            left, top, right, bottom = prompts.box
            rows, columns = np.ogrid[: picture.shape[0], : picture.shape[1]]
            bright &= (columns >= left) & (columns <= right) & (rows >= top) & (rows <= bottom)
        parts, _ = label(bright)
        columns, rows = np.floor(np.asarray(prompts.points).reshape(-1, 2) + 0.5).astype(int).T
        under = parts[rows, columns]
        signs = np.asarray(prompts.positive, dtype=bool)
        wanted = set(under[signs]) - {0}
        if prompts.box is not None or (prompts.mask is not None and not wanted):
            wanted |= set(parts[prompts.mask] if prompts.mask is not None else parts[bright]) - {0}
        return np.isin(parts, sorted(wanted - set(under[~signs])))


class Pixel(Bright):
    """A Promptable that answers with the clicked pixels alone."""

    def _mask(self, picture: np.ndarray, prompts: PixelPrompts) -> np.ndarray:
        mask = np.zeros(picture.shape, dtype=bool)
        columns, rows = np.floor(prompts.points[prompts.positive] + 0.5).astype(int).T
        mask[rows, columns] = True
        return mask


class Spread:
    """A Spreader: bright pixels that hang together with those near the last mask; it forgets if it is called again."""

    def __init__(self, threshold: int = 128, reach: int = 2) -> None:
        self.threshold = threshold
        self.reach = reach
        self.calls: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
        """The order and the known slices of each call."""
        self.sizes: list[set[tuple[int, int]]] = []
        """The sizes of pictures in each call."""
        self.closed = 0

    def spread(
        self,
        picture: Callable[[int], np.ndarray],
        order: Sequence[int],
        known: Mapping[int, Mapping[str, np.ndarray]],
        tick: Tick = silent,
    ) -> Iterator[tuple[int, dict[str, Answer]]]:
        self.calls.append((tuple(order), tuple(sorted(known))))
        self.sizes.append({mask.shape for masks in known.values() for mask in masks.values()})
        last: dict[str, np.ndarray] = {}
        for n in sorted(known, key=lambda n: abs(n - order[0])):
            for segment, mask in known[n].items():
                last.setdefault(segment, mask)
        try:
            for n in order:
                tick("Encoding", 0.0)
                seen = picture(n)
                self.sizes[-1].add(seen.shape)
                parts, _ = label(seen >= self.threshold)
                answers = {}
                for segment, mask in last.items():
                    near = binary_dilation(mask, iterations=self.reach) if mask.any() else mask
                    found = np.isin(parts, sorted(set(parts[near]) - {0}))
                    # Surer of what was there before, so that two segments of one bright area can be told apart.
                    answers[segment] = Answer(_logits(found) + 2 * mask, 0.9 if found.any() else 0.0)
                surest = np.max([answer.logits for answer in answers.values()], axis=0)
                last = {s: answer.mask & (answer.logits == surest) for s, answer in answers.items()}
                yield n, answers
        finally:
            self.closed += 1


def _logits(mask: np.ndarray) -> np.ndarray:
    return np.where(mask, 8.0, -8.0).astype(np.float32)
