"""States: what the segments of a segmentation hold at a moment, to see later what was changed, undone or redone.

Slicer stores segments in layers of label values. A state keeps the planes of each layer, and shares those with the
state before it that have not changed, so that a correction costs a few planes.
"""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import slicer

from SSLSegmentationLib.plane import Box
from SSLSegmentationLib.scene.arrays import array_of, box_of_extent, voxels_of
from SSLSegmentationLib.scene.segments import binary_name
from SSLSegmentationLib.steps import Steps

_PIECE = 2_000_000  # voxels looked at before the window may look up


@dataclass(frozen=True, eq=False)
class Layer:
    stamp: tuple[str, int]
    """The image and the time of its last change: as long as they are the same, so is the layer."""
    box: Box
    lattice: bytes
    planes: tuple[np.ndarray, ...]
    sums: tuple[int, ...]
    """Of the planes; 0 for those without a voxel."""


@dataclass(frozen=True, eq=False)
class State:
    layers: tuple[Layer, ...]
    segments: dict[str, tuple[int, int]]
    """By id: the number of the layer, and the value in it."""

    @cached_property
    def key(self) -> str:
        """The same for states with the same voxels, however empty segments or layers are."""
        content = hashlib.sha256()
        for layer in self.layers:
            rows = layer.box[0].start, layer.box[1].start, layer.box[2].start, *layer.planes[0].shape
            filled = [(number, total) for number, total in enumerate(layer.sums) if total]
            if filled:
                content.update(layer.lattice + repr((rows, filled)).encode())
        return content.hexdigest()[:32]


def looking(node: slicer.vtkMRMLSegmentationNode, last: State | None = None) -> Steps[State]:
    """The state a segmentation is in, in pieces; `last` is an earlier one."""
    segmentation, layers, numbers, segments = node.GetSegmentation(), [], {}, {}
    known = {layer.stamp: layer for layer in (last.layers if last is not None else ())}
    for segment_id in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(segment_id)
        image = segment.GetRepresentation(binary_name())
        if image is None or image.IsEmpty() or image.GetPointData().GetScalars() is None:
            continue
        stamp = (image.__this__, image.GetMTime())
        if stamp not in numbers:
            numbers[stamp] = len(layers)
            if stamp not in known:
                earlier = _earlier(last, len(layers))
                layers.append((yield from _layer(image, stamp, earlier)))
            else:
                layers.append(known[stamp])
        segments[segment_id] = (numbers[stamp], segment.GetLabelValue())
    return State(tuple(layers), segments)


def changes(before: State, now: State, segment_ids: frozenset[str] | None = None) -> Steps[dict[str, tuple[int, int]]]:
    """The voxels that each segment has gained and lost; segments that have neither are not named."""
    found = {}
    for segment_id in {**before.segments, **now.segments}:
        if segment_ids is None or segment_id in segment_ids:
            counts = yield from _changes_of(before, now, segment_id)
            if any(counts):
                found[segment_id] = counts
    return found


def _layer(image: slicer.vtkOrientedImageData, stamp: tuple[str, int], earlier: Layer | None) -> Steps[Layer]:
    voxels, box = voxels_of(image), box_of_extent(image)
    lattice = array_of(image.GetImageToWorldMatrix).tobytes()
    empty = zlib.crc32(bytes(voxels[0].nbytes))
    planes, sums, seen = [], [], 0
    for number, plane in enumerate(voxels):
        total = zlib.crc32(plane)
        same = _plane_of(earlier, box, number, total)
        planes.append(plane.copy() if same is None else same)
        sums.append(0 if total == empty else total)
        seen += plane.size
        if seen > _PIECE:
            seen = 0
            yield
    return Layer(stamp, box, lattice, tuple(planes), tuple(sums))


def _earlier(last: State | None, number: int) -> Layer | None:
    return last.layers[number] if last is not None and number < len(last.layers) else None


def _plane_of(layer: Layer | None, box: Box, number: int, total: int) -> np.ndarray | None:
    """The same plane in an earlier layer, if it was the same."""
    if layer is None or layer.box[1:] != box[1:]:
        return None
    there = box[0].start + number - layer.box[0].start
    return layer.planes[there] if 0 <= there < len(layer.sums) and layer.sums[there] == total else None


def _changes_of(before: State, now: State, segment_id: str) -> Steps[tuple[int, int]]:
    old, new = _found(before, segment_id), _found(now, segment_id)
    if old is None or new is None or old[0].lattice != new[0].lattice:
        gained = 0 if new is None else (yield from _size(*new))
        lost = 0 if old is None else (yield from _size(*old))
        return gained, lost
    (was, old_value), (is_, new_value) = old, new
    if was is is_ and old_value == new_value:
        return 0, 0
    first = min(was.box[0].start, is_.box[0].start)
    last = max(was.box[0].stop, is_.box[0].stop)
    around = tuple(
        slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(was.box[1:], is_.box[1:], strict=True)
    )
    gained, lost, seen = 0, 0, 0
    for k in range(first, last):
        one, other = _at(was, k), _at(is_, k)
        if one is other and old_value == new_value:
            continue
        there, here = _mask(one, was, old_value, around), _mask(other, is_, new_value, around)
        gained += int(np.count_nonzero(here & ~there))
        lost += int(np.count_nonzero(there & ~here))
        seen += here.size
        if seen > _PIECE:
            seen = 0
            yield
    return gained, lost


def _found(state: State, segment_id: str) -> tuple[Layer, int] | None:
    if segment_id not in state.segments:
        return None
    number, value = state.segments[segment_id]
    return state.layers[number], value


def _size(layer: Layer, value: int) -> Steps[int]:
    count = 0
    for number, plane in enumerate(layer.planes):
        count += int(np.count_nonzero(plane == value)) if layer.sums[number] else 0
        if number % 8 == 7:
            yield
    return count


def _at(layer: Layer, k: int) -> np.ndarray | None:
    number = k - layer.box[0].start
    return layer.planes[number] if 0 <= number < len(layer.planes) and layer.sums[number] else None


def _mask(plane: np.ndarray | None, layer: Layer, value: int, around: tuple[slice, slice]) -> np.ndarray:
    mask = np.zeros(tuple(side.stop - side.start for side in around), dtype=bool)
    if plane is not None:
        rows, columns = (
            slice(own.start - side.start, own.stop - side.start)
            for own, side in zip(layer.box[1:], around, strict=True)
        )
        mask[rows, columns] = plane == value
    return mask
