"""A package that answers prompts, with random weights."""

from __future__ import annotations

from pathlib import Path

import torch

from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.models.nets.click import ClickNet
from SSLSegmentationLib.models.package import ModelPackage, Sliding
from SSLSegmentationLib.models.write import write_package

WIDTHS = [4, 8, 8]


def click_package(folder: Path) -> ModelPackage:
    torch.manual_seed(0)
    about = ModelPackage(
        folder=Path(),
        id=folder.name,
        title="Clicks",
        version="1",
        modality="",
        licence="Apache-2.0",
        labels=(Label(1, "segment"),),
        network={"_target_": "ClickNet", "out_channels": 1, "widths": WIDTHS},
        weights=(Path("model.safetensors"),),
        sliding=Sliding((32, 32, 1)),
        activation="sigmoid",
    )
    return write_package(folder, about, [ClickNet(widths=WIDTHS).state_dict()], "Apache-2.0")
