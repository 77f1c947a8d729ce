"""Training with our loop against the plain way: MONAI's CacheDataset, transforms and DataLoader in a Lightning loop.

    python -m Testing.benchmarks.training_throughput [--data FOLDER] [--rounds 3] [--threads N]

The same network (BasicUNet of 16 to 128 channels), patches, probabilities of augmentation, loss (cross-entropy and
Dice), optimiser and prepared cases, which are phantoms unless a folder of scans and labels is named. Both log and clip
gradients. The variants in between say what number format, memory layout and data each bring.

Beside images a second stands the processor's time for an image, in which other work on the machine has little part.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

from Testing.benchmarks.processes import machine, median_ratio, run_in_turn
from Testing.benchmarks.training_batches import SHAPES, batches_of, prepare, write_phantoms

SHAPE = "32×48×32"
FEATURES = [16, 16, 32, 64, 128, 16]
WARM_UP, STEPS = 4, 12
VARIANTS = {
    "monai": {"precision": "f32"},
    "monai, bf16": {"precision": "bf16"},
    "ours": {"precision": "auto"},
    "ours, f32": {"precision": "f32"},
    "ours, f32, channels first": {"precision": "f32", "channels_last": False},
}


class Clock:
    """Starts after the warm-up and stops with the last step."""

    def __init__(self, images: int) -> None:
        self._images = images
        self._started = (0.0, 0.0)
        self.waited = 0.0

    def at(self, step: int) -> None:
        if step == WARM_UP:
            self._started, self.waited = (perf_counter(), process_time()), 0.0
        elif step == WARM_UP + STEPS:
            self._ended = (perf_counter(), process_time())

    def result(self) -> dict[str, float]:
        wall, processor = (end - start for end, start in zip(self._ended, self._started, strict=True))
        count = self._images * STEPS
        return {
            "images_per_second": round(count / wall, 3),
            "processor_ms_per_image": round(processor / count * 1000, 2),
            "waiting": round(self.waited / wall, 4),
        }


def train_ours(work: Path, precision: str, channels_last: bool | None = None) -> dict[str, float]:
    from trainer import hardware, records
    from trainer.data.plan_file import read_plan
    from trainer.data.splits import Split
    from trainer.data.store import Store
    from trainer.loop import fit
    from trainer.presets import load
    from trainer.run import Recipe, new_run

    if channels_last is not None:
        hardware.Hardware.channels_last = property(lambda self: (5,) if channels_last else ())
    patch, count = SHAPES[SHAPE]
    plan = read_plan(work / "plan.yaml")
    plan = replace(plan, patch=patch, batch=count, network={**plan.network, "features": FEATURES})
    names = Store(work / "store").names
    sets = [f"steps={WARM_UP + STEPS}", f"log_every={WARM_UP}", "device=cpu", f"precision={precision}"]
    sets += ["optimiser.name=adamw", "optimiser.lr=0.002", f"save_every={WARM_UP + STEPS + 1}"]
    settings, training = load("supervised", "default", sets)
    recipe = Recipe("supervised", "default", settings, training, store=str(work / "store"))
    clock = Clock(count)
    with tempfile.TemporaryDirectory() as folder:
        run = new_run(Path(folder) / "run", plan, Split(names, (), ()), recipe)
        fit(run, watch=lambda moment: clock.at(moment.step))
        steps, shares = records.read(run.metrics)["pace/waiting"]
    result = clock.result()
    return result | {"waiting": round(float(np.mean(shares[steps.index(WARM_UP) + 1 :])), 4)}


def train_monai(work: Path, precision: str) -> dict[str, float]:
    import torch
    from lightning.pytorch import Callback, LightningModule, Trainer
    from monai.losses import DiceCELoss
    from monai.networks.nets import BasicUNet

    batches, classes = batches_of("monai", work, SHAPE, workers=0)
    clock = Clock(SHAPES[SHAPE][1])

    class Plain(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = BasicUNet(3, 1, classes, tuple(FEATURES))
            self.loss = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)

        def training_step(self, batch: dict[str, Any], index: int) -> Any:
            loss = self.loss(self.network(batch["image"]).float(), batch["labels"])
            self.log("loss", loss)
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.AdamW(self.parameters(), lr=2e-3, weight_decay=1e-3)

    class Timing(Callback):
        def __init__(self) -> None:
            self.free = perf_counter()

        def on_train_batch_start(self, *_: Any) -> None:
            clock.waited += perf_counter() - self.free

        def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
            clock.at(trainer.global_step)
            self.free = perf_counter()

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Trainer(
            accelerator="cpu",
            precision={"f32": "32-true", "bf16": "bf16-mixed"}[precision],
            max_steps=WARM_UP + STEPS,
            gradient_clip_val=12.0,
            callbacks=[Timing()],
            default_root_dir=folder,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
        ).fit(Plain(), train_dataloaders=batches)
    return clock.result()


def run(variant: str, work: Path, threads: int) -> dict[str, float]:
    import torch

    torch.set_num_threads(threads)
    train = train_monai if variant.startswith("monai") else train_ours
    return train(work, **VARIANTS[variant])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a folder of scans and labels instead of phantoms")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=VARIANTS)
    parser.add_argument("--run", choices=VARIANTS, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run:
        print(json.dumps(run(given.run, given.work, given.threads)))
        return
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        prepare(given.data or write_phantoms(work / "phantoms"), work)
        arguments = ["--work", folder, "--threads", str(given.threads)]
        results = run_in_turn("Testing.benchmarks.training_throughput", given.variants, given.rounds, arguments)
    count = SHAPES[SHAPE][1]
    print(
        f"\n{machine()}, {given.threads} threads\n{given.data or 'phantoms'}; batches of {count} × {SHAPE}; medians\n"
    )
    print("| | images a second | times faster | processor, ms an image | of MONAI's | waiting for data |")
    print("|---|---|---|---|---|---|")
    for variant, rows in results.items():
        faster = median_ratio(rows, results["monai"], "images_per_second")
        less = median_ratio(rows, results["monai"], "processor_ms_per_image")
        pace, cost, waiting = (float(np.median([row[key] for row in rows])) for key in rows[0])
        print(f"| {variant} | {pace:.1f} | {faster:.2f} | {cost:.0f} | {less:.2f} | {waiting:.1%} |")


if __name__ == "__main__":
    main()
