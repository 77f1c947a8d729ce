"""A labelling of the whole scan, read as changes: to segments of the same names, and as segments of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import slicer

from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.plane import Box
from SSLSegmentationLib.proposal import Cropped, Proposal, propose
from SSLSegmentationLib.scene.names import dressed
from SSLSegmentationLib.scene.segments import is_locked, mask_of, segment_named
from SSLSegmentationLib.steps import Steps
from SSLSegmentationLib.volume import Volume

_PIECE = 4_000_000  # voxels looked at before the window may look up


@dataclass(frozen=True, eq=False)
class Reading:
    """What a labelling would change; `proposals` and `fresh` go to the preview and to the writer as they are."""

    proposals: dict[str, Proposal] = field(default_factory=dict)
    """By segment id: what changes in segments that are there already."""
    fresh: list[tuple[Label, Cropped]] = field(default_factory=list)
    """What there is no segment for yet."""
    locked: list[str] = field(default_factory=list)
    """Names of segments that stay as they are because they are locked."""
    missing: list[str] = field(default_factory=list)
    """Names of which nothing was found; segments of these names stay as they are."""


def reading(
    labels: Volume,
    names: Sequence[Label],
    node: slicer.vtkMRMLSegmentationNode,
    scan: slicer.vtkMRMLScalarVolumeNode,
) -> Steps[Reading]:
    """Compare a labelling on the scan's grid with the segments there are, label by label."""
    found = Reading()
    boxes: dict[int, Box] = {}
    thick = max(1, _PIECE // (labels.shape[1] * labels.shape[2]))
    for first in range(0, labels.shape[0], thick):
        _add_boxes(boxes, labels.voxels[first : first + thick], first)
        yield
    for label in dressed(names):
        if label.value == 0:
            continue
        if label.value not in boxes:
            found.missing.append(label.name)
            continue
        box = boxes[label.value]
        mask = Cropped(box, labels.voxels[box] == label.value)
        segment_id = segment_named(node, label.name)
        if not segment_id:
            found.fresh.append((label, mask))
        elif is_locked(node, segment_id):
            found.locked.append(label.name)
        else:
            before = mask_of(node, segment_id, scan)
            around = _around(box, before)
            proposal = propose(around, before.within(around), mask.within(around), score=1.0, segment=segment_id)
            found.proposals[segment_id] = proposal
        yield
    return found


def _add_boxes(boxes: dict[int, Box], slab: np.ndarray, first: int) -> None:
    from scipy import ndimage

    for value, box in enumerate(ndimage.find_objects(slab), start=1):
        if box is None:
            continue
        placed = (slice(box[0].start + first, box[0].stop + first), *box[1:])
        known = boxes.get(value, placed)
        boxes[value] = tuple(
            slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(known, placed, strict=True)
        )


def _around(box: Box, mask: Cropped) -> Box:
    """The box that holds another and a mask."""
    if mask.bits.size == 0:
        return box
    return tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(box, mask.box, strict=True))
