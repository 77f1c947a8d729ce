"""The report: what was found, in numbers, and how it was made. Plain data that goes into a JSON file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from SSLSegmentationLib import __version__
from SSLSegmentationLib.io.atomic import replacing
from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.report import DISCLAIMER
from SSLSegmentationLib.volume import Volume


def build_report(
    volume: Volume,
    labels: Volume,
    label_table: Sequence[Label],
    uncertainty: Volume | None = None,
    *,
    model: Mapping[str, Any] | None = None,
    device: str = "",
    seconds: Mapping[str, float] | None = None,
    memory_steps: Sequence[str] = (),
) -> dict[str, Any]:
    """Everything about one segmentation that a script or a colleague may ask for later, ready for JSON.

    `model` tells id, version and hash; `seconds` how long each stage took; `memory_steps` what was done to get by with
    the memory there was.
    """
    for other in (labels, uncertainty):
        if other is not None and other.shape != volume.shape:
            raise ValueError(f"{other.name} does not lie on the grid of {volume.name}")
    counts, doubts = _count(labels.voxels, None if uncertainty is None else uncertainty.voxels)
    at_border = _at_border(labels.voxels)
    names = {label.value: label for label in label_table}
    listed = sorted(set(names) | {value for value in counts if value != 0})
    total = sum(doubts.values())
    return {
        "notice": f"{DISCLAIMER}.",
        "software": {"name": "SSLSegmentation", "version": __version__},
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "scan": {
            "name": volume.name,
            "modality": volume.modality,
            "size": [int(n) for n in volume.shape[::-1]],
            "spacing_mm": [round(float(mm), 6) for mm in volume.spacing],
            "orientation": volume.orientation,
            "ijk_to_ras": volume.ijk_to_ras.tolist(),
        },
        "model": dict(model or {}),
        "device": device,
        "seconds": {stage: round(float(time), 3) for stage, time in (seconds or {}).items()},
        "memory_steps": list(memory_steps),
        "mean_uncertainty": None if uncertainty is None else round(total / labels.voxels.size, 6),
        "labels": [
            {
                "value": value,
                "name": names[value].name if value in names else f"label {value}",
                "voxels": (voxels := counts.get(value, 0)),
                "ml": round(voxels * volume.voxel_ml, 4),
                "mean_uncertainty": (
                    round(doubts.get(value, 0.0) / voxels, 6) if uncertainty is not None and voxels else None
                ),
                "touches_border": value in at_border,
            }
            for value in listed
        ],
    }


def write_report(path: Path | str, report: Mapping[str, Any]) -> None:
    """As JSON; a number that is none (NaN) is refused, as JSON has no word for it."""
    text = json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _count(labels: np.ndarray, uncertainty: np.ndarray | None) -> tuple[dict[int, int], dict[int, float]]:
    """Voxels and summed uncertainty of each value, plane by plane, so that large scans need no copy."""
    counts: dict[int, int] = {}
    doubts: dict[int, float] = {}
    for k, plane in enumerate(labels):
        values, codes, found = np.unique(plane, return_inverse=True, return_counts=True)
        for value, count in zip(values, found, strict=True):
            counts[int(value)] = counts.get(int(value), 0) + int(count)
        if uncertainty is not None:
            sums = np.bincount(codes.reshape(-1), uncertainty[k].reshape(-1).astype(np.float64), len(values))
            for value, doubt in zip(values, sums, strict=True):
                doubts[int(value)] = doubts.get(int(value), 0.0) + float(doubt)
    return counts, doubts


def _at_border(labels: np.ndarray) -> set[int]:
    """Values in the outermost voxels of the scan: of such an organ a part may be missing."""
    faces = (np.moveaxis(labels, axis, 0)[end] for axis in range(3) for end in (0, -1))
    return {int(value) for face in faces for value in np.unique(face)} - {0}
