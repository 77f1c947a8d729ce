"""Writing into the user's segments: through Slicer's editor logic, one undo step for whatever is accepted together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import slicer

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.proposal import Cropped, Proposal
from SSLSegmentationLib.scene.arrays import extent_of, oriented_image
from SSLSegmentationLib.scene.editing import Rules
from SSLSegmentationLib.scene.grids import carried
from SSLSegmentationLib.scene.segments import (
    Inside,
    add_segment,
    is_locked,
    lattice_of,
    prepare,
    scan_to_segmentation,
    segment_of,
)
from SSLSegmentationLib.scene.splitting import MOST_PARTS, finding, labels_of_parts
from SSLSegmentationLib.steps import Steps, finish

_UNDO_STEPS = 10  # as many as the Segment Editor keeps
_PIECE = 1_000_000  # voxels of a proposal that are written before the window may look up


class History(Protocol):
    """Where the states of the segmentation are kept: the writer's own, or that of a Segment Editor in the window."""

    def save(self) -> None: ...

    def undo(self) -> None: ...

    def redo(self) -> None: ...


@dataclass(frozen=True)
class Written:
    """What accepting has done to one segment."""

    segment_id: str
    added: int
    removed: int
    withheld: int
    """Voxels that were proposed but may not change: outside the editable area, or in a locked segment."""


class SegmentWriter:
    """Accepts what is proposed into the segmentation of a Segment Editor node, under the rules set there.

    Slicer's editor widget keeps its history to itself, so in the window the writer is given a History that speaks to
    the widget: then painting and accepting share one row of undo steps.
    """

    def __init__(self, editor: slicer.vtkMRMLSegmentEditorNode, history: History | None = None) -> None:
        self.editor = editor
        self.history = history or OwnHistory(editor)
        # The rules are applied here, inside the box that changes; the logic is left with a node that allows all.
        self._free = slicer.vtkMRMLSegmentEditorNode()
        self._free.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere)
        self._free.SetOverwriteMode(slicer.vtkMRMLSegmentEditorNode.OverwriteNone)
        self._logic = slicer.vtkSlicerSegmentEditorLogic()
        self._logic.SetSegmentEditorNode(self._free)

    def close(self) -> None:
        self._logic.SetSegmentEditorNode(None)
        if isinstance(self.history, OwnHistory):
            self.history.close()

    def accept(self, proposal: Proposal, segment_id: str) -> Written:
        return self.accept_all({segment_id: proposal})[0]

    def accept_all(
        self, proposals: Mapping[str, Proposal], fresh: Sequence[tuple[Label, Cropped]] = ()
    ) -> list[Written]:
        """Write proposals into segments, and `fresh` masks into new segments, as one undo step."""
        return finish(self.accepting(proposals, fresh))

    def accepting(
        self, proposals: Mapping[str, Proposal], fresh: Sequence[tuple[Label, Cropped]] = ()
    ) -> Steps[list[Written]]:
        """The same in pieces, slab by slab of a segment; closed before the end, it takes back what it has written."""
        node, scan = self._nodes()
        for segment_id in proposals:
            if is_locked(node, segment_id):
                name = segment_of(node, segment_id).GetName()
                raise InputError(f"{name} is locked: unlock it to accept changes into it.")
        if not fresh and not any((p.mask != p.before).any() for p in proposals.values()):
            return [Written(segment_id, 0, 0, 0) for segment_id in proposals]
        prepare(node, scan)
        self.history.save()
        rules, written, done = Rules.of(self.editor), [], False
        try:
            for segment_id, proposal in proposals.items():
                written.append((yield from self._writing(segment_id, proposal, rules)))
            for label, mask in fresh:
                segment_id = add_segment(node, label)
                proposal = Proposal(mask.box, mask.bits, np.zeros_like(mask.bits), 1.0)
                written.append((yield from self._writing(segment_id, proposal, rules)))
            done = True
        finally:
            if not done:
                self.history.undo()
        return written

    def split(self, segment_id: str, most: int = MOST_PARTS) -> list[str]:
        return finish(self.splitting(segment_id, most))

    def splitting(self, segment_id: str, most: int = MOST_PARTS) -> Steps[list[str]]:
        """Give every connected part of a segment a segment of its own, in pieces, as one undo step; all their ids.

        "lesion" becomes "lesion 1", the largest, "lesion 2" and so on. Of more than `most` parts the smallest stay
        together in the last one.
        """
        node, scan = self._nodes()
        segment = segment_of(node, segment_id)
        if is_locked(node, segment_id):
            raise InputError(f"{segment.GetName()} is locked: unlock it to split it.")
        found = yield from finding(node, segment_id, scan)
        if len(found.sizes) < 2:
            return [segment_id]
        self.history.save()
        done = False
        try:
            groups = found.groups(most)
            rules, ids = Rules.of(self.editor), [segment_id]
            labels = labels_of_parts(node, segment_id, groups)
            for label, numbers in list(zip(labels, groups, strict=True))[1:]:
                ids.append(add_segment(node, label))
                for part in found.masks(numbers):
                    self._remove(rules, segment_id, part)
                    self._add(rules, ids[-1], part)
                    yield
            segment.SetName(labels[0].name)
            done = True
        finally:
            if not done:
                self.history.undo()
        return ids

    def undo(self) -> None:
        self.history.undo()

    def redo(self) -> None:
        self.history.redo()

    def _nodes(self) -> tuple[slicer.vtkMRMLSegmentationNode, slicer.vtkMRMLScalarVolumeNode]:
        node, scan = self.editor.GetSegmentationNode(), self.editor.GetSourceVolumeNode()
        if node is None:
            raise InputError("There is no segmentation to write into: choose one, or make a new one.")
        if scan is None or scan.GetImageData() is None:
            raise InputError("There is no scan to segment: choose one.")
        return node, scan

    def _writing(self, segment_id: str, proposal: Proposal, rules: Rules) -> Steps[Written]:
        counts = np.zeros(3, dtype=int)
        for slab in _slabs(proposal):
            one = self._write(segment_id, slab, rules)
            counts += (one.added, one.removed, one.withheld)
            yield
        return Written(segment_id, *(int(count) for count in counts))

    def _write(self, segment_id: str, proposal: Proposal, rules: Rules) -> Written:
        if not (proposal.mask != proposal.before).any():
            return Written(segment_id, 0, 0, 0)
        box, inside = proposal.box, Inside(rules.node, rules.scan, proposal.box)
        # The user may have painted since the proposal was made: what it does not change stays as it is now.
        held = inside.mask(segment_id)
        added, removed = proposal.added & ~held, proposal.removed & held
        wanted = int(added.sum() + removed.sum())
        added &= rules.may_gain(segment_id, inside)
        removed &= rules.may_lose(segment_id, inside)
        giving_way, taking_back = rules.giving_way(segment_id), rules.taking_back(segment_id)
        for other in rules.locked.intersection(giving_way):
            added &= ~inside.mask(other)
        if taking_back in rules.locked:
            removed &= inside.mask(taking_back)
        segmentation = rules.node.GetSegmentation()
        met = [i for i in inside.among(added, segmentation.GetSegmentIDs()) if i != segment_id]
        losing = [other for other in met if other in giving_way]
        # Slicer can let all others give way by itself, layer by layer: quicker where many segments share few layers.
        by_slicer = losing == met and len(losing) >= segmentation.GetNumberOfLayers()
        lost = {} if by_slicer else {other: added & inside.mask(other) for other in losing}

        self._remove(rules, segment_id, Cropped(box, removed))
        if taking_back:
            self._add(rules, taking_back, Cropped(box, removed))
        for other, part in lost.items():
            self._remove(rules, other, Cropped(box, part))
        self._add(rules, segment_id, Cropped(box, added), overwrite=by_slicer)
        counts = int(added.sum()), int(removed.sum())
        return Written(segment_id, *counts, wanted - sum(counts))

    def _add(self, rules: Rules, segment_id: str, mask: Cropped, overwrite: bool = False) -> None:
        # Where nothing is to be overwritten, Slicer would still go through all other layers to do so.
        kind = slicer.vtkMRMLSegmentEditorNode
        self._free.SetOverwriteMode(kind.OverwriteAllSegments if overwrite else kind.OverwriteNone)
        self._modify(rules, segment_id, mask, slicer.vtkSlicerSegmentEditorLogic.ModificationModeAdd)

    def _remove(self, rules: Rules, segment_id: str, mask: Cropped) -> None:
        # Removing overwrites nobody, but unless it may, Slicer moves the segment to a layer of its own first.
        self._free.SetOverwriteMode(slicer.vtkMRMLSegmentEditorNode.OverwriteAllSegments)
        self._modify(rules, segment_id, mask, slicer.vtkSlicerSegmentEditorLogic.ModificationModeRemove)

    def _modify(self, rules: Rules, segment_id: str, mask: Cropped, mode: int) -> None:
        """Change a segment where a mask on the scan's grid is set, and nothing beside it."""
        mask = mask.tight()
        if not mask.bits.any():
            return
        lattice = lattice_of(rules.node, segment_id)
        placed = carried(mask, np.linalg.inv(lattice) @ scan_to_segmentation(rules.node, rules.scan))
        if not placed.bits.any():
            return
        image = oriented_image(placed.bits, placed.box, lattice)
        # The extent keeps the logic from going through the whole segment.
        self._logic.ModifySegmentByLabelmap(rules.node, segment_id, image, mode, extent_of(placed.box), False, False)


