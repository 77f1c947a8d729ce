"""Small cases for the tests of datasets, and what makes a dataset valid."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from SSLSegmentationLib.dataset.dataset import Case
from SSLSegmentationLib.dataset.provenance import Model, Provenance, Step
from SSLSegmentationLib.io.read import read_volume
from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.volume import Volume

LIVER, SPLEEN, CYST = Label(6, "liver", (0.9, 0.5, 0.4)), Label(1, "spleen", (0.6, 0.4, 0.6)), Label(3, "cyst")


def a_case(seed: int = 0, names: tuple[Label, ...] = (LIVER, SPLEEN), modality: str = "CT", change: int = 0) -> Case:
    """A scan that the seed decides, with labels that `change` moves."""
    random = np.random.default_rng(seed)
    turned = np.array([[0.9, -0.1, 0, -20], [0.1, 0.9, 0, 30], [0, 0, 2.5, -100], [0, 0, 0, 1.0]])
    scan = Volume(random.integers(-200, 300, (6, 9, 10)).astype(np.int16), turned, "Jane Doe abdomen", modality)
    labels = np.zeros(scan.shape, np.uint8)
    for place, label in enumerate(names):
        labels[1:4, 2 * place : 2 * place + 2, 2 + change : 5 + change] = label.value
    return Case(
        scan,
        scan.with_voxels(labels),
        names,
        Provenance(
            model=Model("abdomen", "1.0", "ab" * 32),
            history=(
                Step(
                    "segment", "accepted", added=54, model=Model("abdomen", "1.0", "ab" * 32), when="2026-01-02T03:04"
                ),
                Step(
                    "prompt", "undone", "liver", ({"kind": "point", "ras": [1.0, 2.0, 3.0], "positive": True},), added=3
                ),
            ),
            by_hand=7,
            by="reader 1",
        ),
        uncertainty=scan.with_voxels(random.random(scan.shape, np.float32)),
    )


def faults_of(folder: Path) -> list[str]:
    """What a reader that goes by dataset.json would stumble over."""
    said = json.loads((folder / "dataset.json").read_text("utf-8"))
    faults = [] if said["numTraining"] == len(said["dataset"]) else ["numTraining is wrong"]
    values = list(said["labels"].values())
    if values != list(range(len(values))):
        faults.append(f"label values are {values}")
    for name, files in said["dataset"].items():
        image, truth = read_volume(folder / files["images"][0]), read_volume(folder / files["label"])
        if not image.same_grid_as(truth):
            faults.append(f"{name} has two grids")
        if unknown := set(np.unique(truth.voxels).tolist()) - set(values):
            faults.append(f"{name} holds {unknown} without a name")
    return faults
