"""Small folders of cases for tests: boxes of two sizes in noise, bright enough to be told apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from SSLSegmentationLib.io.write import write_volume
from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.models.package import IntensityRule, Preprocessing
from SSLSegmentationLib.volume import Volume
from trainer.data.augment import CROP_ONLY
from trainer.data.plan import Plan

SHAPE = (14, 20, 18)  # (k, j, i)


def scan_and_labels(
    seed: int, shape: tuple[int, int, int] = SHAPE, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
) -> tuple[Volume, Volume]:
    """Label 1 is a large box with a value around 100, label 3 a small one around 200; the rest is around 0."""
    random = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint8)
    k, j, i = (n // 4 for n in shape)
    labels[k : 3 * k, j : 3 * j, i : 2 * i] = 1
    labels[k : k + 2, j : j + 3, 2 * i + 1 : 2 * i + 4] = 3
    voxels = random.normal(0, 5, shape) + 100 * (labels == 1) + 200 * (labels == 3)
    matrix = np.diag([*spacing, 1.0])
    return Volume(np.rint(voxels).astype(np.int16), matrix), Volume(labels, matrix)


def write_case(folder: Path, name: str, seed: int = 0, *, labelled: bool = True, **shaped: object) -> None:
    """images/NAME.nii.gz and, if it is labelled, labels/NAME.nii.gz."""
    scan, labels = scan_and_labels(seed, **shaped)
    for kind, volume in (("images", scan), ("labels", labels)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        if kind == "images" or labelled:
            write_volume(volume, folder / kind / f"{name}.nii.gz")


def write_folder(folder: Path, labelled: int = 3, unlabelled: int = 0, **shaped: object) -> Path:
    for index in range(labelled + unlabelled):
        write_case(folder, f"case_{index:02d}", index, labelled=index < labelled, **shaped)
    return folder


def plan_for(folder: Path, **changes: object) -> Plan:
    plan = Plan(
        name="boxes",
        data=folder,
        modality="MR",
        labels=(Label(1, "large"), Label(3, "small")),
        preprocessing=Preprocessing("RAS", (1.0, 1.0, 1.0), IntensityRule("zscore"), crop_to_body=False),
        patch=(8, 8, 8),
        batch=4,
        dims=3,
        network={"_target_": "BasicUNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 3},
        augmentation=CROP_ONLY,
    )
    return replace(plan, **changes)
