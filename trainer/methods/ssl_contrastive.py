"""SSL-contrastive (Karimijafarbigloo et al., ISBI 2024): of two networks the better one teaches, and unsure voxels are
drawn to what their class looks like where both are sure.

Two networks of different making see the same labelled and unlabelled patches. In every step:

1. Both learn from the labels; where one is confidently wrong and the other is not, a squared error is added.
2. The winner is the one with the smaller Dice loss on the labels. Its classes are the pseudo-labels.
3. Both learn the pseudo-labels where one that says the same is sure: where its entropy is low for that class.
4. The loser's features of unsure voxels are contrasted with prototypes, the mean features of sure voxels.

    winner: L_s + 0.5 L_v + r(t) L_u        loser: the same + λ(t) L_c
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from SSLSegmentationLib.errors import InputError
from trainer.methods.base import Batch, Method
from trainer.methods.optimiser import Optimiser
from trainer.methods.streams import Streams, baseline_optimiser, pair_of_networks
from trainer.networks import Features, Peers
from trainer.parts.consistency import pseudo_cross_entropy, pseudo_labels
from trainer.parts.losses import known_labels, log_probabilities, squared_error_where, supervised
from trainer.parts.prototypes import PrototypeMemory, class_means, draw_voxels, prototype_contrast, prototype_distance
from trainer.parts.schedules import linear, sigmoid_ramp
from trainer.parts.uncertainty import confident_disagreement, entropy, most_certain

if TYPE_CHECKING:
    from torch import Tensor

    from trainer.data.batches import TwoStreamBatches
    from trainer.data.plan import Plan
    from trainer.data.splits import Split
    from trainer.data.store import Store

NAMES = ("a", "b")


@dataclass(frozen=True)
class Unlabelled:
    """What the networks make of the unlabelled patches."""

    logits: tuple[Tensor, Tensor]
    winner: int
    target: Tensor
    """Pseudo-labels (U, i, j, k)."""
    reliable: Tensor
    """Of bool, where they can be trusted."""

    @property
    def loser(self) -> int:
        return 1 - self.winner


class SSLContrastive(Method):
    @dataclass(frozen=True)
    class Settings:
        optimiser: Optimiser = field(default_factory=baseline_optimiser)
        streams: Streams = field(default_factory=Streams)
        first: dict[str, Any] = field(default_factory=dict)
        """Instead of the plan's network."""
        second: dict[str, Any] = field(default_factory=dict)
        """Instead of one of another making and about the same size."""
        verification: float = 0.5
        """Weight of the squared error where the two disagree confidently."""
        confidence: float = 0.6
        pseudo: Literal["winner", "or"] = "winner"
        """Pseudo-labels: the winner's; or foreground where either says so, as released, for one foreground class."""
        pseudo_weight: float = 1.0
        pseudo_ramp: float = 1 / 6
        """Part of the training over which that weight rises; 0: it is there at once."""
        keep: float = 0.8
        """Part of the voxels that a network is called sure of, at the beginning."""
        keep_at_end: float = 1.0
        per_class: bool = True
        """Whether that part is taken of each predicted class, or of all voxels, most of which are background."""
        largest_weight: float | None = 5.0
        """How much more a reliable voxel may count because there are few."""
        contrast: float = 0.1
        """Weight of the contrast, at the end of its ramp over the whole training."""
        form: Literal["softmax", "distance"] = "softmax"
        temperature: float = 0.5
        memory: float = 0.99
        """Momentum of the prototypes; 0: those of the batch."""
        most_voxels: int = 4096
        """Unsure voxels of each class that are contrasted in a step."""

    needs_unlabelled = 1

    def __init__(self, plan: Plan, settings: Any, steps: int, seed: int) -> None:
        super().__init__(plan, settings, steps, seed)
        if settings.pseudo == "or" and plan.classes != 2:
            raise InputError(
                f'Pseudo-labels of the kind "or" need one foreground class, but there are {plan.classes - 1}: '
                "use --set pseudo=winner."
            )
        self.peers: Peers = pair_of_networks(plan, settings.first, settings.second, alike=False)
        self.memories = nn.ModuleList(
            PrototypeMemory(plan.classes, peer.channels()["feat"], settings.memory)
            for peer in (self.peers.first, self.peers.second)
        )

    @classmethod
    def batches(
        cls, plan: Plan, store: Store, split: Split, settings: Any, *, steps: int, seed: int, rank: int, world: int
    ) -> TwoStreamBatches:
        return settings.streams.batches(plan, store, split, steps=steps, seed=seed, rank=rank, world=world)

    def terms(self, batch: Batch, step: int) -> dict[str, Tensor]:
        outputs = self.peers.first.features(batch["image"]), self.peers.second.features(batch["image"])
        return self.terms_of(outputs, batch, step)[0]

    def terms_of(
        self, outputs: tuple[Features, Features], batch: Batch, step: int
    ) -> tuple[dict[str, Tensor], Unlabelled]:
        """The terms, and the roles that the networks have in this step."""
        terms, winner = self.learn_labels(outputs, batch)
        known = len(batch["labels"])
        unlabelled = self.judge(outputs[0]["logits"][known:], outputs[1]["logits"][known:], winner, step)
        for name, logits in zip(NAMES, unlabelled.logits, strict=True):
            terms[f"pseudo_{name}"] = pseudo_cross_entropy(
                logits, unlabelled.target, unlabelled.reliable, self.settings.largest_weight
            )
        feats = outputs[0]["feat"][known:], outputs[1]["feat"][known:]
        terms["contrast"] = self.contrast(feats, unlabelled)
        return terms, unlabelled

    def weights(self, step: int) -> dict[str, float]:
        s = self.settings
        pseudo = s.pseudo_weight * sigmoid_ramp(step, s.pseudo_ramp * self.steps)
        each = {"cross_entropy": 1.0, "dice": 1.0, "verification": s.verification, "pseudo": pseudo}
        weights = {f"{term}_{name}": weight for term, weight in each.items() for name in NAMES}
        return weights | {"contrast": s.contrast * sigmoid_ramp(step, self.steps, stairs=40)}

    def learn_labels(self, outputs: tuple[Features, Features], batch: Batch) -> tuple[dict[str, Tensor], int]:
        """CE + Dice, the targeted verification Σ M Σ_c (p_c − y_c)² / Σ M, and who has the smaller Dice loss.

        M is where the two are confident (max p ≥ 0.6) of different foreground.
        """
        labels, annotated = batch["labels"], batch["annotated"]
        terms, opinions = {}, []
        for name, output in zip(NAMES, outputs, strict=True):
            logits = output["logits"][: len(labels)]
            terms[f"cross_entropy_{name}"], terms[f"dice_{name}"] = supervised(logits, labels, annotated)
            opinions.append(log_probabilities(logits, annotated).exp())
        disputed = confident_disagreement(opinions[0], opinions[1], self.settings.confidence)
        for name, p in zip(NAMES, opinions, strict=True):
            terms[f"verification_{name}"] = squared_error_where(p, known_labels(labels, annotated), disputed)
        return terms, int(terms["dice_b"] < terms["dice_a"])

    @torch.no_grad()
    def judge(self, first: Tensor, second: Tensor, winner: int, step: int) -> Unlabelled:
        """Pseudo-labels, and where they are reliable: where a network that says so is sure, as its entropy is below its
        percentile. With `or`, which neither of them may say, it counts whether either is sure of anything."""
        s = self.settings
        classes = pseudo_labels(first), pseudo_labels(second)
        target = classes[0] | classes[1] if s.pseudo == "or" else classes[winner]
        keep = linear(s.keep, s.keep_at_end, step, self.steps)
        sure = [
            most_certain(entropy(logits.float().softmax(dim=1)), keep, predicted if s.per_class else None)
            for logits, predicted in zip((first, second), classes, strict=True)
        ]
        if s.pseudo == "winner":  # a loser that is sure of something else is no witness
            sure = [one & (predicted == target) for one, predicted in zip(sure, classes, strict=True)]
        return Unlabelled((first, second), winner, target, sure[0] | sure[1])

    def contrast(self, feats: tuple[Tensor, Tensor], unlabelled: Unlabelled) -> Tensor:
        """−log P(ŷ_v | v) of the loser's unsure voxels, with P(k | v) = softmax_k(−‖f̂_v − ĉ_k‖² / τ).

        Candidates are unreliable voxels, not too many of each class that the loser predicts; classes count alike.
        Both networks' prototypes are kept up to date, as either may be the loser of the next step.
        """
        s, classes = self.settings, self.plan.classes
        target, reliable, loser = unlabelled.target, unlabelled.reliable, unlabelled.loser
        for memory, feat in zip(self.memories, feats, strict=True):
            memory.update(*class_means(feat.detach(), target, reliable, classes))
        voxels = draw_voxels(~reliable, pseudo_labels(unlabelled.logits[loser]), s.most_voxels)
        if s.form == "distance":
            return prototype_distance(
                feats[loser], target, voxels, *class_means(feats[loser], target, reliable, classes)
            )
        memory = self.memories[loser]
        return prototype_contrast(feats[loser], target, voxels, memory.means, memory.seen, s.temperature)

    def predictor(self) -> Peers:
        return self.peers
