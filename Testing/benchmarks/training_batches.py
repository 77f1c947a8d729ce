"""Making batches for training: ours against MONAI's CacheDataset, transforms and DataLoader, on the same cases.

    python -m Testing.benchmarks.training_batches [--data FOLDER] [--rounds 5]

Cases are phantoms unless a folder of scans and labels is named. Both begin from the same prepared cases, MONAI's with
all of them in memory as tensors, and do the same things to a patch, with the same probabilities: crop around a class,
mirror, rotate and scale the patch, noise, blur, brightness, contrast, gamma.

The first table is one process on one thread that makes batches and nothing else. The second one trains a small U-Net
with them (BasicUNet of 16 to 128 channels, bfloat16, channels last) on all cores: how long it waits for each batch.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

from Testing.benchmarks.processes import machine, median_ratio, run_in_turn

SHAPES = {"64³": ((64, 64, 64), 2), "32×48×32": ((32, 48, 32), 8)}
"""Patch and number of patches in a batch."""
MAKERS = ("ours", "monai")
WORKERS = (0, 1)
CASES, STEPS, WARM_UP = 8, 40, 5
VARIANTS = [
    *(f"make {maker} {shape}" for shape in SHAPES for maker in MAKERS),
    *(f"train {maker} {shape} {workers}" for shape in SHAPES for workers in WORKERS for maker in MAKERS),
]


def write_phantoms(folder: Path) -> Path:
    """Abdomens of about the size that a network's grid of 2.5 mm has."""
    from SSLSegmentationLib.io.write import write_volume
    from SSLSegmentationLib.phantom import abdomen_phantom

    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    for seed in range(CASES):
        pair = abdomen_phantom(seed, shape=(90, 120, 130), spacing=(2.5, 2.5, 2.5))
        for kind, volume in zip(("images", "labels"), pair, strict=True):
            write_volume(volume, folder / kind / f"case_{seed}.nii.gz")
    return folder


def prepare(data: Path, work: Path) -> None:
    """The plan and the prepared cases that every measured process reads."""
    from trainer.data.fingerprint import inspect
    from trainer.data.plan import propose
    from trainer.data.plan_file import write_plan
    from trainer.data.store import prepare_all

    found = inspect(data)
    plan = propose(found)
    labelled = [case for case in found.cases if case.labels][:CASES]
    write_plan(work / "plan.yaml", plan)
    prepare_all(plan, labelled, work / "store")


def batches_of(maker: str, work: Path, shape: str, workers: int) -> tuple[Iterator[dict[str, Any]], int]:
    """An endless row of batches (image, labels), and the number of classes."""
    from trainer.data.plan_file import read_plan
    from trainer.data.store import Store

    patch, count = SHAPES[shape]
    plan, store = replace(read_plan(work / "plan.yaml"), patch=patch, batch=count), Store(work / "store")
    make = _ours if maker == "ours" else _monai
    return make(plan, store, workers), plan.classes


def _ours(plan: Any, store: Any, workers: int) -> Iterator[dict[str, Any]]:
    from trainer.data.batches import SupervisedBatches, loader

    yield from loader(SupervisedBatches(plan, store, store.names, steps=10**6, seed=0), 0, 10**6, workers)


def _monai(plan: Any, store: Any, workers: int) -> Iterator[dict[str, Any]]:
    from monai.data import CacheDataset, DataLoader

    items = [
        {"image": np.array(case.image, dtype=np.float32)[None], "labels": np.array(case.labels)[None]}
        for case in map(store.__getitem__, store.names)
    ]
    dataset = CacheDataset(items * plan.batch, _transforms(plan), progress=False, num_workers=0)
    loader = DataLoader(
        dataset, batch_size=plan.batch, shuffle=True, num_workers=workers, persistent_workers=workers > 0
    )
    while True:
        yield from loader


def _transforms(plan: Any) -> Any:
    from monai import transforms as t

    change, both = plan.augmentation, ["image", "labels"]
    foreground = [plan.foreground / (plan.classes - 1)] * (plan.classes - 1)
    radians = np.radians(change.degrees)
    one = "image"
    return t.Compose(
        [
            t.EnsureTyped(both),
            t.SpatialPadd(both, plan.patch),
            t.ClassesToIndicesd("labels", num_classes=plan.classes, max_samples_per_class=2000),  # cached, as all above
            t.RandCropByLabelClassesd(
                both, "labels", plan.patch, [1 - plan.foreground, *foreground], num_classes=plan.classes, warn=False,
                indices_key="labels_cls_indices",
            ),
            t.SelectItemsd(both),
            t.RandAffined(
                both, prob=change.affine, rotate_range=[radians] * 3, scale_range=[0.17] * 3,
                mode=["bilinear", "nearest"], padding_mode="zeros",
            ),
            *(t.RandFlipd(both, prob=0.5, spatial_axis=axis) for axis in change.mirror),
            t.RandGaussianNoised(one, prob=change.noise, std=0.1),
            t.RandGaussianSmoothd(one, (0.4, 0.9), (0.4, 0.9), (0.4, 0.9), prob=change.blur),
            t.RandScaleIntensityd(one, factors=0.2, prob=change.brightness),
            t.RandScaleIntensityFixedMeand(one, factors=0.3, preserve_range=True, prob=change.contrast),
            t.RandAdjustContrastd(one, prob=change.gamma, gamma=(0.7, 1.5)),
        ]
    )  # fmt: skip


