"""Pictures with something in them to point at: slices of prepared cases in all three directions, at any magnification.

picture    float32 (batch, 1, side, side), from 0 to 1
target     bool (batch, side, side): one connected region of the slice; empty where it has ended
neighbour  bool (batch, side, side): what it looks like a few slices on, or empty
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.ndimage import binary_fill_holes, binary_opening, gaussian_filter, label, map_coordinates

from SSLSegmentationLib.regions import largest_region
from trainer.data.augment import Augmentation, another_look
from trainer.data.batches import OneStream

if TYPE_CHECKING:
    from torch import Tensor

    from trainer.data.store import PreparedCase


_LOOKS = Augmentation((), False, 0.0, 0.0, (1.0, 1.0), noise=0.3, blur=0.2, brightness=0.3, contrast=0.4, gamma=0.4)
_TRIES = 20
_LEAST = 12  # pixels of a target, on the scan and in the picture
_LEAST_SHOWN = 0.7  # of the picture's side is covered by the longer side of the slice
_FARTHEST = 3  # slices to the neighbour


@dataclass(frozen=True)
class Sampling:
    side: int = 128
    sizes: tuple[float, float] = (7.0, 90.0)
    """Square root of the target's pixels in the picture, least and greatest."""
    grey: float = 0.15
    """Part of the targets that are no labelled organ, but an area of similar grey: users point at anything."""
    along_slices: float = 0.6
    """Part of the pictures that are slices as they were acquired."""
    joined: float = 0.1
    """Part of the targets that are several labels seen as one."""
    ended: float = 0.04
    """Part of the pictures that lie just beyond the end of what is pointed at: whoever follows it has to stop."""


