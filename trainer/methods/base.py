"""What every method is: a few losses over a batch, how much each counts at a step, and whose weights are kept.

A method's file reads like the method section of its paper. All that methods share is here: the random numbers of a
step, the weighted sum, the optimiser's step and what may go wrong in it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from lightning.pytorch import LightningModule

from SSLSegmentationLib.errors import InputError
from trainer.methods.optimiser import Optimiser

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.data import Dataset

    from trainer.data.plan import Plan
    from trainer.data.splits import Split
    from trainer.data.store import Store
    from trainer.networks import Backbone

Batch = dict[str, "Tensor"]

_MOST_LOST_IN_A_ROW = 100


class Method(LightningModule):
    """Subclasses define `Settings`, `batches`, `terms`, `weights` and either `predictor` or `transferable`."""

    Settings: ClassVar[type]
    """Frozen dataclass of every hyperparameter, with defaults; it has a field `optimiser: Optimiser`."""
    pretraining: ClassVar[bool] = False
    """Whether it ends with features that fine-tuning starts from, instead of a network that segments."""
    promptable: ClassVar[bool] = False
    """Whether its network answers points, boxes and masks, and does not segment a scan alone."""
    needs_labels: ClassVar[int] = 1
    """The fewest labelled cases it can train on."""
    needs_unlabelled: ClassVar[int] = 0

    clip: float | None = None
    """The greatest norm of the gradient; set by the loop."""
    half: bool = False
    """Whether it trains in bf16; set by the loop."""
    rank: int = 0
    """Which of several processes this is; set by the loop."""

    def __init__(self, plan: Plan, settings: Any, steps: int, seed: int) -> None:
        super().__init__()
        self.plan = plan
        self.settings = settings
        self.steps = steps
        self.seed = seed
        self._lost_in_a_row = 0

    @classmethod
    def batches(
        cls, plan: Plan, store: Store, split: Split, settings: Any, *, steps: int, seed: int, rank: int, world: int
    ) -> Dataset:
        """The batches of this method: item n is the whole batch of step n, the same whenever it is asked for."""
        raise NotImplementedError

    def terms(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Every loss term, unweighted, a float32 number each. Called with automatic mixed precision where that is on:
        networks compute in half, so losses have to call `.float()` on what they give."""
        raise NotImplementedError

    def weights(self, step: int) -> dict[str, float]:
        """How much each term counts at a step; the keys are those of `terms`. A term that counts 0 has no gradient."""
        raise NotImplementedError

    def predictor(self) -> Backbone | None:
        """The network that segments; None for pre-training, and where prompts are answered."""
        return None

    def result(self) -> Backbone | None:
        """The network that is judged and packaged, whether it segments or answers prompts; None for pre-training."""
        return self.learner() if self.promptable else self.predictor()

    def learner(self) -> Backbone | None:
        """The network that the optimiser moves, and that a training which starts from other weights gets them in."""
        return self.predictor()

    def transferable(self) -> dict[str, Tensor]:
        """What fine-tuning starts from, under the names that the state of `predictor().network` has for it."""
        backbone = self.predictor()
        return {} if backbone is None else dict(backbone.network.state_dict())

    def after_step(self, step: int) -> None:
        """Called when the optimiser has made this step: averages of weights and the like are moved here."""

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Groups for the optimiser; "rate" in one scales its learning rate, over the part "until" of the training."""
        return [{"params": [parameter for parameter in self.parameters() if parameter.requires_grad]}]

    # What follows is the same for all methods.

    def loss(self, batch: Batch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of the terms, and the terms without their graph."""
        seed_step(self.seed, step, self.rank)
        terms, weights = self.terms(batch, step), self.weights(step)
        if terms.keys() != weights.keys():
            raise RuntimeError(f"{type(self).__name__} has the terms {sorted(terms)} but weighs {sorted(weights)}")
        counted = [weights[name] * term for name, term in terms.items() if weights[name] != 0]
        if not counted:  # before a method's ramps have begun: a step that changes nothing
            counted = [0.0 * sum(parameter.sum() for parameter in self.parameters() if parameter.requires_grad)]
        return sum(counted), {name: term.detach() for name, term in terms.items()}

    def training_step(self, batch: Batch, _index: int) -> dict[str, Any]:
        total, terms = self.loss(batch, self.global_step)
        return {"loss": total, "terms": terms}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.optimiser(self.parameter_groups(), half=self.half)

    @property
    def optimiser(self) -> Optimiser:
        return self.settings.optimiser

    def optimizer_step(self, epoch: int, index: int, optimizer: Any, closure: Any = None) -> None:
        step = self.global_step
        self.optimiser.set_rate(optimizer, step, self.steps)
        super().optimizer_step(epoch, index, optimizer, closure)
        # Here and not when the batch ends, because checkpoints are written then and have to hold this as well.
        self.after_step(step)

    def configure_gradient_clipping(self, optimizer: Any, *_given: Any, **_more: Any) -> None:
        """Bound the gradient; one that is not finite, as half precision gives now and then, is left out."""
        parameters = [parameter for parameter in self.parameters() if parameter.grad is not None]
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.clip or math.inf)
        if torch.isfinite(norm):
            self._lost_in_a_row = 0
            return
        optimizer.zero_grad(set_to_none=True)
        self._lost_in_a_row += 1
        if self._lost_in_a_row == _MOST_LOST_IN_A_ROW:
            raise InputError(
                f"Training has diverged, since the last {_MOST_LOST_IN_A_ROW} gradients were not finite: start again "
                "with a lower learning rate (--set optimiser.lr=...) or with --precision f32."
            )


def seed_step(seed: int, step: int, rank: int) -> None:
    """Make torch's random numbers those of this step, whatever was drawn before it."""
    torch.manual_seed(int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0] >> 1))
