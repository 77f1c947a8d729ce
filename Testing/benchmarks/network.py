"""The network of the benchmarks: DynUNet with 16 base channels and 14 classes, trained for a few minutes on phantoms.

Random weights would not do: their classes are nearly tied everywhere, so that the last bit of a number decides.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from SSLSegmentationLib.models.package import IntensityRule, Label, ModelPackage, Preprocessing, Sliding
from SSLSegmentationLib.phantom import abdomen_phantom
from SSLSegmentationLib.phantom.names import organ_labels

NETWORK = {
    "_target_": "DynUNet",
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 14,
    "kernel_size": [3, 3, 3, 3, 3],
    "strides": [1, 2, 2, 2, 2],
    "upsample_kernel_size": [2, 2, 2, 2],
    "filters": [16, 32, 64, 128, 256],
}
PATCH = (96, 96, 96)
INTENSITY = IntensityRule("window", -160.0, 240.0)


def package(weights: Path) -> ModelPackage:
    """The network as a package that works on the scan's own grid."""
    labels: tuple[Label, ...] = tuple(organ_labels())
    return ModelPackage(
        folder=weights.parent,
        id="benchmark",
        title="Benchmark network",
        version="1",
        modality="CT",
        licence="Apache-2.0",
        labels=labels,
        network=NETWORK,
        weights=(weights,),
        sliding=Sliding(PATCH),
        preprocessing=Preprocessing(intensity=INTENSITY),
    )


def train(weights: Path, steps: int) -> None:
    """Train on phantoms and write the weights, going on from those that are there."""
    import torch
    from monai.losses import DiceCELoss
    from safetensors.torch import load_model, save_model

    torch.manual_seed(0)
    network = build()
    if weights.exists():
        load_model(network, str(weights))
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3)
    loss_of = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)
    pool = [case(seed) for seed in range(60_000, 60_008)]
    for step in range(steps):
        images, truths = batch_of(pool, np.random.default_rng([len(pool), steps, step]))
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(torch.from_numpy(images))
        loss = loss_of(logits.float(), torch.from_numpy(truths).long())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        if (step + 1) % 20 == 0 or step + 1 == steps:
            print(f"step {step + 1}/{steps}  loss {loss.item():.3f}", flush=True)
            weights.parent.mkdir(parents=True, exist_ok=True)
            save_model(network, str(weights))  # as a model, because DynUNet names its parts twice


def case(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Image (0 to 1) and labels of a phantom, (i, j, k)."""
    scan, labels = abdomen_phantom(seed, shape=(96, 110, 120), spacing=(3.0, 3.0, 3.0))
    grey = (scan.voxels.astype(np.float32) - INTENSITY.low) / (INTENSITY.high - INTENSITY.low)
    return np.clip(grey, 0, 1).transpose(2, 1, 0), labels.voxels.transpose(2, 1, 0)


def batch_of(pool: list[tuple[np.ndarray, np.ndarray]], random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two patches (batch, channel, i, j, k), each around a voxel of an organ that is drawn first."""
    images, truths = [], []
    for _ in range(2):
        image, truth = pool[random.integers(len(pool))]
        found = np.argwhere(truth == random.choice(np.unique(truth)[1:]))
        centre = found[random.integers(len(found))] + random.integers(-16, 17, 3)
        start = np.clip(centre - 32, 0, np.array(truth.shape) - 64)
        part = tuple(slice(a, a + 64) for a in start)
        images.append(image[part])
        truths.append(truth[part])
    return np.stack(images)[:, None], np.stack(truths)[:, None]


def build():
    from monai.networks.nets import DynUNet

    return DynUNet(**{name: value for name, value in NETWORK.items() if name != "_target_"})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--steps", type=int, default=400)
    given = parser.parse_args()
    train(given.weights, given.steps)
