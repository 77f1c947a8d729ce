"""Train the demonstration network on synthetic abdomens and write it as a model package.

    python -m trainer.phantom_demo --steps 800 --out FOLDER --seed 0

FOLDER gets the checkpoint and, at the end, the package `phantom-abdomen`. Run again, the same command goes on where it
stopped. What a step sees depends on the seed and its number alone, so an interrupted training ends as a whole one does.
With another number of steps the end is moved, and the package tells so.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from SSLSegmentationLib import __version__
from SSLSegmentationLib.inference.preprocess import prepare
from SSLSegmentationLib.io.atomic import replacing
from SSLSegmentationLib.models.package import IntensityRule, ModelPackage, Preprocessing, Sliding, UncertaintyRule
from SSLSegmentationLib.phantom import abdomen_phantom
from SSLSegmentationLib.phantom.names import organ_labels
from SSLSegmentationLib.volume import Volume

if TYPE_CHECKING:
    import torch

NETWORK = {
    "_target_": "UNet",
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 14,
    "channels": [16, 32, 64, 128],
    "strides": [2, 2, 2],
    "num_res_units": 1,
    "norm": "instance",
}
PREPROCESSING = Preprocessing("RAS", (3.0, 3.0, 3.0), IntensityRule("window", -160.0, 240.0))
SLIDING = Sliding((64, 64, 64), overlap=0.5)

# Seeds below these are left to demos and tests, so that nobody is shown what the network was trained on.
FIRST_TRAINING_SEED, FIRST_VALIDATION_SEED, FIRST_TEST_SEED = 10_000, 20_000, 30_000

CHECKPOINT = "checkpoint.pt"
"""Holds, beside the state, the `plan`: from which step on which number of steps was aimed at."""

_BATCH = 2
_CASES_AT_FIRST, _STEPS_PER_CASE = 6, 6  # the pool grows while it is trained on
_WARM_UP_STEPS = 20
_SAVE_EVERY = 50

Case = tuple[np.ndarray, np.ndarray]
"""Image (float16, 0 to 1) and labels (uint8) on the network's grid, (i, j, k)."""


def on_network_grid(scan: Volume, labels: Volume, zoom: float = 1.0) -> Case:
    """A case as the network sees it; a zoom other than 1 makes a patient of another size out of it."""
    rule = replace(PREPROCESSING, spacing=tuple(mm / zoom for mm in PREPROCESSING.spacing))
    prepared = prepare(scan, rule)
    nearest = (np.clip(np.rint(axis.scan_positions()).astype(int), 0, axis.scan_size - 1) for axis in prepared.maps)
    truth = labels.reoriented(rule.orientation).voxels.transpose(2, 1, 0)[np.ix_(*nearest)]
    return prepared.array.astype(np.float16), truth


def training_case(seed: int, index: int) -> Case:
    """The phantom with this index in the training of this seed, on a grid of random spacing."""
    random = np.random.default_rng([seed, index, 2])
    in_slice, between = random.uniform(1.9, 2.7), random.uniform(2.0, 4.5)
    shape = (int(290 / between), int(380 / in_slice), int(400 / in_slice))
    scan, labels = abdomen_phantom(
        FIRST_TRAINING_SEED + 1000 * seed + index, shape=shape, spacing=(in_slice, in_slice, between)
    )
    return on_network_grid(scan, labels, zoom=random.uniform(0.85, 1.15))


