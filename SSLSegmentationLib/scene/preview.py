"""What would change, shown beside the user's segments and never among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import slicer

from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.proposal import NOTHING, Cropped, Proposal
from SSLSegmentationLib.scene.arrays import array_of, oriented_image
from SSLSegmentationLib.scene.nodes import Watch, follow, hide_from_user, remove

ADDED, REMOVED = "added", "removed"
_GREEN, _RED = (0.1, 0.85, 0.25), (0.95, 0.15, 0.15)
_FILL, _OUTLINE = 0.45, 1.0


class Preview:
    """A segmentation of its own, hidden from lists and editors and not saved, for as long as something is shown."""

    def __init__(self, scan: slicer.vtkMRMLScalarVolumeNode) -> None:
        self._scan = scan
        self._scene = scan.GetScene()
        self.node: slicer.vtkMRMLSegmentationNode | None = None
        self._watch = Watch()
        self._watch.on_node(self._scene, self._scene.NodeRemovedEvent, self._removed)
        self._watch.on(scan, scan.TransformModifiedEvent, lambda: follow(self.node, scan))

    @property
    def shown(self) -> bool:
        return self.node is not None

    def show(self, proposals: Mapping[str, Proposal], fresh: Sequence[tuple[Label, Cropped]] = ()) -> None:
        """Voxels that would be added in green, those that would be removed in red, new segments in their colours."""
        added, removed = NOTHING, NOTHING
        for proposal in proposals.values():
            added = _with(added, Cropped(proposal.box, proposal.added))
            removed = _with(removed, Cropped(proposal.box, proposal.removed))
        node = self._made()
        node.GetSegmentation().RemoveAllSegments()
        for label, mask in fresh:
            self._add(label.name, label.color, mask)
        self._add(ADDED, _GREEN, added)
        self._add(REMOVED, _RED, removed)

    def clear(self) -> None:
        """Show nothing, and leave nothing in the scene."""
        node, self.node = self.node, None
        if node is not None:
            remove(node)

    def close(self) -> None:
        self._watch.end()
        self.clear()

    def _made(self) -> slicer.vtkMRMLSegmentationNode:
        if self.node is None:
            node = slicer.vtkMRMLSegmentationNode()
            node.SetName("What would change")
            hide_from_user(node)
            self.node = self._scene.AddNode(node)
            display = slicer.vtkMRMLSegmentationDisplayNode()
            hide_from_user(display)
            self._scene.AddNode(display)
            display.SetVisibility3D(False)
            display.SetOpacity2DFill(_FILL)
            display.SetOpacity2DOutline(_OUTLINE)
            self.node.SetAndObserveDisplayNodeID(display.GetID())
            follow(self.node, self._scan)
        return self.node

    def _add(self, name: str, color: tuple[float, float, float], mask: Cropped) -> None:
        if mask.bits.any():
            image = oriented_image(mask.bits, mask.box, array_of(self._scan.GetIJKToRASMatrix))
            self.node.AddSegmentFromBinaryLabelmapRepresentation(image, name, color, name)

    def _removed(self, node: slicer.vtkMRMLNode) -> None:
        if node is self.node:
            self.node = None
        elif node is self._scan:
            self.close()


def _with(whole: Cropped, part: Cropped) -> Cropped:
    """Both masks in one."""
    part = part.tight()
    return whole.patched(part.box, whole.within(part.box) | part.bits) if part.bits.any() else whole
