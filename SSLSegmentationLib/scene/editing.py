"""Where the user allows edits: the masking, overwriting and locks of the Segment Editor, inside a box.

Slicer's own editor logic makes its mask on the whole grid of the segmentation, which takes a second on a large scan.
The rules here are the same, voxel for voxel, but only where something changes.
"""

from __future__ import annotations

import numpy as np
import slicer

from SSLSegmentationLib.plane import Box
from SSLSegmentationLib.scene.arrays import voxels_of
from SSLSegmentationLib.scene.segments import is_locked, mask_of


def allowed(editor: slicer.vtkMRMLSegmentEditorNode, segment_id: str, box: Box) -> np.ndarray:
    """The voxels of a box in which the editable area and the editable intensities let a segment change."""
    node, scan = editor.GetSegmentationNode(), editor.GetSourceVolumeNode()
    shape = tuple(s.stop - s.start for s in box)
    free = np.ones(shape, dtype=bool)
    inside, ids = _area(editor, segment_id)
    if ids is not None:
        named = np.zeros(shape, dtype=bool)
        for other in ids:
            named |= mask_of(node, other, scan, box).within(box)
        free = named if inside else ~named
    if editor.GetSourceVolumeIntensityMask():
        low, high = editor.GetSourceVolumeIntensityMaskRange()
        values = voxels_of(scan.GetImageData())[box]
        free &= (values >= low) & (values <= high)
    return free


def overwritten(editor: slicer.vtkMRMLSegmentEditorNode, segment_id: str) -> list[str]:
    """The other segments that give way where this one grows."""
    mode = editor.GetOverwriteMode()
    if mode == slicer.vtkMRMLSegmentEditorNode.OverwriteNone:
        return []
    others = [i for i in editor.GetSegmentationNode().GetSegmentation().GetSegmentIDs() if i != segment_id]
    if mode == slicer.vtkMRMLSegmentEditorNode.OverwriteVisibleSegments:
        return _visible(editor, others)
    return others


def takes_back(editor: slicer.vtkMRMLSegmentEditorNode, segment_id: str) -> str:
    """The segment that gets what this one loses: in the Segment Editor, the one inside which is edited."""
    single = slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment
    other = editor.GetMaskSegmentID() or ""
    known = editor.GetSegmentationNode().GetSegmentation().GetSegment(other) is not None
    return other if editor.GetMaskMode() == single and known and other != segment_id else ""


def locked_among(editor: slicer.vtkMRMLSegmentEditorNode, ids: list[str]) -> list[str]:
    return [i for i in ids if is_locked(editor.GetSegmentationNode(), i)]


def _area(editor: slicer.vtkMRMLSegmentEditorNode, segment_id: str) -> tuple[bool, list[str] | None]:
    """Whether to edit inside or outside, and of which segments; None of them where the whole scan is free."""
    kind = slicer.vtkMRMLSegmentationNode
    ids = list(editor.GetSegmentationNode().GetSegmentation().GetSegmentIDs())
    others = [i for i in ids if i != segment_id]
    mode = editor.GetMaskMode()
    if mode == kind.EditAllowedInsideAllSegments:
        return True, ids
    if mode == kind.EditAllowedInsideVisibleSegments:
        return True, _visible(editor, ids)
    if mode == kind.EditAllowedOutsideAllSegments:
        return False, others
    if mode == kind.EditAllowedOutsideVisibleSegments:
        return False, _visible(editor, others)
    if mode == kind.EditAllowedInsideSingleSegment:
        single = editor.GetMaskSegmentID() or ""
        return True, [single] if single in ids else []
    return False, None


def _visible(editor: slicer.vtkMRMLSegmentEditorNode, ids: list[str]) -> list[str]:
    display = editor.GetSegmentationNode().GetDisplayNode()
    return [i for i in ids if display is not None and display.GetSegmentVisibility(i)]
