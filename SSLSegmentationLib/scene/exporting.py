"""Segments as one array of label values on a scan's grid, as datasets want them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import slicer

from SSLSegmentationLib.scene.arrays import voxels_of
from SSLSegmentationLib.scene.segments import Inside, binary_name, segment_of
from SSLSegmentationLib.steps import Steps

_PIECE = 1_000_000  # voxels written before the window may look up


@dataclass(frozen=True, eq=False)
class Flat:
    voxels: np.ndarray
    """1 for the first segment, 2 for the second, 0 where none is."""
    shared: int
    """Voxels that lay in several segments; they went to the first of these."""
    sizes: tuple[int, ...]
    """Voxels of each segment."""


def flattening(
    node: slicer.vtkMRMLSegmentationNode, scan: slicer.vtkMRMLScalarVolumeNode, segment_ids: Sequence[str]
) -> Steps[Flat]:
    """Lay segments over each other, the first one uppermost, slab by slab."""
    shape = scan.GetImageData().GetDimensions()[::-1]
    voxels = np.zeros(shape, np.uint8 if len(segment_ids) < 256 else np.uint16)
    layers = _layers(node, segment_ids, voxels.dtype)
    sizes = np.zeros(len(segment_ids) + 1, dtype=np.int64)
    shared = 0
    thick = max(1, _PIECE // (shape[1] * shape[2]))
    for first in range(0, shape[0], thick):
        slab = voxels[first : first + thick]
        inside = Inside(node, scan, (slice(first, first + len(slab)), slice(0, shape[1]), slice(0, shape[2])))
        several = np.zeros(slab.shape, dtype=bool)
        for segment_id, table in layers:
            filled = inside.stored(segment_id)
            if filled is None:
                continue
            (k, *rest) = filled.box
            box = (slice(k.start - first, k.stop - first), *rest)
            new, old = table[filled.bits], slab[box]
            several[box] |= (new > 0) & (old > 0)
            # One less wraps around for zero, so that "none" is the last of all.
            slab[box] = np.minimum(new - voxels.dtype.type(1), old - voxels.dtype.type(1)) + voxels.dtype.type(1)
        shared += int(np.count_nonzero(several))
        sizes += np.bincount(slab.ravel(), minlength=len(sizes))
        yield
    return Flat(voxels, shared, tuple(sizes[1:].tolist()))


def visible_segments(node: slicer.vtkMRMLSegmentationNode) -> list[str]:
    """The ids of the segments that the user has not hidden, in their order."""
    display = node.GetDisplayNode()
    ids = list(node.GetSegmentation().GetSegmentIDs())
    return [one for one in ids if display is None or display.GetSegmentVisibility(one)]


def _layers(
    node: slicer.vtkMRMLSegmentationNode, segment_ids: Sequence[str], kind: np.dtype
) -> list[tuple[str, np.ndarray]]:
    """For each layer a segment that lies in it, and what its label values become."""
    layers: dict[str, tuple[str, np.ndarray]] = {}
    for number, segment_id in enumerate(segment_ids, start=1):
        segment = segment_of(node, segment_id)
        image = segment.GetRepresentation(binary_name())
        if image is None or image.IsEmpty() or image.GetPointData().GetScalars() is None:
            continue
        if image.__this__ not in layers:
            layers[image.__this__] = (segment_id, np.zeros(_values_of(image), kind))
        layers[image.__this__][1][segment.GetLabelValue()] = number
    return list(layers.values())


def _values_of(image: slicer.vtkOrientedImageData) -> int:
    """How many label values there may be in a layer: by its type, since looking through it takes long."""
    kind = voxels_of(image).dtype
    return np.iinfo(kind).max + 1 if kind.itemsize <= 2 else int(image.GetScalarRange()[1]) + 1
