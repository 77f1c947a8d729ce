"""Seeing when features collapse: when every image gets the same vector, which methods without negatives reward."""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from trainer.parts.contrast import unit

ALARM = 0.5

_log = logging.getLogger(__name__)


def spread(vectors: Tensor) -> Tensor:
    """√d × the standard deviation over rows of the normalised vectors, mean over their d channels.

    0 where all point the same way, 1 where they point everywhere alike. Below `ALARM` it is time to look.
    """
    if len(vectors) < 2:
        return torch.ones((), device=vectors.device)
    rows = unit(vectors.detach())
    return rows.std(0, correction=0).mean() * rows.shape[1] ** 0.5


class CollapseGuard:
    """Says once that features have collapsed, after a tenth of the training, in which they may still unfold."""

    def __init__(self, steps: int, *, every: int = 50) -> None:
        self.first, self.every, self.told = steps // 10, every, False

    def look(self, spreads: dict[str, Tensor], step: int) -> None:
        """Looks only now and then, since reading a number makes a GPU wait."""
        if self.told or step < self.first or step % self.every:
            return
        for name, value in spreads.items():
            if float(value) < ALARM:
                self.told = True
                _log.warning(
                    "Step %d: the %s spread over %.2f of what is possible, which tells images hardly apart: "
                    "more images in a batch, a lower learning rate or a slower teacher may help.",
                    step,
                    name.replace("_", " "),
                    float(value),
                )
                return