def batch_of(pool: list[Case], random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Patches (batch, channel, i, j, k), two of three around a voxel of an organ that is drawn first."""
    images, truths = [], []
    for _ in range(_BATCH):
        image, truth = pool[random.integers(len(pool))]
        centre = random.integers(0, truth.shape)
        if random.random() < 0.67:
            found = np.argwhere(truth == random.choice(np.unique(truth)[1:]))
            centre = found[random.integers(len(found))] + random.integers(-16, 17, 3)
        image, truth = (_patch(array, centre) for array in (image, truth))
        images.append(_another_look(image.astype(np.float32), random))
        truths.append(truth)
    return np.stack(images)[:, None], np.stack(truths)[:, None]


def _patch(array: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """A patch around the centre, moved inside where it would leave the array, with zeros where that is too small."""
    starts = [
        int(np.clip(c - side // 2, 0, max(0, n - side)))
        for c, side, n in zip(centre, SLIDING.patch, array.shape, strict=True)
    ]
    inside = array[tuple(slice(a, a + side) for a, side in zip(starts, SLIDING.patch, strict=True))]
    missing = [(0, side - n) for side, n in zip(SLIDING.patch, inside.shape, strict=True)]
    return np.pad(inside, missing)


def _another_look(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Other contrast, brightness, sharpness and noise than the phantom's own: real scanners vary more."""
    from scipy.ndimage import gaussian_filter

    if random.random() < 0.3:
        image = gaussian_filter(image, random.uniform(0.3, 0.8))
    image = image * random.uniform(0.85, 1.15) + random.uniform(-0.06, 0.06)
    image = image + random.standard_normal(image.shape, np.float32) * random.uniform(0, 0.05)
    image = np.clip(image, 0, 1)
    return (image ** random.uniform(0.8, 1.25)).astype(np.float32)


def train(steps: int, folder: Path, seed: int, cases: int, say: Callable[[str], None]) -> torch.nn.Module:
    """The network after so many steps; goes on from the checkpoint in the folder if there is one."""
    import torch
    from monai.losses import DiceCELoss

    torch.manual_seed(seed)
    network = make_network()
    optimiser = torch.optim.AdamW(network.parameters(), lr=4e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda step: min((step + 1) / _WARM_UP_STEPS, 0.5 * (1 + math.cos(math.pi * min(step, steps) / steps)) + 1e-3),
    )
    loss_of = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)
    checkpoint, first, plan = folder / CHECKPOINT, 0, [[0, steps]]
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        if (saved["seed"], saved["cases"]) != (seed, cases):
            raise SystemExit(f"{checkpoint} belongs to a training with other settings: choose another folder.")
        network.load_state_dict(saved["network"])
        optimiser.load_state_dict(saved["optimiser"])
        schedule.load_state_dict(saved["schedule"])
        first, plan = saved["step"], saved["plan"]
        if plan[-1][1] != steps:
            plan.append([first, steps])
        say(f"going on from step {first}")

    pool: list[Case] = []
    recent, started = [], time.perf_counter()
    for step in range(first, steps):
        while len(pool) < min(cases, _CASES_AT_FIRST + step // _STEPS_PER_CASE):
            pool.append(training_case(seed, len(pool)))
        image, truth = (torch.from_numpy(a) for a in batch_of(pool, np.random.default_rng([seed, step, 3])))
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(image)
        loss = loss_of(logits.float(), truth.long())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        steepness = torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        if torch.isfinite(steepness):  # half precision overflows now and then; one lost step is no harm
            optimiser.step()
        schedule.step()
        recent.append(loss.item())
        if (step + 1) % 20 == 0 or step + 1 == steps:
            pace = (time.perf_counter() - started) / (step + 1 - first)
            say(f"step {step + 1}/{steps}  loss {np.mean(recent):.3f}  {pace:.2f} s a step  {len(pool)} phantoms")
            recent = []
        if (step + 1) % _SAVE_EVERY == 0 or step + 1 == steps:
            state = {"plan": plan, "seed": seed, "cases": cases, "step": step + 1}
            state |= {"network": network.state_dict(), "optimiser": optimiser.state_dict()}
            state |= {"schedule": schedule.state_dict()}
            with replacing(checkpoint) as temporary:
                torch.save(state, temporary)
    return network.eval()


def recipe(folder: Path) -> str:
    """The command, or the commands, by which the network in the folder can be made again."""
    import torch

    saved = torch.load(folder / CHECKPOINT, weights_only=True)
    command = f"python -m trainer.phantom_demo --steps {{}} --seed {saved['seed']} --cases {saved['cases']}"
    starts = [f"from step {first} on: " if first else "" for first, _ in saved["plan"]]
    return "; ".join(start + command.format(steps) for start, (_, steps) in zip(starts, saved["plan"], strict=True))


def make_network() -> torch.nn.Module:
    from monai.networks.nets import UNet

    return UNet(**{name: value for name, value in NETWORK.items() if name != "_target_"})


def logits_of(network: torch.nn.Module, image: np.ndarray) -> torch.Tensor:
    """(classes, i, j, k) logits of a whole image on the network's grid."""
    import torch
    from monai.inferers import SlidingWindowInferer

    slide = SlidingWindowInferer(SLIDING.patch, 4, SLIDING.overlap, SLIDING.weighting, padding_mode="constant")
    with torch.inference_mode():
        return slide(torch.from_numpy(image.astype(np.float32))[None, None], network)[0]


def dice_by_organ(found: np.ndarray, truth: np.ndarray) -> dict[int, float]:
    """Dice of each organ that the truth has; an organ that is missing there is not scored."""
    return {
        label.value: 2.0 * float(((found == label.value) & (truth == label.value)).sum())
        / float((found == label.value).sum() + (truth == label.value).sum())
        for label in organ_labels()
        if (truth == label.value).any()
    }  # fmt: skip


def evaluate(network: torch.nn.Module, seeds: range, say: Callable[[str], None]) -> dict[str, Any]:
    """Mean Dice of each organ over phantoms on the default grid, measured on the network's grid."""
    each: dict[int, list[float]] = {label.value: [] for label in organ_labels()}
    for seed in seeds:
        image, truth = on_network_grid(*abdomen_phantom(seed))
        scores = dice_by_organ(logits_of(network, image).argmax(dim=0).numpy(), truth)
        for value, score in scores.items():
            each[value].append(score)
        say(f"phantom {seed}: mean Dice {np.mean(list(scores.values())):.3f}")
    by_organ = {label.name: round(float(np.mean(each[label.value])), 3) for label in organ_labels()}
    return {
        "data": f"{len(seeds)} synthetic abdomens that were not trained on, on the grid of the network",
        "mean_dice": round(float(np.mean(list(by_organ.values()))), 3),
        "dice": by_organ,
    }


def fitted_temperature(network: torch.nn.Module, seeds: range) -> float:
    """The temperature that makes the doubt on validation phantoms as large as the errors there are."""
    import torch

    from SSLSegmentationLib.inference.uncertainty import fit_temperature

    logits, truths = [], []
    for seed in seeds:
        image, truth = on_network_grid(*abdomen_phantom(seed))
        found = logits_of(network, image).reshape(NETWORK["out_channels"], -1)
        random = np.random.default_rng([seed, 4])
        voxels = np.flatnonzero(image.ravel() > 0)  # air around the patient is certain and would only dilute the rest
        chosen = random.choice(voxels, min(50_000, len(voxels)), replace=False)
        logits.append(found[:, chosen])
        truths.append(torch.from_numpy(truth.ravel()[chosen]))
    return fit_temperature(torch.cat(logits, dim=1), torch.cat(truths))


def write(
    network: torch.nn.Module, folder: Path, training: dict[str, Any], scores: dict[str, Any], heat: float
) -> Path:
    """The package, with weights in half precision: what that rounds off is far below what training left to chance."""
    from SSLSegmentationLib.models.write import write_package

    package = ModelPackage(
        folder=folder,
        id="phantom-abdomen",
        title="Demonstration network, trained on synthetic phantoms only, not for patients",
        version=__version__,
        modality="CT",
        licence="Apache-2.0",
        labels=organ_labels(),
        network=NETWORK,
        weights=(),
        sliding=SLIDING,
        preprocessing=PREPROCESSING,
        uncertainty=UncertaintyRule("entropy", temperature=round(heat, 3)),
        keep_largest=tuple(label.value for label in organ_labels()),
        description=(
            "Finds thirteen organs in the synthetic abdomen of the demo. It has never seen a patient: on a real scan "
            "its result shows how the program works, and nothing else."
        ),
        training=training,
        scores=scores,
    )
    licence = (Path(__file__).parent.parent / "LICENSE").read_text("utf-8")
    return write_package(folder, package, [network.half().state_dict()], licence).folder


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m trainer.phantom_demo", description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=800, help="training steps of two patches (default 800)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the checkpoint and the package")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=int, default=64, help="different phantoms to train on (default 64)")
    parser.add_argument("--unseen", type=int, default=8, help="phantoms to measure the result on (default 8)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="processor threads (default: all)")
    given = parser.parse_args(arguments)
    package = given.out / "phantom-abdomen"
    if package.exists():
        raise SystemExit(f"{package} exists already: remove it or choose another folder.")

    import torch

    torch.set_num_threads(given.threads)
    given.out.mkdir(parents=True, exist_ok=True)
    say = partial(print, flush=True)
    network = train(given.steps, given.out, given.seed, given.cases, say)
    scores = evaluate(network, range(FIRST_TEST_SEED, FIRST_TEST_SEED + given.unseen), say)
    heat = fitted_temperature(network, range(FIRST_VALIDATION_SEED, FIRST_VALIDATION_SEED + 3))
    training = {
        "data": f"{given.cases} synthetic abdomens of SSLSegmentationLib.phantom; no patient's scan",
        "method": "Dice and cross-entropy loss, AdamW, cosine schedule, bfloat16",
        "recipe": recipe(given.out),
    }
    for name, score in scores["dice"].items():
        say(f"{name:24s} {score:.3f}")
    say(f"mean Dice {scores['mean_dice']:.3f}, temperature {heat:.3f}")
    say(f"written: {write(network, package, training, scores, heat)}")


if __name__ == "__main__":
    main()
