"""The bundled small model behind the protocol of promptable models.

It looks twice: at the whole picture, to find how far that reaches what was pointed at, and then at the part around it,
enlarged. What has a box or a mask already is looked at closely at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.progress import Tick, silent
from SSLSegmentationLib.prompting.batches import check_prompts
from SSLSegmentationLib.prompting.boxes import tight
from SSLSegmentationLib.prompting.decoding import Embeds
from SSLSegmentationLib.prompting.encoders import Embedded
from SSLSegmentationLib.prompting.protocol import Answer, PixelPrompts

if TYPE_CHECKING:
    from torch import Tensor

    from SSLSegmentationLib.models.nets.click import ClickNet

_WHOLE, _CLOSE = 256, 160  # pixels of the longer side that the network sees
_SMALL = 128  # pictures up to this many pixels are seen as close ones are
_MARGIN, _LEAST_MARGIN = 0.35, 12  # around what is looked at closely, in parts of its longer side and in pixels
_AROUND_POINTS = 8  # pixels
_WORTH = 0.66  # of the picture's longer side: with more there is nothing to be gained by a closer look
_SURELY = 20.0


class ClickModel(Embeds):
    def __init__(self, network: ClickNet, key: str, device: str = "cpu") -> None:
        super().__init__(device)
        self.key = key
        self._network = network.to(device).eval().requires_grad_(False)

    def encode(self, picture: np.ndarray, tick: Tick = silent) -> Embedded:
        import torch

        tick("Encoding", 0.0)
        seen = torch.from_numpy(np.array(picture))
        return Embedded((seen, *self._levels(_whole(picture.shape), seen)), picture.shape)

    def decode(self, embedding: Embedded, prompts: Sequence[PixelPrompts], tick: Tick = silent) -> list[Answer]:
        answers = []
        for number, asked in enumerate(prompts):
            check_prompts(asked, embedding.shape, number)
            tick("Answering", number / len(prompts))
            answers.append(self._answer(embedding, asked, tick))
        return answers

    def _answer(self, embedding: Embedded, asked: PixelPrompts, tick: Tick) -> Answer:
        seen, *levels = embedding.features
        known = asked.box is not None or (asked.mask is not None and asked.mask.any())
        logits, found = None, asked.mask
        if not known:
            logits = self._look(_whole(embedding.shape), levels, asked, embedding.shape)
            found = logits > 0
            tick("Answering", 0.5)
        close = _around(asked, found, embedding.shape)
        if close is not None:
            logits = self._look(close, self._levels(close, seen), asked, embedding.shape)
        elif logits is None:
            logits = self._look(_whole(embedding.shape), levels, asked, embedding.shape)
        return Answer(logits, _expected_overlap(logits))

    def _levels(self, frame: _Frame, seen: Tensor) -> list[Tensor]:
        import torch

        with torch.inference_mode():
            return self._network.encode(frame.image(seen, self._network.divisor).to(self._device))

    def _look(self, frame: _Frame, levels: Sequence[Tensor], asked: PixelPrompts, shape: tuple[int, int]) -> np.ndarray:
        import torch

        hints = torch.from_numpy(frame.hints(asked, levels[0].shape[-2:]))[None].to(self._device)
        with torch.inference_mode():
            logits = self._network.decode([level.to(self._device) for level in levels], hints)
        return frame.back(logits, shape)


@dataclass(frozen=True)
class _Frame:
    """A part of a picture, and how large it is seen."""

    rows: slice
    columns: slice
    size: tuple[int, int]
    """Rows and columns that it is scaled to; black is added below and to the right up to what the network wants."""

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    def image(self, seen: Tensor, divisor: int) -> Tensor:
        import torch

        part = seen[self.rows, self.columns][None, None].float() / 255
        image = torch.nn.functional.interpolate(part, self.size, mode="bilinear", antialias=True)
        below, beside = (-side % divisor for side in self.size)
        return torch.nn.functional.pad(image, (0, beside, 0, below))

    def hints(self, asked: PixelPrompts, shape: tuple[int, int]) -> np.ndarray:
        """What was placed, drawn for the network; points outside the part are left out."""
        from SSLSegmentationLib.models.nets.click import draw

        points = np.asarray(asked.points, dtype=float).reshape(-1, 2)
        low = np.array([self.columns.start, self.rows.start])
        scale = np.array(self.size[::-1]) / self.shape[::-1]
        places = (points - low + 0.5) * scale - 0.5
        inside = ((places > -1) & (places < self.size[::-1])).all(axis=1)
        box = None
        if asked.box is not None:
            corners = (np.reshape(asked.box, (2, 2)) - low + 0.5) * scale - 0.5
            box = tuple(corners.ravel())
        mask = None
        if asked.mask is not None:
            mask = np.zeros(shape, dtype=np.float32)
            mask[: self.size[0], : self.size[1]] = self._scaled(asked.mask[self.rows, self.columns]) > 0.5
        return draw(tuple(shape), places[inside], np.asarray(asked.positive)[inside], box, mask)

    def back(self, logits: Tensor, shape: tuple[int, int]) -> np.ndarray:
        """Logits of the network as those of the whole picture; outside the part nothing was found."""
        import torch

        part = logits[:, :, : self.size[0], : self.size[1]].float()
        part = torch.nn.functional.interpolate(part, self.shape, mode="bilinear", antialias=True)[0, 0]
        whole = np.full(shape, -_SURELY, dtype=np.float32)
        whole[self.rows, self.columns] = part.clamp(-_SURELY, _SURELY).cpu().numpy()
        return whole

    def _scaled(self, mask: np.ndarray) -> np.ndarray:
        import torch

        part = torch.from_numpy(mask.astype(np.float32))[None, None]
        return torch.nn.functional.interpolate(part, self.size, mode="bilinear", antialias=True)[0, 0].numpy()


def _whole(shape: tuple[int, int]) -> _Frame:
    side = _WHOLE if max(shape) > _SMALL else _CLOSE
    return _frame(slice(0, shape[0]), slice(0, shape[1]), side)


def _frame(rows: slice, columns: slice, side: int) -> _Frame:
    shape = rows.stop - rows.start, columns.stop - columns.start
    scale = side / max(shape)
    return _Frame(rows, columns, (max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))))


def _around(asked: PixelPrompts, found: np.ndarray | None, shape: tuple[int, int]) -> _Frame | None:
    """The part of the picture with what was found and placed; None where that is most of the picture."""
    corners = [np.reshape(asked.box, (2, 2))] if asked.box is not None else []
    points = np.asarray(asked.points, dtype=float).reshape(-1, 2)[np.asarray(asked.positive, dtype=bool)]
    corners += [points - _AROUND_POINTS, points + _AROUND_POINTS]
    if found is not None and found.any():
        corners.append(np.reshape(tight(found), (2, 2)))
    corners = np.concatenate(corners)
    if not len(corners):
        return None
    low, high = corners.min(axis=0), corners.max(axis=0)
    side = float((high - low).max())
    margin = max(_LEAST_MARGIN, _MARGIN * side)
    if side + 2 * margin > _WORTH * max(shape):
        return None
    # A square, so that what is long and thin is seen with what lies beside it.
    middle, half = (low + high) / 2, side / 2 + margin
    first = np.maximum(np.floor(middle - half), 0).astype(int)
    last = np.minimum(np.ceil(middle + half) + 1, shape[::-1]).astype(int)
    return _frame(slice(int(first[1]), int(last[1])), slice(int(first[0]), int(last[0])), _CLOSE)


def _expected_overlap(logits: np.ndarray) -> float:
    """Of what was found with what was meant, if the probabilities are right: mean intersection over mean union."""
    p = 1 / (1 + np.exp(-logits))
    inside = logits > 0
    union = float(inside.sum() + p[~inside].sum())
    return float(p[inside].sum()) / union if union else 0.0


def load_click(path: Path, name: str, *, device: str = "cpu") -> ClickModel:
    """The model of a package, by its weights file."""
    from SSLSegmentationLib.models.networks import build
    from SSLSegmentationLib.models.read import METADATA, read_package
    from SSLSegmentationLib.models.weights import check_weights
    from SSLSegmentationLib.prompting.sam import key_of

    folder = next((folder for folder in path.parents if (folder / METADATA).is_file()), None)
    if folder is None:
        raise InputError(f"{path.name} does not lie in the folder of {name}: get the model again.")
    package = read_package(folder)
    state = check_weights(package)
    network = build(package.network, name)
    network.load_state_dict(state, strict=True)
    return ClickModel(network, f"{package.id}-{key_of(path).rpartition('-')[2]}", device)
