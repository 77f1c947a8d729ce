"""A network that answers users: points, boxes and masks on pictures, and the corrections that follow.

Every sample begins as a user does: with a click, a box, the mask of the slice beside it, or a mask that needs mending.
Where the answer is wrong, a click into the largest mistake follows, for up to three rounds; the answer after the last
one is what the losses see (as Mahadevan et al. 2018 and Sofiiuk et al. 2021 train). The encoder sees the picture alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from SSLSegmentationLib.models.nets.click import draw
from trainer.data.targets import Sampling, Targets
from trainer.methods.base import Method
from trainer.methods.optimiser import Optimiser
from trainer.methods.streams import baseline_optimiser
from trainer.networks import Backbone, build
from trainer.parts.prompts import box_around, click, correction, followed, spoilt

if TYPE_CHECKING:
    from torch import Tensor

    from trainer.data.plan import Plan
    from trainer.data.splits import Split
    from trainer.data.store import Store

_ACCEPTED = 0.5
"""How often users accept an answer before they correct it."""

BEGINNINGS = ("click", "box", "neighbour", "spoilt")


@dataclass(frozen=True)
class Settings:
    optimiser: Optimiser = field(default_factory=baseline_optimiser)
    sampling: Sampling = field(default_factory=Sampling)
    widths: tuple[int, ...] = (16, 32, 64, 96, 128)
    batch: int = 8
    beginnings: tuple[float, float, float, float] = (0.4, 0.2, 0.2, 0.2)
    """How often users begin with a click, a box, the mask of a slice nearby, a mask to be mended."""
    rounds: tuple[float, ...] = (0.4, 0.2, 0.2, 0.2)
    """How often no, one, two and three corrections follow."""
    cross_entropy: float = 1.0
    dice: float = 1.0


@dataclass
class User:
    """What one user has placed on one picture so far."""

    target: np.ndarray
    points: list[tuple[float, float]]
    signs: list[bool]
    box: tuple[float, float, float, float] | None = None
    mask: np.ndarray | None = None

    def hints(self) -> np.ndarray:
        return draw(self.target.shape, np.array(self.points), np.array(self.signs, dtype=bool), self.box, self.mask)

    def correct(self, found: np.ndarray, rng: np.random.Generator) -> None:
        """Click into the largest mistake. If it was accepted before, what was found is a mask to go on from."""
        placed = correction(self.target, found, rng)
        if placed is not None:
            self.points.append(placed[0])
            self.signs.append(placed[1])
            if rng.random() < _ACCEPTED:
                self.mask = found


class Clicks(Method):
    Settings = Settings
    promptable = True

    def __init__(self, plan: Plan, settings: Settings, steps: int, seed: int) -> None:
        super().__init__(plan, settings, steps, seed)
        self.backbone = build({"_target_": "ClickNet", "out_channels": 1, "widths": list(settings.widths)})

    @classmethod
    def batches(
        cls, plan: Plan, store: Store, split: Split, settings: Settings, *, steps: int, seed: int, rank: int, world: int
    ) -> Targets:
        return Targets(
            plan,
            store,
            split.labelled,
            batch=settings.batch,
            sampling=settings.sampling,
            steps=steps,
            seed=seed,
            rank=rank,
            world=world,
        )

    def terms(self, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([self.seed, step, self.rank, 11])
        network = self.backbone.network
        levels = network.encode(batch["picture"])
        pairs = zip(batch["target"].cpu().numpy(), batch["neighbour"].cpu().numpy(), strict=True)
        users = [self._user(target, neighbour, rng) for target, neighbour in pairs]
        for _ in range(int(rng.choice(len(self.settings.rounds), p=self.settings.rounds))):
            with torch.no_grad():
                found = network.decode(levels, self._hints(users)).float()[:, 0] > 0
            for user, mask in zip(users, found.cpu().numpy(), strict=True):
                user.correct(mask, rng)
        logits = network.decode(levels, self._hints(users)).float()[:, 0]
        return losses(logits, batch["target"].float())

    def weights(self, step: int) -> dict[str, float]:
        return {"cross_entropy": self.settings.cross_entropy, "dice": self.settings.dice}

    def learner(self) -> Backbone:
        return self.backbone

    def _user(self, target: np.ndarray, neighbour: np.ndarray, rng: np.random.Generator) -> User:
        begins = BEGINNINGS[rng.choice(len(BEGINNINGS), p=self.settings.beginnings)]
        user = User(target, [], [])
        if not target.any() and not neighbour.any():
            return user
        if not target.any() or (begins == "neighbour" and neighbour.any()):
            user.mask = followed(neighbour, rng)
            user.box = box_around(user.mask, rng)
        elif begins == "spoilt":
            user.mask = spoilt(target, rng)
            user.correct(user.mask, rng)
        elif begins == "box":
            user.box = box_around(target, rng)
        else:
            user.points, user.signs = [click(target, rng)], [True]
        return user

    def _hints(self, users: list[User]) -> Tensor:
        return torch.from_numpy(np.stack([user.hints() for user in users])).to(self.device)


def losses(logits: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Cross-entropy over pixels, and Dice of each picture."""
    p = logits.sigmoid()
    overlap, size = (p * target).sum((1, 2)), (p.square() + target).sum((1, 2))
    return {
        "cross_entropy": functional.binary_cross_entropy_with_logits(logits, target),
        "dice": (1 - (2 * overlap + 1) / (size + 1)).mean(),
    }
