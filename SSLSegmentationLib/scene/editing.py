"""Where the user allows edits: the masking, overwriting and locks of the Segment Editor, inside a box.

Slicer's own editor logic makes its mask on the whole grid of the segmentation, which takes a second on a large scan.
The rules here are the same, voxel for voxel, but looked up only where something changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import slicer

from SSLSegmentationLib.scene.arrays import voxels_of
from SSLSegmentationLib.scene.segments import Inside, is_locked


@dataclass(frozen=True, eq=False)
class Rules:
    """The settings of a Segment Editor as they were when something was accepted.

    Segments that are added on the way are not looked at: what is accepted together does not get into its own way.
    """

    editor: slicer.vtkMRMLSegmentEditorNode
    node: slicer.vtkMRMLSegmentationNode
    scan: slicer.vtkMRMLScalarVolumeNode
    ids: tuple[str, ...]
    visible: frozenset[str]
    locked: frozenset[str]

    @staticmethod
    def of(editor: slicer.vtkMRMLSegmentEditorNode) -> Rules:
        node = editor.GetSegmentationNode()
        ids, display = tuple(node.GetSegmentation().GetSegmentIDs()), node.GetDisplayNode()
        visible = frozenset(i for i in ids if display is not None and display.GetSegmentVisibility(i))
        locked = frozenset(i for i in ids if is_locked(node, i))
        return Rules(editor, node, editor.GetSourceVolumeNode(), ids, visible, locked)

    def may_gain(self, segment_id: str, inside: Inside) -> np.ndarray:
        """The voxels of a box in which the editable area and the editable intensities let a segment grow."""
        free = np.ones(tuple(s.stop - s.start for s in inside.box), dtype=bool)
        within, area = self._area(segment_id)
        if area is not None:
            covered = np.zeros_like(free)
            for other in area:
                covered |= inside.mask(other)
            free = covered if within else ~covered
        if self.editor.GetSourceVolumeIntensityMask():
            low, high = self.editor.GetSourceVolumeIntensityMaskRange()
            values = voxels_of(self.scan.GetImageData())[inside.box]
            free &= (values >= low) & (values <= high)
        return free

    def may_lose(self, segment_id: str, inside: Inside) -> np.ndarray:
        """The voxels of a box that may be taken from a segment: all of them where edits stay inside another one."""
        if self.editor.GetMaskMode() == slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment:
            return inside.mask(segment_id)
        return self.may_gain(segment_id, inside)

    def giving_way(self, segment_id: str) -> list[str]:
        """The other segments that lose what this one gains."""
        mode = self.editor.GetOverwriteMode()
        if mode == slicer.vtkMRMLSegmentEditorNode.OverwriteNone:
            return []
        others = [i for i in self.ids if i != segment_id]
        return (
            [i for i in others if i in self.visible]
            if mode == slicer.vtkMRMLSegmentEditorNode.OverwriteVisibleSegments
            else others
        )

    def taking_back(self, segment_id: str) -> str:
        """The segment that gains what this one loses: in the Segment Editor, the single one inside which is edited."""
        other = self.editor.GetMaskSegmentID() or ""
        single = self.editor.GetMaskMode() == slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment
        return other if single and other in self.ids and other != segment_id else ""

    def _area(self, segment_id: str) -> tuple[bool, list[str] | None]:
        """Whether to edit inside or outside, and of which segments; None of them where the whole scan is free."""
        mode, kind = self.editor.GetMaskMode(), slicer.vtkMRMLSegmentationNode
        others = [i for i in self.ids if i != segment_id]
        if mode == kind.EditAllowedInsideAllSegments:
            return True, list(self.ids)
        if mode == kind.EditAllowedInsideVisibleSegments:
            return True, [i for i in self.ids if i in self.visible]
        if mode == kind.EditAllowedOutsideAllSegments:
            return False, others
        if mode == kind.EditAllowedOutsideVisibleSegments:
            return False, [i for i in others if i in self.visible]
        if mode == kind.EditAllowedInsideSingleSegment:
            return True, [i for i in self.ids if i == self.editor.GetMaskSegmentID()]
        return False, None
