"""Sets of prompts as tensors: those of one make are answered by the decoder in one go."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from SSLSegmentationLib.progress import Tick, silent
from SSLSegmentationLib.prompting.protocol import Answer, PixelPrompts

if TYPE_CHECKING:
    from torch import Tensor

_AT_ONCE = 8  # sets of prompts; each takes tens of megabytes while it is decoded
_AT_ONCE_ON_CPU = 1  # where more at once are no faster, since they leave the caches

_SURE = 10.0  # the logit of a painted pixel, as SAM 2 takes a mask that it is told


@dataclass(frozen=True, eq=False)
class Batch:
    """Sets of prompts of one make: as many points each, all or none with a box, all or none with a mask."""

    places: list[int]
    """Where they stand among all that were asked."""
    points: Tensor | None
    """(sets, points, 2) columns and rows, in pixels of the picture."""
    labels: Tensor | None
    """(sets, points) 1 for positive, 0 for negative."""
    boxes: Tensor | None
    """(sets, 2, 2) first and last corner."""
    masks: Tensor | None
    """(sets, 1, rows, columns), 0 or 1, at the size of the picture."""

    @property
    def ambiguous(self) -> bool:
        """A single click may mean a part or the whole: then several answers are asked for and the best is taken."""
        return self.points is not None and self.points.shape[1] == 1 and self.boxes is None and self.masks is None


def answer_all(
    prompts: Sequence[PixelPrompts],
    shape: tuple[int, int],
    device: str,
    decode: Callable[[Batch], tuple[Tensor, Tensor]],
    tick: Tick = silent,
) -> list[Answer]:
    """The answers in the order of the prompts; `decode` gives (sets, masks, rows, columns) logits and their scores."""
    answers: dict[int, Answer] = {}
    for batch in batches(prompts, shape, device):
        tick("Answering", len(answers) / len(prompts))
        logits, scores = decode(batch)
        for place, logit, score in zip(batch.places, logits.cpu().numpy(), scores.cpu().numpy(), strict=True):
            answers[place] = Answer(logit, float(np.clip(score, 0.0, 1.0)))
    return [answers[place] for place in range(len(prompts))]


def batches(prompts: Sequence[PixelPrompts], shape: tuple[int, int], device: str) -> Iterator[Batch]:
    groups: dict[tuple[int, bool, bool], list[int]] = {}
    for place, prompt in enumerate(prompts):
        check_prompts(prompt, shape, place)
        make = len(prompt.points), prompt.box is not None, prompt.mask is not None
        groups.setdefault(make, []).append(place)
    for places in groups.values():
        size = _AT_ONCE_ON_CPU if device == "cpu" else _AT_ONCE
        for start in range(0, len(places), size):
            some = places[start : start + size]
            yield _batch([prompts[place] for place in some], some, device)


def check_prompts(prompt: PixelPrompts, shape: tuple[int, int], place: int) -> None:
    """Refuse a set of prompts that cannot be meant for a picture of this shape."""
    if not len(prompt.points) and prompt.box is None and prompt.mask is None:
        raise ValueError(f"set {place} of the prompts is empty")
    if len(prompt.points) != len(prompt.positive):
        raise ValueError(f"{len(prompt.points)} points cannot have {len(prompt.positive)} signs")
    if prompt.mask is not None and prompt.mask.shape != shape:
        raise ValueError(f"a mask of {prompt.mask.shape} pixels does not fit a picture of {shape}")


def best_of(logits: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """Of several masks for each set the one that the model thinks best: (sets, 1, rows, columns) and (sets,)."""
    import torch

    best, rows = scores.argmax(dim=1), torch.arange(len(scores), device=scores.device)
    return logits[rows, best][:, None], scores[rows, best]


def as_logits(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Painted masks at the size a mask prompt has; between painted and not the logits pass through zero."""
    import torch

    small = torch.nn.functional.interpolate(masks, size, mode="bilinear", align_corners=False, antialias=True)
    return small * (2 * _SURE) - _SURE


def _batch(prompts: list[PixelPrompts], places: list[int], device: str) -> Batch:
    import torch

    def tensor(values: list[np.ndarray]) -> Tensor:
        return torch.as_tensor(np.stack(values), dtype=torch.float32).to(device)

    first = prompts[0]
    return Batch(
        places,
        tensor([p.points for p in prompts]) if len(first.points) else None,
        tensor([p.positive for p in prompts]).int() if len(first.points) else None,
        tensor([np.reshape(p.box, (2, 2)) for p in prompts]) if first.box is not None else None,
        tensor([np.asarray(p.mask, dtype=bool)[None] for p in prompts]) if first.mask is not None else None,
    )
