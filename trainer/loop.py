"""Training a run: Lightning's loop around a method, from the first step or from the last checkpoint on.

A step's batch and random numbers depend on the seed and its number alone, and all that a step changes is in the
checkpoint. So a run that was ended by force, in whatever way, ends with the same weights as one that was not.
"""

from __future__ import annotations

import logging
import platform
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, Trainer

from SSLSegmentationLib import __version__
from SSLSegmentationLib.inference.predictors import channels_last
from trainer.allocator import keep_freed_memory
from trainer.bf16 import mend_small_volumes
from trainer.data.batches import loader
from trainer.data.store import Store
from trainer.hardware import Hardware, choose
from trainer.layout import keep_channels_last
from trainer.methods import method_class
from trainer.methods.base import Batch, Method
from trainer.run import Run
from trainer.saving import AtomicFiles, Average, Saving, Start
from trainer.transfer import read_source, start_from
from trainer.watching import Recording, Validation, Watch


def fit(run: Run, watch: Watch = lambda moment: None, say: Any = lambda text: None) -> None:
    """Train until the last step. `say` is given a sentence now and then, `watch` what was measured."""
    started = perf_counter()
    if run.done:
        say(f"{run.folder} is trained already.")
        return
    recipe, training = run.recipe, run.recipe.training
    hardware, store = choose(training), Store(recipe.store)
    method = new_method(run)
    resumed = run.checkpoint.is_file()
    if recipe.start and not resumed:
        say(start_from(method, read_source(recipe.start), training.start_share))
    method.half = hardware.precision == "bf16"
    if hardware.kind == "cpu":
        keep_freed_memory()
        mend_small_volumes(method)
    channels_last(method, hardware.channels_last)
    keep_channels_last(method, hardware.channels_last)
    with _quiet():
        trainer = _trainer(run, hardware, _callbacks(run, store, method, hardware, watch))
        feed = Feed(run, store, hardware)
        trainer.fit(method, datamodule=feed, ckpt_path=str(run.checkpoint) if resumed else None)
    if trainer.is_global_zero:
        facts = {"steps": training.steps, "device": hardware.device, "precision": hardware.precision}
        run.finish(
            facts | {"seconds": round(perf_counter() - started, 1), "machine": machine(), "code": code_version()}
        )


def new_method(run: Run) -> Method:
    """The method of a run before its first step."""
    recipe, training = run.recipe, run.recipe.training
    torch.manual_seed(training.seed)
    method = method_class(recipe.method)(run.plan, recipe.settings, training.steps, training.seed)
    method.clip = training.clip or None
    return method


class Feed(LightningDataModule):
    """The batches of a run from the step on that comes next."""

    def __init__(self, run: Run, store: Store, hardware: Hardware) -> None:
        super().__init__()
        self._run, self._store, self._hardware = run, store, hardware

    def train_dataloader(self) -> Steps:
        trainer, recipe = self.trainer, self._run.recipe
        trainer.lightning_module.rank = trainer.global_rank
        training = recipe.training
        batches = method_class(recipe.method).batches(
            self._run.plan,
            self._store,
            self._run.split,
            recipe.settings,
            steps=training.steps,
            seed=training.seed,
            rank=trainer.global_rank,
            world=trainer.world_size,
        )
        workers, pin = self._hardware.workers, self._hardware.kind == "cuda"
        return Steps(lambda: loader(batches, trainer.global_step, training.steps, workers, pin))


class Steps:
    """An iterable without a length. Lightning counts batches of a loader that has one, and would count them twice when
    it goes on in the middle; the number of steps ends the training instead."""

    def __init__(self, make: Any) -> None:
        self._make = make

    def __iter__(self) -> Iterator[Batch]:
        return iter(self._make())


def _callbacks(run: Run, store: Store, method: Method, hardware: Hardware, watch: Watch) -> list[Any]:
    training = run.recipe.training
    recording = Recording(run, watch, training.log_every)
    callbacks: list[Any] = [recording]
    if method.result() is not None:
        if training.average:
            callbacks.append(Average(training.average))
        if training.start_share:
            callbacks.append(Start())
    if method.predictor() is not None:
        names = run.split.validation[: training.validate_on]
        callbacks.append(Validation(store, names, run.plan, hardware, training.validate_every, recording))
    return [*callbacks, Saving(run.checkpoint, training.save_every)]


def _trainer(run: Run, hardware: Hardware, callbacks: list[Any]) -> Trainer:
    return Trainer(
        accelerator={"cuda": "gpu"}.get(hardware.kind, hardware.kind),
        devices=hardware.devices,
        num_nodes=hardware.nodes,
        strategy=hardware.strategy,
        precision=hardware.lightning_precision,
        max_steps=run.recipe.training.steps,
        max_epochs=-1,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        callbacks=callbacks,
        plugins=[AtomicFiles()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        benchmark=hardware.kind == "cuda",
        default_root_dir=run.folder,
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Lightning without its advice: what it tells on standard error is for those who write loops."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning(\.|$)")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def code_version() -> str:
    """The version of the program, and the commit where it runs from a checkout."""
    here = Path(__file__).parent.parent
    if not (here / ".git").exists():
        return __version__
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - nothing of the user's
    except (OSError, subprocess.CalledProcessError):
        return __version__
    return f"{__version__} ({done.stdout.strip()})"


def machine() -> str:
    """The machine in one line, without its name."""
    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()} × {torch.cuda.device_count()}, {platform.system()}"
    return f"{platform.machine()}, {torch.get_num_threads()} threads, {platform.system()}"
