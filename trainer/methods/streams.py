"""What semi-supervised methods have in common before their losses begin: two streams of patches, two networks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from SSLSegmentationLib.errors import InputError
from trainer.methods.optimiser import Optimiser
from trainer.methods.supervised import Supervised
from trainer.networks import Peers, build_peers

if TYPE_CHECKING:
    from trainer.data.batches import TwoStreamBatches
    from trainer.data.plan import Plan
    from trainer.data.splits import Split
    from trainer.data.store import Store


@dataclass(frozen=True)
class Streams:
    labelled: int = 0
    """Patches of labelled cases in a batch; 0: the plan's batch, so that labels teach as much as without the others."""
    unlabelled: int = 0
    """Patches of unlabelled cases in a batch; 0: as many again."""
    augmentation: Literal["plan", "crop", "turns"] = "plan"
    """What the plan says; or nothing but where patches are cut; or that with quarter turns and mirrors in the plane."""
    foreground: float | None = None
    """Part of the labelled patches that surely show a label, instead of what the plan says; 0: cut anywhere."""

    def batches(
        self, plan: Plan, store: Store, split: Split, *, steps: int, seed: int, rank: int = 0, world: int = 1
    ) -> TwoStreamBatches:
        from trainer.data.augment import LOOKS
        from trainer.data.batches import TwoStreamBatches

        labelled = self.labelled or plan.batch
        return TwoStreamBatches(
            plan if self.foreground is None else replace(plan, foreground=self.foreground),
            store,
            split.labelled,
            split.unlabelled,
            steps=steps,
            seed=seed,
            rank=rank,
            world=world,
            per_batch=(labelled, self.unlabelled or labelled),
            augmentation=LOOKS[self.augmentation],
        )


def baseline_optimiser() -> Optimiser:
    """That of supervised training, so that what a method gains does not come from its optimiser."""
    return Supervised.Settings().optimiser


def definition_for(plan: Plan, told: dict[str, Any]) -> dict[str, Any]:
    """The plan's network, or the one that settings tell of, for the plan's classes."""
    return {**told, "in_channels": 1, "out_channels": plan.classes} if told else dict(plan.network)


def pair_of_networks(plan: Plan, first: dict[str, Any], second: dict[str, Any], *, alike: bool) -> Peers:
    """The first is the plan's unless told; the second, unless told, is `alike` or of another making."""
    first = definition_for(plan, first)
    if second:
        return build_peers(first, definition_for(plan, second))
    return build_peers(first, first if alike else another_making(first))


def another_making(definition: dict[str, Any]) -> dict[str, Any]:
    """A network of about the same size that sees differently, since two of one making soon agree in their mistakes."""
    name = definition["_target_"]
    channels = {"in_channels": 1, "out_channels": definition["out_channels"]}
    if name == "SliceUNet":
        widths = list(definition.get("widths", (16, 32, 64, 128, 256)))
        if len(widths) != 5:
            raise InputError(
                "A second network is only made up for a SliceUNet of five levels: tell it in the settings."
            )
        return {"_target_": "SliceBasicUNet", **channels, "features": [*widths, widths[0]]}
    if name == "SliceBasicUNet":
        return {"_target_": "SliceUNet", **channels, "widths": list(definition.get("features", _WIDTHS)[:5])}
    if name == "BasicUNet":
        widths = list(definition.get("features", _WIDTHS)[:5])
        return {"_target_": "ResVNet3D", **channels, "widths": widths, "norm": "instance", "dropout": 0.1}
    if name == "FoldedVNet3D":  # narrower and deeper; one that does not fold learns far more slowly
        widths = [max(4, 3 * width // 4) for width in definition.get("widths", _FOLDED_WIDTHS)]
        convolutions = [count + 1 for count in definition.get("convolutions", (2,) * len(widths))]
        return definition | {"widths": widths, "convolutions": convolutions}
    if name == "VNet3D":
        return {"_target_": "ResVNet3D", **channels, "widths": list(definition.get("widths", (16, 32, 64, 128, 256)))}
    return {"_target_": "VNet3D", **channels}


_FOLDED_WIDTHS = (16, 32, 64, 128)
_WIDTHS = (32, 32, 64, 128, 256, 32)  # of MONAI's BasicUNet, if the definition leaves them out
