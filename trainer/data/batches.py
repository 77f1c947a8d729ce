"""Batches, each made for the number of its step: what a step sees depends on (seed, step, rank) alone.

So a training that was interrupted goes on exactly as one that was not, whatever loaded the data and with how many
workers. A batch is a dictionary of tensors:

    image      float32 (batch, 1, i, j, k)
    labels     int64 (labelled, 1, i, j, k), for the first samples; the others have none
    annotated  bool (labelled, classes): the classes that somebody looked for in the case
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from SSLSegmentationLib.errors import InputError
from trainer.data.augment import Augmentation, another_look, place, tinted
from trainer.data.patches import choose_centre, cut, cut_both
from trainer.data.plan import Plan
from trainer.data.store import Store

LABELLED, UNLABELLED = 1, 2
"""Purposes of a random generator, so that two streams of one step do not draw the same. Samplers elsewhere use 3 on."""

Batch = dict[str, Tensor]


class Passes:
    """Names in an order without end: each once in every pass, every pass in an order of its own."""

    def __init__(self, names: Sequence[str], seed: int, purpose: int) -> None:
        if not names:
            raise InputError("There is no case to draw patches from: give the split more cases.")
        self.names = tuple(names)
        self._seed, self._purpose = seed, purpose
        self._order = lru_cache(maxsize=4)(self._shuffled)

    def __reduce__(self) -> tuple[type[Passes], tuple[tuple[str, ...], int, int]]:
        return Passes, (self.names, self._seed, self._purpose)

    def __getitem__(self, index: int) -> str:
        which, place_in_it = divmod(index, len(self.names))
        return self.names[self._order(which)[place_in_it]]

    def of_step(self, step: int, count: int, rank: int = 0, world: int = 1) -> list[str]:
        """The `count` names of a step; the ranks of one step share the pass, and none sees what another sees."""
        first = (step * world + rank) * count
        return [self[index] for index in range(first, first + count)]

    def _shuffled(self, which: int) -> np.ndarray:
        return np.random.default_rng([self._seed, which, self._purpose]).permutation(len(self.names))


class Batches(Dataset):
    """What all batches of patches have in common; `__getitem__` takes the number of a step."""

    def __init__(
        self,
        plan: Plan,
        store: Store,
        *,
        steps: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        augmentation: Augmentation | None = None,
    ) -> None:
        self.plan, self.store = plan, store
        self.steps, self.seed, self.rank, self.world = steps, seed, rank, world
        self.augmentation = plan.augmentation if augmentation is None else augmentation

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> Batch:
        raise NotImplementedError

    def generator(self, step: int, purpose: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, step, self.rank, purpose])

    def labelled(self, names: Sequence[str], rng: np.random.Generator) -> Batch:
        """A patch of each case with its labels, in most of them around a labelled voxel."""
        cases = [self.store[name] for name in names]
        images, truths = [], []
        for case in cases:
            if case.labels is None:
                raise InputError(f'"{case.name}" has no labels, but is to be trained on with them: correct the split.')
            centre = choose_centre(rng, case.image.shape, self.plan.patch, case.foreground, self.plan.foreground)
            where = place(rng, centre, self.augmentation, self.plan.patch, case.spacing, case.foreground)
            image, truth = cut_both(case.image, case.labels, where, self.plan.patch, self.plan.padding)
            truths.append(truth)
            image = tinted(rng, image, truth, self.augmentation)
            images.append(another_look(rng, image, self.augmentation))
        return {
            "image": torch.from_numpy(np.stack(images)[:, None]),
            "labels": torch.from_numpy(np.stack(truths)[:, None]).long(),
            "annotated": torch.from_numpy(np.stack([case.annotated for case in cases])),
        }

    def unlabelled(self, names: Sequence[str], rng: np.random.Generator) -> Batch:
        """A patch of each case from anywhere in it."""
        images = []
        for name in names:
            case = self.store[name]
            centre = choose_centre(rng, case.image.shape, self.plan.patch)
            where = place(rng, centre, self.augmentation, self.plan.patch, case.spacing)
            image = cut(case.image, where, self.plan.patch, self.plan.padding)
            images.append(another_look(rng, image, self.augmentation))
        return {"image": torch.from_numpy(np.stack(images)[:, None])}


class OneStream(Batches):
    """Batches of cases that are gone through in passes, every one of them once in each."""

    purpose = LABELLED
    """Of the random numbers: streams of different purposes do not repeat each other."""

    def __init__(
        self, plan: Plan, store: Store, names: Sequence[str], *, batch: int | None = None, **common: Any
    ) -> None:
        """`common` is what Batches takes: steps, seed, rank, world and augmentation."""
        super().__init__(plan, store, **common)
        self.batch = plan.batch if batch is None else batch
        self.cases = Passes(names, self.seed, self.purpose)

    def drawn(self, step: int) -> tuple[Sequence[str], np.random.Generator]:
        """The cases of a step, and the random numbers for it."""
        names = self.cases.of_step(step, self.batch, self.rank, self.world)
        return names, self.generator(step, self.purpose)


class SupervisedBatches(OneStream):
    """Labelled patches only."""

    def __getitem__(self, step: int) -> Batch:
        return self.labelled(*self.drawn(step))


class TwoStreamBatches(Batches):
    """So many labelled patches, and behind them so many unlabelled ones; either stream goes round at its own pace."""

    def __init__(
        self,
        plan: Plan,
        store: Store,
        labelled: Sequence[str],
        unlabelled: Sequence[str],
        *,
        steps: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        per_batch: tuple[int, int] = (2, 2),
        augmentation: Augmentation | None = None,
    ) -> None:
        super().__init__(plan, store, steps=steps, seed=seed, rank=rank, world=world, augmentation=augmentation)
        self.per_batch = per_batch
        self.labelled_cases = Passes(labelled, seed, LABELLED)
        self.unlabelled_cases = Passes(unlabelled, seed, UNLABELLED)

    def __getitem__(self, step: int) -> Batch:
        known, unknown = self.per_batch
        names = self.labelled_cases.of_step(step, known, self.rank, self.world)
        batch = self.labelled(names, self.generator(step, LABELLED))
        names = self.unlabelled_cases.of_step(step, unknown, self.rank, self.world)
        others = self.unlabelled(names, self.generator(step, UNLABELLED))
        return batch | {"image": torch.cat([batch["image"], others["image"]])}


class UnlabelledBatches(OneStream):
    """Patches without labels, for pre-training."""

    purpose = UNLABELLED

    def __getitem__(self, step: int) -> Batch:
        return self.unlabelled(*self.drawn(step))


def loader(
    batches: Dataset, first_step: int, steps: int, workers: int = 0, pin: bool = False, ahead: int = 4
) -> DataLoader:
    """The batches of the steps from `first_step` up to `steps`, in order; each worker makes whole batches ahead."""
    return DataLoader(
        batches,
        batch_size=None,
        sampler=range(first_step, steps),
        num_workers=workers,
        pin_memory=pin,
        prefetch_factor=ahead if workers else None,
        persistent_workers=workers > 0,
    )
