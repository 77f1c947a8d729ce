"""Scans, segmentations and views for tests, and what they hold by place."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.proposal import Cropped, Proposal, propose
from SSLSegmentationLib.scene.arrays import matrix_of
from SSLSegmentationLib.scene.segments import add_segment, mask_of, new_segmentation
from SSLSegmentationLib.scene.volumes import add_volume
from SSLSegmentationLib.volume import Volume
from Testing.strategies import matrices, numbers, rotations


def scan_in(scene: Any, volume: Volume | None = None, transform: np.ndarray | None = None) -> Any:
    """A scan in the scene, under a transform if one is given."""
    if volume is None:
        volume = Volume(np.arange(8 * 9 * 10, dtype=np.int16).reshape(8, 9, 10), name="scan")
    node = add_volume(scene, volume)
    if transform is not None:
        node.SetAndObserveTransformNodeID(transform_in(scene, transform).GetID())
    return node


def transform_in(scene: Any, matrix: np.ndarray) -> Any:
    node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    node.SetMatrixTransformToParent(matrix_of(matrix))
    return node


def editor_of(scene: Any, scan: Any, segmentation: Any | None = None) -> Any:
    """A Segment Editor's node for a scan and a new segmentation."""
    editor = scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
    editor.SetAndObserveSegmentationNode(segmentation or new_segmentation(scan))
    editor.SetAndObserveSourceVolumeNode(scan)
    return editor


def view_in(scene: Any, name: str = "Red", axes: np.ndarray | None = None, at: Any = (0, 0, 0)) -> Any:
    """A slice view with columns right, up and normal, through a place."""
    view = scene.AddNewNodeByClass("vtkMRMLSliceNode", name)
    view.SetLayoutName(name)
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = np.eye(3) if axes is None else axes, at
    view.GetSliceToRAS().DeepCopy(matrix_of(matrix))
    view.UpdateMatrices()
    composite = scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    composite.SetLayoutName(name)
    return view


def segment_in(segmentation: Any, name: str = "liver") -> str:
    return add_segment(segmentation, Label(1, name, (0.8, 0.4, 0.3)))


def whole(scan: Any) -> tuple[slice, ...]:
    return tuple(slice(0, n) for n in scan.GetImageData().GetDimensions()[::-1])


def bits_of(segmentation: Any, segment_id: str, scan: Any) -> np.ndarray:
    """A segment on the whole grid of the scan."""
    return mask_of(segmentation, segment_id, scan).within(whole(scan))


def proposal_to(segmentation: Any, segment_id: str, scan: Any, after: np.ndarray) -> Proposal:
    """What turns a segment into these bits."""
    return propose(whole(scan), bits_of(segmentation, segment_id, scan), after, score=1.0)


def noise(scan: Any, seed: int, part: float = 0.5) -> np.ndarray:
    shape = scan.GetImageData().GetDimensions()[::-1]
    return np.random.default_rng(seed).random(shape) < part


def mask(bits: np.ndarray) -> Cropped:
    return Cropped.of(bits)


@st.composite
def rigid(draw: st.DrawFn) -> np.ndarray:
    """A turn and a shift, as a registration gives them."""
    matrix = np.eye(4)
    matrix[:3, :3] = draw(rotations())
    matrix[:3, 3] = draw(st.tuples(*[numbers(-100.0, 100.0)] * 3))
    return matrix


def placed() -> st.SearchStrategy[tuple[Volume, np.ndarray | None]]:
    """A scan of any direction and spacing, in space or under a transform."""
    shape = st.tuples(*[st.integers(2, 7)] * 3)
    scan = st.builds(lambda s, m: Volume(np.arange(np.prod(s), dtype=np.int16).reshape(s), m), shape, matrices())
    return st.tuples(scan, st.none() | rigid())
