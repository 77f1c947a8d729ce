"""How long the window is held by an export of a large scan, written down as other times are."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.proposal import Cropped
from Testing.dataset.cases import faults_of
from Testing.slicer.module.bench import PATIENCE, Bench
from Testing.slicer.module.test_window import large


def test_how_long_an_export_holds_the_window_is_written_down(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scan of 512 × 512 × 300, 13 segments, doubt of the same size: each turn of its errands."""
    from SSLSegmentationUI.Errand import Errand

    from SSLSegmentationLib.scene.segments import new_segmentation

    volume, _place = large()
    bench.load(volume)
    bench.parameters.segmentation = new_segmentation(bench.parameters.scan)
    bench.app.turn(5)
    fresh = []
    for number in range(13):
        box = (slice(20 * number, 20 * number + 40), slice(100, 300), slice(60 + 20 * number, 240 + 20 * number))
        fresh.append((Label(number + 1, f"organ {number + 1}"), Cropped(box, np.ones((40, 200, 180), dtype=bool))))
    bench.work._writer.accept_all({}, fresh)
    doubt = np.zeros(volume.shape, np.float32)
    doubt[100:140, 100:200, 100:200] = 0.5
    bench.panel.doubt.use(bench.parameters.scan, volume.with_voxels(doubt))
    bench.app.wait(0.6)
    bench.app.wait_until(lambda: not bench.work.journal._queue, PATIENCE)
    bench.ui.datasetPathEdit.currentPath = str(tmp_path / "set")
    bench.app.turn(5)
    turns: list[tuple[float, float, str]] = []
    advance = Errand._advance

    def timed(self: object, *arguments: object) -> None:
        start, used, stage = time.perf_counter(), time.process_time(), bench.work.stage
        try:
            advance(self, *arguments)
        finally:
            turns.append((time.process_time() - used, time.perf_counter() - start, f"{stage} → {bench.work.stage}"))

    monkeypatch.setattr(Errand, "_advance", timed)
    with bench.app.watchdog() as watch:
        bench.app.click(bench.ui.exportButton)
        bench.app.wait_until(lambda: not bench.work.operation, PATIENCE)
    assert "revision 1" in bench.work.message.sentence, bench.work.message.details
    assert faults_of(tmp_path / "set") == []
    output = Path(__file__).parents[2] / "output" / "responsiveness-export.txt"
    output.parent.mkdir(exist_ok=True)
    output.write_text(
        "export of 512 × 512 × 300, 13 segments and doubt: longest turns, processor time and wall time in ms:\n"
        + "".join(f"{1000 * cpu:.0f} {1000 * wall:.0f} {stage}\n" for cpu, wall, stage in sorted(turns)[:-6:-1])
        + f"{watch.longest * 1000:.0f} ms between two events, with drawing; load of the machine {os.getloadavg()}\n",
        "utf-8",
    )