class Targets(OneStream):
    purpose = 5

    def __init__(self, *given: Any, sampling: Sampling, **common: Any) -> None:
        super().__init__(*given, **common)
        self.sampling = sampling

    def __getitem__(self, step: int) -> dict[str, Tensor]:
        names, rng = self.drawn(step)
        samples = [self._sample(self.store[name], rng) for name in names]
        pictures, targets, neighbours = (np.stack(part) for part in zip(*samples, strict=True))
        return {
            "picture": torch.from_numpy(pictures[:, None]),
            "target": torch.from_numpy(targets),
            "neighbour": torch.from_numpy(neighbours),
        }

    def _sample(self, case: PreparedCase, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        for _ in range(_TRIES):
            found = self._tried(case, rng)
            if found is not None:
                return found
        side = self.sampling.side  # a case without anything to point at
        nothing = np.zeros((side, side), dtype=bool)
        return nothing.astype(np.float32), nothing, nothing

    def _tried(self, case: PreparedCase, rng: np.random.Generator) -> tuple[np.ndarray, ...] | None:
        s = self.sampling
        axis = 2 if rng.random() < s.along_slices else int(rng.integers(2))
        classes = [c for c, voxels in case.foreground.items() if len(voxels)]
        if not classes:
            return None
        one = classes[rng.integers(len(classes))]
        if rng.random() < s.ended:
            number, region, neighbour = _beyond(case, one, axis, rng)
        else:
            wanted = classes if rng.random() < s.joined else [one]
            number, region, neighbour = _beside(case, case.foreground[one], wanted, axis, rng)
        grey = _slice(case.image, axis, number).astype(np.float32)
        if rng.random() < s.grey:
            region = neighbour = _alike(grey, rng)
        shown = region if region.any() else neighbour
        if shown.sum() < _LEAST:
            return None
        grid = _grid(shown, np.delete(np.asarray(case.spacing, dtype=float), axis), s, rng)
        target, neighbour = (
            map_coordinates(area.astype(np.float32), grid, order=1, mode="constant") > 0.5
            for area in (region, neighbour)
        )
        target = largest_region(target)
        if (target if region.any() else neighbour).sum() < _LEAST:
            return None
        picture = map_coordinates(grey, grid, order=1, mode="constant")
        picture = np.clip(another_look(rng, picture[:, :, None], _LOOKS)[:, :, 0], 0, 1)
        if rng.random() < 0.05:
            picture = 1 - picture
        return np.ascontiguousarray(picture, dtype=np.float32), target, neighbour


def _beside(
    case: PreparedCase, voxels: np.ndarray, wanted: Sequence[int], axis: int, rng: np.random.Generator
) -> tuple[int, np.ndarray, np.ndarray]:
    """A slice, a region of it, and what that looks like a few slices on."""
    at = voxels[rng.integers(len(voxels))]
    number = int(at[axis])
    region = _component(np.isin(_slice(case.labels, axis, number), wanted), np.delete(at, axis))
    beside = number + int(rng.integers(1, _FARTHEST + 1)) * int(rng.choice((-1, 1)))
    if not 0 <= beside < case.image.shape[axis]:
        return number, region, np.zeros_like(region)
    return number, region, _touching(np.isin(_slice(case.labels, axis, beside), wanted), region)


def _beyond(case: PreparedCase, one: int, axis: int, rng: np.random.Generator) -> tuple[int, np.ndarray, np.ndarray]:
    """A slice on which a label is no longer, and what it looked like where it was last; both empty if none is near."""
    places, way = case.foreground[one][:, axis], int(rng.choice((-1, 1)))
    last = int(places.max() if way > 0 else places.min())
    inside = range(case.image.shape[axis])
    while last + way in inside and (_slice(case.labels, axis, last + way) == one).any():
        last += way
    number, seen = last + way * int(rng.integers(1, _FARTHEST)), last - way * int(rng.integers(_FARTHEST))
    nothing = np.zeros_like(_slice(case.labels, axis, last), dtype=bool)
    if number not in inside or seen not in inside:
        return last, nothing, nothing
    return number, nothing, largest_region(_slice(case.labels, axis, seen) == one)


def _slice(array: np.ndarray, axis: int, number: int) -> np.ndarray:
    return np.asarray(np.take(array, number, axis=axis))


def _component(area: np.ndarray, place: Sequence[int]) -> np.ndarray:
    numbers, _ = label(area)
    return numbers == numbers[tuple(place)] if area[tuple(place)] else np.zeros_like(area)


def _touching(area: np.ndarray, region: np.ndarray) -> np.ndarray:
    """The parts of an area that lie over a region."""
    numbers, _ = label(area)
    met = np.unique(numbers[region])
    return np.isin(numbers, met[met > 0])


def _alike(grey: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What hangs together with some pixel and has about its grey; nothing where that is next to nothing, or a lot."""
    smooth = gaussian_filter(grey, rng.uniform(0.7, 2.0))
    place = tuple(int(rng.integers(n)) for n in grey.shape)
    band = rng.uniform(0.04, 0.15)
    if not 0.02 < smooth[place] < 0.98:
        return np.zeros_like(grey, dtype=bool)
    region = _component(np.abs(smooth - smooth[place]) < band, place)
    region = largest_region(binary_opening(binary_fill_holes(region), iterations=2))
    return region if _LEAST < region.sum() < 0.4 * region.size else np.zeros_like(region)


def _grid(region: np.ndarray, spacing: np.ndarray, s: Sampling, rng: np.random.Generator) -> np.ndarray:
    """(2, side, side) positions on the slice: turned, mirrored, and so large that the target has the size drawn."""
    area = float(region.sum()) * float(np.prod(spacing))
    size = np.exp(rng.uniform(*np.log(s.sizes)))
    fine = float(spacing.min())
    widest = float((np.array(region.shape) * spacing).max()) / (_LEAST_SHOWN * s.side)
    millimetres = float(np.clip(np.sqrt(area) / size, min(0.3 * fine, widest), widest))
    inside = np.argwhere(region)
    centre = inside[rng.integers(len(inside))] * spacing
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turn[:, 0] *= rng.choice((-1, 1))
    steps = np.arange(s.side) - (s.side - 1) / 2 + rng.uniform(-0.3, 0.3, (2, 1)) * s.side
    pixels = np.stack(np.meshgrid(*steps, indexing="ij")).reshape(2, -1)
    places = (turn @ pixels) * millimetres + centre[:, None]
    return (places / spacing[:, None]).reshape(2, s.side, s.side)