def make(maker: str, work: Path, shape: str) -> dict[str, float]:
    """Milliseconds of processor time for a batch, on one thread; what else the machine does has little part in that."""
    import torch

    torch.set_num_threads(1)
    batches, _ = batches_of(maker, work, shape, workers=0)
    for _ in islice(batches, 2 * WARM_UP):
        pass
    started = process_time()
    for _ in islice(batches, STEPS):
        pass
    return {"milliseconds": round((process_time() - started) / STEPS * 1000, 2)}


def train(maker: str, work: Path, shape: str, workers: int) -> dict[str, float]:
    """Milliseconds for a step of training, and how much of that is spent waiting for the batch."""
    import torch
    from monai.losses import DiceCELoss
    from monai.networks.nets import BasicUNet

    batches, classes = batches_of(maker, work, shape, workers)
    network = BasicUNet(3, 1, classes, (16, 16, 32, 64, 128, 16)).to(memory_format=torch.channels_last_3d)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3)
    loss_of = DiceCELoss(to_onehot_y=True, softmax=True)
    waited = started = 0.0
    for step in range(WARM_UP + STEPS // 2):
        if step == WARM_UP:
            waited, started = 0.0, perf_counter()
        asked = perf_counter()
        batch = next(batches)
        waited += perf_counter() - asked
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(torch.as_tensor(batch["image"]).to(memory_format=torch.channels_last_3d))
        loss = loss_of(logits.float(), torch.as_tensor(batch["labels"]).long())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    taken = perf_counter() - started
    return {"milliseconds": round(taken / (STEPS // 2) * 1000, 1), "waiting": round(waited / taken, 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a folder of scans and labels instead of phantoms")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--variants", nargs="+", choices=("make", "train"), default=["make", "train"])
    parser.add_argument("--json", type=Path, help="write what was measured into this file")
    parser.add_argument("--run", choices=VARIANTS, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run:
        what, maker, shape, *workers = given.run.split()
        measured = make(maker, given.work, shape) if what == "make" else train(maker, given.work, shape, int(*workers))
        print(json.dumps(measured))
        return
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        prepare(given.data or write_phantoms(work / "phantoms"), work)
        variants = [variant for variant in VARIANTS if variant.split()[0] in given.variants]
        results = run_in_turn("Testing.benchmarks.training_batches", variants, given.rounds, ["--work", folder])
    if given.json:
        given.json.write_text(json.dumps({"machine": machine(), "results": results}, indent=2), encoding="utf-8")
    print(f"\n{machine()}\n{given.data or 'phantoms'}, {CASES} cases, medians of {given.rounds} rounds\n")
    if "make" in given.variants:
        _print_making(results)
    if "train" in given.variants:
        _print_training(results)


def _print_making(results: dict[str, list[dict[str, float]]]) -> None:
    print("| batch | ours, ms | MONAI, ms | times faster |\n|---|---|---|---|")
    for shape, (_, count) in SHAPES.items():
        ours, monai = (results[f"make {maker} {shape}"] for maker in MAKERS)
        faster = median_ratio(monai, ours, "milliseconds")
        print(f"| {count} × {shape} | {_middle(ours):.1f} | {_middle(monai):.1f} | {faster:.1f} |")


def _print_training(results: dict[str, list[dict[str, float]]]) -> None:
    print("\n| batch, workers | ours, ms a step | of it waiting | MONAI, ms a step | of it waiting |")
    print("|---|---|---|---|---|")
    for shape, (_, count) in SHAPES.items():
        for workers in WORKERS:
            cells = []
            for maker in MAKERS:
                rows = results[f"train {maker} {shape} {workers}"]
                cells += [f"{_middle(rows):.0f}", f"{_middle(rows, 'waiting'):.1%}"]
            print(f"| {count} × {shape}, {workers} | {' | '.join(cells)} |")


def _middle(rows: list[dict[str, float]], key: str = "milliseconds") -> float:
    return float(np.median([row[key] for row in rows]))


if __name__ == "__main__":
    main()
