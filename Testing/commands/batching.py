"""What the tests of batches share: scans, a segmenter that needs no network, and a worker that dies.

    python -m Testing.commands.batching FOLDER

kills batches at every single step they take on the disk, and ends with an error if anything half-made is left.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from SSLSegmentationLib.commands.archive import Scan, result_of, scans_in
from SSLSegmentationLib.commands.hands import Assignment
from SSLSegmentationLib.commands.pipeline import Outcome, sweep, work
from SSLSegmentationLib.inference.memory import Plan
from SSLSegmentationLib.inference.segment import Segmentation, Settings
from SSLSegmentationLib.io.segmentation import read_segmentation
from SSLSegmentationLib.io.write import write_volume
from SSLSegmentationLib.volume import Volume
from Testing.killing import killed_at
from Testing.models.packages import small_package

PLAN = Plan("cpu", "torch", "f32", 1, "cpu", (8, 8, 8))


class Threshold:
    """In place of a network: the first label wherever the scan is bright."""

    def __init__(self, package: Any, settings: Settings) -> None:
        self.package = package

    def __call__(self, scan: Volume) -> Segmentation:
        if scan.voxels.max() > 5000:
            raise RuntimeError("too bright\nfor me")
        labels = scan.with_voxels((scan.voxels > 100).astype(np.uint8))
        doubt = scan.with_voxels(np.full(scan.shape, 0.1, np.float32))
        return Segmentation(labels, doubt, None, "none", PLAN, [], {"segmenting": 0.0})


def an_archive(folder: Path, count: int = 3) -> Path:
    folder.mkdir(exist_ok=True)
    for number in range(count):
        voxels = np.random.default_rng(number).integers(0, 200, (4, 5, 6)).astype(np.int16)
        write_volume(Volume(voxels, np.diag([1.0, 1, 2, 1])), folder / f"scan{number}.nii.gz")
    return folder


def working(scans: list[Scan], out: Path, settings: Settings | None = None) -> list[Outcome]:
    """What `work` gives with the segmenter above."""
    with (
        patch("SSLSegmentationLib.inference.segment.Segmenter", Threshold),
        patch("SSLSegmentationLib.models.read.package_hash", lambda package: "ab" * 32),
    ):
        return list(work(scans, small_package(), settings or Settings(), out))


def dying_labour(pipe: Connection, assignment: Assignment) -> None:
    """A worker process that a scan called scan1 brings down."""

    def given() -> Iterator[Scan]:
        while True:
            pipe.send(("next", None))
            scan = pipe.recv()
            if scan is None:
                return
            yield scan

    def begin(scan: Scan) -> None:
        pipe.send(("begin", scan.name))
        if scan.name == "scan1":
            os._exit(9)

    with (
        patch("SSLSegmentationLib.inference.segment.Segmenter", Threshold),
        patch("SSLSegmentationLib.models.read.package_hash", lambda package: "ab" * 32),
    ):
        for outcome in work(given(), small_package(), assignment.settings, assignment.out, begin=begin):
            pipe.send(("outcome", outcome))
    pipe.close()


def stillborn_labour(pipe: Connection, assignment: Assignment) -> None:
    os._exit(4)


def _work(scans: list[Scan], out: Path) -> None:
    if failed := [outcome for outcome in working(scans, out) if outcome.state == "failed"]:
        raise RuntimeError(failed)


def main(folder: Path) -> None:
    scans = scans_in(an_archive(folder / "scans", 2))
    before = folder / "before"
    before.mkdir()
    working(scans[:1], before)  # one of them is there already, and is done again
    at, killed = 0, True
    while killed:
        out = folder / f"out{at}"
        shutil.copytree(before, out)
        killed = killed_at(at, partial(_work, scans, out))
        sweep(out)
        for scan in scans:
            if (out / scan.name).exists() and (
                result_of(out, scan) is None or len(list((out / scan.name).iterdir())) != 3
            ):
                raise SystemExit(f"killed at step {at}: {scan.name} is half there")
        if not (out / scans[0].name).exists():
            raise SystemExit(f"killed at step {at}: the earlier result of {scans[0].name} is lost")
        if any(outcome.state == "failed" for outcome in working(scans, out)):
            raise SystemExit(f"after step {at} the batch does not go on")
        for scan in scans:
            read_segmentation(out / scan.name / "segmentation.seg.nrrd")
        if sorted(path.name for path in out.iterdir()) != [scan.name for scan in scans]:
            raise SystemExit(f"after step {at} there are leftovers: {list(out.iterdir())}")
        shutil.rmtree(out)
        at += 1
    print(at - 1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
