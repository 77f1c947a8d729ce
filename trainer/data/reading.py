"""One case from its files: the scan, and its labels on the scan's own grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.io.read import read_volume
from SSLSegmentationLib.io.segmentation import Segmentation, read_segmentation
from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.volume import Volume
from trainer.data.cases import CaseFiles

Content = TypeVar("Content")

_OFF_BY = 0.1  # of a voxel: so far apart may two grids be that are meant to be one, written by different programs


@dataclass(frozen=True, eq=False)
class Case:
    scan: Volume
    labels: Volume | None
    """uint8 values on the grid of the scan."""
    named: tuple[Label, ...] = ()
    """The labels as the file itself names them, if it is a segmentation of Slicer."""


def read_case(files: CaseFiles, labels: Sequence[Label] | None) -> Case:
    """Read a case; with `labels`, segments are matched by their names and other values are refused."""
    scan = _read(read_volume, files.image)
    if files.labels is None:
        return Case(scan, None)
    segmentation = _read(read_segmentation, files.labels)
    named = () if all(label.name.startswith("Segment_") for label in segmentation.labels) else segmentation.labels
    values = _values(segmentation, named, labels, files)
    flat = _flattened(segmentation, values, files)
    truth = _on_grid_of(scan, flat, files)
    if labels is not None and (unknown := sorted(set(values) - {label.value for label in labels})):
        raise InputError(
            f"{_place(files.labels)} holds the label value {', '.join(map(str, unknown))}, which is not one of "
            f"{_known(labels)}: name it, or correct the labels"
        )
    return Case(scan, truth, named)


def _read(reader: Callable[[Path], Content], path: Path) -> Content:
    """Errors name the folder as well: a scan and its labels often share a name."""
    try:
        return reader(path)
    except InputError as error:
        told = str(error)
        raise InputError(told if str(path) in told else told.replace(path.name, _place(path), 1)) from error


def _place(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _values(
    segmentation: Segmentation, named: Sequence[Label], labels: Sequence[Label] | None, files: CaseFiles
) -> list[int]:
    """The value of each segment. Slicer numbers segments as they come, so their names count and not their numbers."""
    if not named or labels is None:
        return [label.value for label in segmentation.labels]
    known = {label.name.lower(): label.value for label in labels}
    unknown = [label.name for label in named if label.name.lower() not in known]
    if unknown:
        raise InputError(
            f'{_place(files.labels)} has the segment "{unknown[0]}", which is not one of {_known(labels)}: '
            "rename it, or add it to the labels"
        )
    return [known[label.name.lower()] for label in named]


def _flattened(segmentation: Segmentation, values: Sequence[int], files: CaseFiles) -> Volume:
    """All segments in one label map; where they overlap, a later one lies over an earlier one."""
    first = segmentation.layers[0]
    if max(values, default=0) > 255:
        raise InputError(
            f"{_place(files.labels)} has the label value {max(values)}, but values go up to 255: number them anew"
        )
    if len(segmentation.layers) == 1 and all(
        value == label.value for value, label in zip(values, segmentation.labels, strict=True)
    ):
        return first.with_voxels(first.voxels.astype(np.uint8, copy=False))
    flat = np.zeros(first.shape, np.uint8)
    for index, value in enumerate(values):
        flat[segmentation.mask(index).voxels] = value
    return first.with_voxels(flat)


def _on_grid_of(scan: Volume, labels: Volume, files: CaseFiles) -> Volume:
    """The labels, filled up to the scan's grid where Slicer has cropped them to what is painted."""
    if scan.same_grid_as(labels, tolerance_mm=_OFF_BY * float(scan.spacing.min())):
        return scan.with_voxels(labels.voxels)
    turned = labels.reoriented(scan.orientation)
    steps = scan.ras_to_ijk @ turned.ijk_to_ras
    start = np.rint(steps[:3, 3]).astype(int)
    stop = start + turned.shape[::-1]
    last = steps[:3, :3] @ (np.array(turned.shape[::-1]) - 1) + steps[:3, 3]
    on_voxels = np.abs(steps[:3, 3] - start).max() < _OFF_BY and np.abs(last - (stop - 1)).max() < _OFF_BY
    if not on_voxels or (start < 0).any() or (stop > scan.shape[::-1]).any():
        raise InputError(
            f"{_place(files.image)} and {_place(files.labels)} have different grids "
            f"({_grid(scan)} and {_grid(labels)}): resample the labels to the scan, or export them again"
        )
    whole = np.zeros(scan.shape, np.uint8)
    whole[tuple(slice(a, b) for a, b in zip(start[::-1], stop[::-1], strict=True))] = turned.voxels
    return scan.with_voxels(whole)


def _grid(volume: Volume) -> str:
    size = " × ".join(map(str, volume.shape[::-1]))
    spacing = " × ".join(f"{mm:.4g}" for mm in volume.spacing)
    return f"{size} voxels of {spacing} mm from {', '.join(f'{mm:.1f}' for mm in volume.ijk_to_ras[:3, 3])}"


def _known(labels: Sequence[Label]) -> str:
    shown = ", ".join(f"{label.value} {label.name}" for label in labels[:8])
    return shown if len(labels) <= 8 else f"{shown}, …"