def _slabs(proposal: Proposal) -> Iterator[Proposal]:
    """A proposal in parts that are each written in a moment, whatever its size."""
    (first, *others), bits = proposal.box, proposal.mask
    thick = max(1, _PIECE // max(1, bits[:1].size))
    for start in range(0, len(bits), thick):
        part = slice(start, min(start + thick, len(bits)))
        box = (slice(first.start + part.start, first.start + part.stop), *others)
        yield replace(proposal, box=box, mask=bits[part], before=proposal.before[part], uncertainty=None)


class OwnHistory:
    """Undo steps of a segmentation where no Segment Editor widget keeps them."""

    def __init__(self, editor: slicer.vtkMRMLSegmentEditorNode) -> None:
        self._logic = slicer.vtkSlicerSegmentEditorLogic()
        self._logic.SetSegmentEditorNode(editor)
        self._logic.SetMaximumNumberOfUndoStates(_UNDO_STEPS)

    def save(self) -> None:
        self._logic.SaveStateForUndo()

    def undo(self) -> None:
        if self._logic.CanUndo():
            self._logic.Undo()

    def redo(self) -> None:
        if self._logic.CanRedo():
            self._logic.Redo()

    @property
    def can_undo(self) -> bool:
        return self._logic.CanUndo()

    @property
    def can_redo(self) -> bool:
        return self._logic.CanRedo()

    def close(self) -> None:
        self._logic.SetSegmentEditorNode(None)
