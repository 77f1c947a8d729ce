"""Packages and bundles for the tests, written as small as they can be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.models.package import IntensityRule, ModelPackage, Preprocessing, Sliding

SMALL_UNET = {
    "_target_": "UNet",
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 3,
    "channels": [2, 4],
    "strides": [2],
}


def small_package(**changes: Any) -> ModelPackage:
    """A package of two organs, for `write_package`; folder and weights are made there."""
    fields: dict[str, Any] = {
        "folder": Path(),
        "id": "two-organs",
        "title": "Two organs",
        "version": "1.2.0",
        "modality": "CT",
        "licence": "Apache-2.0",
        "labels": (Label(1, "liver", (0.8, 0.4, 0.3)), Label(2, "spleen", (0.6, 0.2, 0.4))),
        "network": SMALL_UNET,
        "weights": (),
        "sliding": Sliding((16, 16, 16), 0.25),
        "preprocessing": Preprocessing("LPS", (1.5, 1.5, 2.0), IntensityRule("window", -100.0, 300.0)),
    }
    return ModelPackage(**fields | changes)


def state_of(definition: dict[str, Any], seed: int = 0) -> dict[str, Any]:
    """Random weights for a definition."""
    import torch

    from SSLSegmentationLib.models.networks import build, check_network

    network = build(check_network(definition, "test"), "test")
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand(tensor.shape, generator=generator) if tensor.is_floating_point() else tensor
        for name, tensor in network.state_dict().items()
    }


def image_transforms(*steps: dict[str, Any]) -> list[dict[str, Any]]:
    """What nearly every bundle begins with, and what follows."""
    return [
        {"_target_": "LoadImaged", "keys": "@image_key", "reader": "$whatever.reader()"},
        {"_target_": "EnsureChannelFirstd", "keys": "@image_key"},
        {"_target_": "Orientationd", "keys": "@image_key", "axcodes": "RAS"},
        *({"keys": "@image_key", **step} for step in steps),
        {"_target_": "EnsureTyped", "keys": "@image_key", "device": "@device"},
    ]


HU_WINDOW = {"_target_": "ScaleIntensityRanged", "a_min": -50, "a_max": 150, "b_min": 0, "b_max": 1, "clip": True}


def write_bundle(
    folder: Path,
    *,
    network: Any = SMALL_UNET,
    transforms: Any = None,
    post: Any = None,
    inferer: Any = None,
    names: Any = None,
    metadata: dict[str, Any] | None = None,
    inference: dict[str, Any] | None = None,
    as_yaml: bool = False,
) -> Path:
    """A folder like those of the MONAI Model Zoo, without weights and with the expressions that they all have."""
    config = {
        "imports": ["$import os"],
        "image_key": "image",
        "device": "$torch.device('cpu')",
        "network_def": network,
        "network": "$@network_def.to(@device)",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": image_transforms(HU_WINDOW) if transforms is None else transforms,
        },
        "inferer": inferer
        or {"_target_": "SlidingWindowInferer", "roi_size": [32, 32, 16], "overlap": 0.5, "device": "@device"},
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "Activationsd", "keys": "pred", "softmax": True},
                {"_target_": "Invertd", "keys": "pred", "transform": "$@preprocessing", "nearest_interp": False},
                {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
                *(post or []),
                {"_target_": "SaveImaged", "keys": "pred", "output_dir": "$@bundle_root + '/eval'"},
            ],
        },
        "run": ["$@evaluator.run()"],
    } | (inference or {})
    image = {"type": "image", "format": "hounsfield", "modality": "CT", "num_channels": 1, "channel_def": {"0": "x"}}
    pred = {"type": "image", "channel_def": names or {"0": "background", "1": "Liver", "2": "Spleen"}}
    about = {
        "version": "0.3.1",
        "name": "Two organs of the zoo",
        "description": "For a test",
        "network_data_format": {"inputs": {"image": image}, "outputs": {"pred": pred}},
    } | (metadata or {})
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "configs/metadata.json").write_text(json.dumps(about))
    if as_yaml:
        import yaml

        (folder / "configs/inference.yaml").write_text(yaml.safe_dump(config))
    else:
        (folder / "configs/inference.json").write_text(json.dumps(config))
    (folder / "LICENSE").write_text("                 Apache License\n           Version 2.0, January 2004\n")
    return folder
