"""Checkpoints: written whole or not at all, and read without running anything that is in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch import Callback, Trainer
from torch import Tensor, nn

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.io.atomic import replacing
from trainer.methods import method_class
from trainer.methods.base import Method
from trainer.networks import Backbone
from trainer.run import Run


class AtomicFiles(CheckpointIO):
    """How Lightning reads and writes its checkpoints here."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        with replacing(Path(path)) as temporary:
            torch.save(checkpoint, temporary)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        return read_checkpoint(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink()


def read_checkpoint(path: Path) -> dict[str, Any]:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise InputError(f"{path} cannot be read ({reason}): start the run again in another folder.") from None


class Saving(Callback):
    """Writes the last checkpoint every so many steps, and after the last one. Has to be the last of the callbacks."""

    def __init__(self, path: Path, every: int) -> None:
        self._path = path
        self._every = every

    def on_train_batch_end(self, trainer: Trainer, method: Method, *_: Any) -> None:
        if trainer.global_step % self._every == 0 or trainer.global_step == method.steps:
            trainer.save_checkpoint(self._path)


class Kept(Callback):
    """Weights of the result that are kept beside the trained ones, from checkpoint to checkpoint."""

    def __init__(self) -> None:
        self.weights: dict[str, Tensor] = {}

    def state_dict(self) -> dict[str, Any]:
        return {"weights": self.weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.weights = state_dict["weights"]


class Average(Kept):
    """A running average of the result's weights: w ← d w + (1 - d) w_now after every step.

    It begins as the mean of all weights so far, so that those of the beginning are soon forgotten.
    """

    def __init__(self, decay: float) -> None:
        super().__init__()
        self._decay = decay

    @torch.no_grad()
    def on_train_batch_end(self, trainer: Trainer, method: Method, *_: Any) -> None:
        now = method.result().network.state_dict()
        if not self.weights:
            self.weights = {name: tensor.detach().clone() for name, tensor in now.items()}
        keep = min(self._decay, 1 - 1 / max(1, trainer.global_step))
        for name, mean in self.weights.items():
            if mean.is_floating_point():
                mean.lerp_(now[name].to(mean.device), 1 - keep)
            else:  # such as the count of batches in a normalisation
                mean.copy_(now[name])

    def on_train_start(self, trainer: Trainer, method: Method) -> None:
        self.weights = {name: tensor.to(method.device) for name, tensor in self.weights.items()}


class Start(Kept):
    """Those that a training began with, for the mean of both."""

    def on_train_start(self, trainer: Trainer, method: Method) -> None:
        if not self.weights:
            state = method.result().network.state_dict()
            self.weights = {name: tensor.detach().cpu().clone() for name, tensor in state.items()}


def trained(run: Run) -> Method:
    """The method of a run with the weights of its last checkpoint."""
    return _restored(run, _last(run))


def _last(run: Run) -> dict[str, Any]:
    """Its last checkpoint."""
    if not run.checkpoint.is_file():
        raise InputError(f"{run.folder} has no checkpoint yet: train it with `python -m trainer resume {run.folder}`.")
    return read_checkpoint(run.checkpoint)


def _restored(run: Run, checkpoint: dict[str, Any]) -> Method:
    recipe = run.recipe
    method = method_class(recipe.method)(run.plan, recipe.settings, recipe.training.steps, recipe.training.seed)
    method.load_state_dict(checkpoint["state_dict"])
    return method.eval()


def trained_predictor(run: Run) -> Backbone:
    """The network of a run that segments."""
    if method_class(run.recipe.method).promptable:
        raise InputError(
            f"{run.folder} answers prompts, and does not segment a scan alone: choose a run of another method."
        )
    return trained_result(run)


def trained_result(run: Run) -> Backbone:
    """The network of a run that is judged and packaged: of averaged weights, where the run asks for that."""
    checkpoint = _last(run)
    backbone = _restored(run, checkpoint).result()
    if backbone is None:
        raise InputError(
            f"{run.folder} is a pre-training, which does not segment: fine-tune it with "
            f"`python -m trainer train ... --from {run.folder}`."
        )
    training, kept = run.recipe.training, checkpoint["callbacks"]
    if training.average:
        backbone.network.load_state_dict(kept["Average"]["weights"])
    if training.start_share:
        _lead_back(backbone.network, kept["Start"]["weights"], training.start_share)
    return backbone.eval()


@torch.no_grad()
def _lead_back(network: nn.Module, start: dict[str, Tensor], share: float) -> None:
    """Move the weights so far towards where they began."""
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            tensor.lerp_(start[name], share)
