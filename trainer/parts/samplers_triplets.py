"""Batches of slices for PolyCL: an anchor, a slice that is to be like it, and others that are not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from SSLSegmentationLib.errors import InputError
from trainer.data.batches import Batches
from trainer.data.plan import Plan
from trainer.data.store import Store

Variant = Literal["S", "O", "M"]
Scope = Literal["same", "other", "any"]

PURPOSE = 22
"""Keeps these random numbers apart from those of other batches."""


@dataclass(frozen=True, eq=False)
class Slices:
    """All slices that may be drawn: (n,) arrays."""

    scan: np.ndarray
    """Which scan a slice is of."""
    index: np.ndarray
    """Its place along k."""
    organ: np.ndarray | None
    """Whether the organ is on it; None where nobody has to know."""


def candidates(slices: Slices, anchor: int, variant: Variant, scope: Scope) -> tuple[np.ndarray, np.ndarray]:
    """Which slices are positives and negatives of an anchor s of the scan S(s), with T(s) for organ or no organ.

        S   positive: another slice of S(s)            negative: any slice of another scan
        O   positive: any other with T = T(s)          negative: any with T ≠ T(s)
        M   positive: another of S(s) with T = T(s)    negative: with T ≠ T(s), of S(s), of others, or any, by `scope`

    Where nothing fulfils a condition, that on the scan is dropped.
    """
    same_scan, other = slices.scan == slices.scan[anchor], np.arange(len(slices.scan)) != anchor
    if variant == "S":
        return _first_of(same_scan & other, other), _first_of(~same_scan, other)
    alike = slices.organ == slices.organ[anchor]
    if variant == "O":
        return _first_of(alike & other, other), _first_of(~alike, other)
    scan = {"same": same_scan, "other": ~same_scan, "any": other}[scope]
    return _first_of(same_scan & alike & other, alike & other, other), _first_of(~alike & scan, ~alike, other)


def _first_of(*choices: np.ndarray) -> np.ndarray:
    """The first that holds anything."""
    return next((choice for choice in choices if choice.any()), choices[-1])


class TripletSlices(Batches):
    """`anchor` and `positive` (batch, 1, i, j, 1), and `negative` (batch, negatives, 1, i, j, 1), drawn anew each step.

    `central` is the part of a scan's slices, around its middle, that are looked at. For the variants O and M, only
    scans whose labels tell where the organ is are used.
    """

    def __init__(
        self,
        plan: Plan,
        store: Store,
        names: Sequence[str],
        *,
        steps: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        batch: int | None = None,
        variant: Variant = "S",
        scope: Scope = "same",
        negatives: int = 1,
        central: float = 1.0,
        organ: Sequence[int] = (),
    ) -> None:
        super().__init__(plan, store, steps=steps, seed=seed, rank=rank, world=world)
        self.batch = plan.batch if batch is None else batch
        self.variant, self.scope, self.negatives = variant, scope, negatives
        self.names, self.slices = find_slices(store, names, central, None if variant == "S" else organ)
        self._check()

    def _check(self) -> None:
        if self.variant == "S" and len(self.names) < 2:
            raise InputError(f"PolyCL-S contrasts different scans, but {len(self.names)} is there: add more.")
        if self.variant == "S":
            return
        if not self.names:
            raise InputError(
                f"PolyCL-{self.variant} has to know which slices show the organ, but no labelled case tells: "
                "label some cases, or take the variant S."
            )
        if self.slices.organ.all() or not self.slices.organ.any():
            which = "every slice" if self.slices.organ.all() else "no slice"
            raise InputError(
                f"PolyCL-{self.variant} contrasts slices with and without the organ, but {which} shows it: "
                "look at more of each scan (central: 1.0), choose an organ, or take the variant S."
            )

    def __getitem__(self, step: int) -> dict[str, Tensor]:
        rng = self.generator(step, PURPOSE)
        count = len(self.slices.scan)
        anchors = rng.choice(count, self.batch, replace=self.batch > count)
        positives, negatives = [], []
        for anchor in anchors:
            near, far = candidates(self.slices, anchor, self.variant, self.scope)
            positives.append(rng.choice(np.flatnonzero(near)))
            negatives.append(rng.choice(np.flatnonzero(far), self.negatives))
        return {
            "anchor": torch.stack([self._slice(row) for row in anchors]),
            "positive": torch.stack([self._slice(row) for row in positives]),
            "negative": torch.stack([torch.stack([self._slice(row) for row in rows]) for rows in negatives]),
        }

    def _slice(self, row: int) -> Tensor:
        image = self.store[self.names[self.slices.scan[row]]].image
        return fit_slice(np.asarray(image[:, :, self.slices.index[row]], dtype=np.float32), self.plan.patch[:2])


def find_slices(
    store: Store, names: Sequence[str], central: float, organ: Sequence[int] | None
) -> tuple[list[str], Slices]:
    """The scans that can be used, and their slices. `organ` names classes (all if empty); None asks for no flags."""
    used, scan, index, flags = [], [], [], []
    for name in names:
        case = store[name]
        wanted = list(organ or range(1, len(case.annotated)))
        if organ is not None and (case.labels is None or not case.annotated[wanted].all()):
            continue
        depth = case.image.shape[2]
        reach = max(0.5, min(central, 1.0) * depth / 2)
        kept = np.arange(int(np.ceil(depth / 2 - reach)), int(np.ceil(depth / 2 + reach)))
        scan.append(np.full(len(kept), len(used)))
        index.append(kept)
        used.append(name)
        if organ is not None:
            flags.append(np.isin(case.labels[:, :, kept], wanted).any((0, 1)))
    if not used:
        return [], Slices(np.zeros(0, dtype=int), np.zeros(0, dtype=int), None)
    return used, Slices(np.concatenate(scan), np.concatenate(index), np.concatenate(flags) if flags else None)


def fit_slice(image: np.ndarray, size: tuple[int, int]) -> Tensor:
    """A whole slice on a canvas of that size, (1, i, j, 1): made smaller where it is larger, else with zeros around."""
    tensor = torch.from_numpy(image)[None, None]
    shape = [min(side, room) for side, room in zip(image.shape, size, strict=True)]
    if tuple(shape) != image.shape:
        tensor = functional.interpolate(tensor, shape, mode="bilinear", antialias=True, align_corners=False)
    around = [room - side for side, room in zip(shape, size, strict=True)]
    padding = [around[1] // 2, around[1] - around[1] // 2, around[0] // 2, around[0] - around[0] // 2]
    return functional.pad(tensor, padding)[0, ..., None]
