"""The connected parts of a segment, such as the lesions that a model has found as one, and what to call them."""

from __future__ import annotations

import colorsys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count

import numpy as np
import slicer

from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.proposal import Cropped
from SSLSegmentationLib.regions import Parts
from SSLSegmentationLib.scene.segments import Inside, segment_of
from SSLSegmentationLib.steps import Steps

MOST_PARTS = 20
"""More segments than this nobody looks through one by one; what is smaller is mostly noise."""

_PIECE = 1_000_000  # voxels looked at before the window may look up
_APART = 0.381966  # of the circle of hues: neighbours in the list look unlike each other


@dataclass(eq=False)
class Found:
    """The parts of a segment on the grid of its scan, slab by slab."""

    sizes: dict[int, int] = field(default_factory=dict)
    """Voxels of each part, by its number."""
    places: dict[int, list[int]] = field(default_factory=dict)
    """In which slabs it is."""
    slabs: list[Cropped] = field(default_factory=list)
    """The number of the part at each voxel, 0 outside of the segment."""

    def groups(self, most: int) -> list[list[int]]:
        """The parts, the largest first; if there are more than `most`, the last group is of all that are left."""
        by_size = sorted(self.sizes, key=lambda number: (-self.sizes[number], number))
        if len(by_size) <= most:
            return [[number] for number in by_size]
        return [*([number] for number in by_size[: most - 1]), by_size[most - 1 :]]

    def masks(self, numbers: Collection[int]) -> Iterator[Cropped]:
        """Where these parts are, slab by slab."""
        for place in sorted({place for number in numbers for place in self.places[number]}):
            slab = self.slabs[place]
            yield Cropped(slab.box, np.isin(slab.bits, list(numbers))).tight()


def finding(
    node: slicer.vtkMRMLSegmentationNode, segment_id: str, scan: slicer.vtkMRMLScalarVolumeNode
) -> Steps[Found]:
    columns, rows, slices = scan.GetImageData().GetDimensions()
    thick = max(1, _PIECE // (rows * columns))
    parts, slabs = Parts(), []
    for start in range(0, slices, thick):
        box = (slice(start, min(start + thick, slices)), slice(0, rows), slice(0, columns))
        mask = Inside(node, scan, box).mask(segment_id)
        yield
        numbers = parts.add(mask)
        slabs.append(Cropped(box, numbers).tight())
        yield
    firsts = np.array([0, *(parts.first(number) for number in range(1, len(parts) + 1))])
    found = Found()
    for place, slab in enumerate(slabs):
        joined = firsts[slab.bits]
        found.slabs.append(Cropped(slab.box, joined))
        for number, voxels in zip(*np.unique(joined[joined > 0], return_counts=True), strict=True):
            found.sizes[int(number)] = found.sizes.get(int(number), 0) + int(voxels)
            found.places.setdefault(int(number), []).append(place)
        yield
    return found


def labels_of_parts(
    node: slicer.vtkMRMLSegmentationNode, segment_id: str, groups: Sequence[Sequence[int]]
) -> list[Label]:
    """Names and colours for the parts of a segment: the first keeps its colour; names that there are stay unique."""
    segment, segmentation = segment_of(node, segment_id), node.GetSegmentation()
    name, terminology = segment.GetName(), segment.GetTerminology() or ""
    taken = {segmentation.GetSegment(one).GetName() for one in segmentation.GetSegmentIDs()}
    between = "." if name[-1:].isdigit() else " "  # "lesion 1", and of "Segment 2" the part "Segment 2.1"
    names = (said for number in count(1) if (said := f"{name}{between}{number}") not in taken)
    hue, saturation, value = colorsys.rgb_to_hsv(*segment.GetColor())
    labels = []
    for number, group in enumerate(groups):
        rest = len(group) > 1
        color = colorsys.hsv_to_rgb(
            (hue + number * _APART) % 1.0, max(saturation, 0.5) if number else saturation, value
        )
        labels.append(Label(0, f"{name}, {len(group)} small parts" if rest else next(names), color, terminology))
    return labels
