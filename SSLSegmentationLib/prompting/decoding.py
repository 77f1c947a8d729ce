"""What promptable models have in common: embeddings that are kept, and of SAM and SAM 2 how prompts are answered."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from SSLSegmentationLib.progress import Tick, silent
from SSLSegmentationLib.prompting.batches import Batch, answer_all
from SSLSegmentationLib.prompting.encoders import Embedded
from SSLSegmentationLib.prompting.protocol import Answer, PixelPrompts

if TYPE_CHECKING:
    from torch import Tensor


class Embeds:
    """A model whose embeddings are feature maps, which can be measured and written down."""

    def __init__(self, device: str) -> None:
        self._device = device

    def bytes_of(self, embedding: Embedded) -> int:
        return embedding.bytes

    def arrays_of(self, embedding: Embedded) -> dict[str, np.ndarray]:
        return embedding.arrays()

    def from_arrays(self, arrays: dict[str, np.ndarray]) -> Embedded:
        return Embedded.of(arrays, self._device)


class Decoding(Embeds, ABC):
    @abstractmethod
    def _answers(self, embedding: Embedded, batch: Batch) -> tuple[Tensor, Tensor]:
        """(sets, rows, columns) logits at the size of the picture, and their scores."""

    def decode(self, embedding: Embedded, prompts: Sequence[PixelPrompts], tick: Tick = silent) -> list[Answer]:
        import torch

        def answer(batch: Batch) -> tuple[Tensor, Tensor]:
            with torch.inference_mode():
                return self._answers(embedding, batch)

        return answer_all(prompts, embedding.shape, self._device, answer, tick)
