"""Accepting a Proposal of 100³ voxels in a scan of 512 × 512 × 300: one undo step, through Slicer's editor logic.

    python -m Testing.benchmarks.scene_accept [--rounds 20]

What the box holds is replaced by a smooth pattern, as a correction may do at worst. The time is that which the window
waits: saving the state for undo, applying masking, overwriting and locks, and writing. "Slicer's rules" is the same
change given to the editor logic with the user's own settings, which masks on the whole grid.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import median
from time import perf_counter

import numpy as np
import slicer

from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.plane import Box
from SSLSegmentationLib.proposal import Cropped, Proposal
from SSLSegmentationLib.scene.arrays import array_of, extent_of, oriented_image
from SSLSegmentationLib.scene.segments import mask_of, new_segmentation
from SSLSegmentationLib.scene.volumes import add_volume
from SSLSegmentationLib.scene.writer import SegmentWriter
from SSLSegmentationLib.volume import Volume
from Testing.benchmarks.processes import machine
from Testing.scene.boot import boot

SHAPE = (300, 512, 512)
SIDE = 100


def organs(count: int) -> list[tuple[Label, Cropped]]:
    """Blocks beside each other that fill most of the scan, as the organs of an abdomen do."""
    found = []
    for number in range(count):
        row, column = divmod(number, 4)
        box = np.s_[10 + 70 * row : 80 + 70 * row, 20 + 120 * column : 130 + 120 * column, 50:460]
        found.append((Label(number + 1, f"organ {number + 1}"), Cropped(box, np.ones((70, 110, 410), dtype=bool))))
    return found


def change(round_: int) -> tuple[Box, np.ndarray]:
    start = (30 + 3 * round_, 90, 200 + 3 * round_)
    k, j, i = np.mgrid[:SIDE, :SIDE, :SIDE]
    waves = np.sin(k / 9 + round_) + np.sin(j / 11) + np.sin(i / 13)
    return tuple(slice(first, first + SIDE) for first in start), waves > 0


def measured(rounds: int, act: Callable[[int], Callable[[], object]]) -> list[float]:
    """Milliseconds of what `act` makes ready, the first round left out."""
    times = []
    for round_ in range(rounds + 1):
        ready = act(round_)
        start = perf_counter()
        ready()
        times.append((perf_counter() - start) * 1e3)
    return times[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    scene = boot().scene
    scan = add_volume(scene, Volume(np.zeros(SHAPE, dtype=np.int16), np.diag([0.7, 0.7, 1.0, 1.0]), name="scan"))
    print(machine(), "\n")
    print(f"{'ms':<52}{'median':>8}{'worst':>8}{'undo':>8}{'redo':>8}")
    kinds = slicer.vtkMRMLSegmentationNode
    for name, count, shared, mask in (
        ("one segment", 1, False, kinds.EditAllowedEverywhere),
        ("13 segments", 13, False, kinds.EditAllowedEverywhere),
        ("13 segments in one layer", 13, True, kinds.EditAllowedEverywhere),
        ("13 segments, outside all others", 13, False, kinds.EditAllowedOutsideAllSegments),
        ("13 segments in one layer, outside all others", 13, True, kinds.EditAllowedOutsideAllSegments),
    ):
        for ours in (True, False):
            node = new_segmentation(scan)
            editor = scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
            editor.SetAndObserveSegmentationNode(node)
            editor.SetAndObserveSourceVolumeNode(scan)
            writer = SegmentWriter(editor)
            writer.accept_all({}, organs(count))
            if shared:
                node.GetSegmentation().CollapseBinaryLabelmaps(False)
            editor.SetMaskMode(mask)
            segment_id = node.GetSegmentation().GetNthSegmentID(0)
            editor.SetSelectedSegmentID(segment_id)

            def act(round_: int, ours=ours, node=node, scan=scan, writer=writer, editor=editor, segment_id=segment_id):
                box, after = change(round_)
                before = mask_of(node, segment_id, scan).within(box)
                proposal = Proposal(box, after, before, 1.0)
                if ours:
                    return lambda: writer.accept(proposal, segment_id)
                return lambda: _by_slicer(editor, scan, segment_id, proposal)

            times = measured(rounds, act)
            row = f"{median(times):8.1f}{max(times):8.1f}"
            if ours:
                undo = median(measured(4, lambda _, writer=writer: writer.undo))
                redo = median(measured(4, lambda _, writer=writer: writer.redo))
                row += f"{undo:8.1f}{redo:8.1f}"
            print(f"{name + (', accepted' if ours else ', by Slicer alone'):<52}{row}")
            writer.close()
            scene.RemoveNode(node)
            scene.RemoveNode(editor)


def _by_slicer(editor, scan, segment_id: str, proposal: Proposal) -> None:
    logic = _LOGICS.setdefault(editor.GetID(), slicer.vtkSlicerSegmentEditorLogic())
    logic.SetSegmentEditorNode(editor)
    logic.SaveStateForUndo()
    matrix = array_of(scan.GetIJKToRASMatrix)
    for mode, bits in ((logic.ModificationModeRemove, proposal.removed), (logic.ModificationModeAdd, proposal.added)):
        image = oriented_image(bits, proposal.box, matrix)
        extent = extent_of(proposal.box)
        logic.ModifySegmentByLabelmap(editor.GetSegmentationNode(), segment_id, image, mode, extent, False, False)


_LOGICS: dict[str, slicer.vtkSlicerSegmentEditorLogic] = {}

if __name__ == "__main__":
    main()
