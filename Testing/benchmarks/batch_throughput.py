"""A batch of small scans against the bare loop that a script would be: read, segment, write, in one process.

    python -m Testing.benchmarks.batch_throughput [--scans 200] [--rounds 3]

Both use the bundled network, the same settings and write the same files. The batch's time includes the start of its
process and of everything else; a second figure leaves out what passes until its first result.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np

from Testing.benchmarks.processes import machine, median_ratio, run_in_turn

VARIANTS = ("loop", "batch")
_SHAPE, _SPACING = (40, 60, 60), (4.0, 4.0, 5.0)


def scans(folder: Path, count: int) -> None:
    from SSLSegmentationLib.io.write import write_volume
    from SSLSegmentationLib.phantom import abdomen_phantom

    scan, _ = abdomen_phantom(0, shape=_SHAPE, spacing=_SPACING)
    random = np.random.default_rng(0)
    for number in range(count):
        noise = random.normal(0, 5, scan.shape)
        write_volume(scan.with_voxels((scan.voxels + noise).astype(np.int16)), folder / f"scan{number:03d}.nii.gz")


def package():
    from SSLSegmentationLib.models.read import read_package
    from SSLSegmentationLib.resources import resource

    return read_package(resource("Models", "abdomen-ct-fast"))


def run(variant: str, count: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as made:
        archive, out = Path(made) / "scans", Path(made) / "out"
        archive.mkdir()
        out.mkdir()
        scans(archive, count)
        started = perf_counter()
        first = _loop(archive, out) if variant == "loop" else _batch(archive, out)
        ended = perf_counter()
        results = len(list(out.glob("*/report.json")))
        if results != count:
            raise SystemExit(f"{variant}: {results} results for {count} scans")
    return {
        "scans_per_second": round(count / (ended - started), 3),
        "scans_per_second_after_the_first": round((count - 1) / (ended - first), 3),
    }


def _loop(archive: Path, out: Path) -> float:
    from SSLSegmentationLib.commands.results import REPORT, SEGMENTATION, UNCERTAINTY, report_of
    from SSLSegmentationLib.inference.segment import Segmenter
    from SSLSegmentationLib.io.read import read_volume
    from SSLSegmentationLib.io.segmentation import write_segmentation
    from SSLSegmentationLib.io.write import write_volume
    from SSLSegmentationLib.report.report import write_report

    chosen = package()
    segmenter = Segmenter(chosen)
    first = 0.0
    for path in sorted(archive.iterdir()):
        volume = read_volume(path)
        found = segmenter(volume)
        folder = out / path.name
        folder.mkdir()
        write_segmentation(folder / SEGMENTATION, found.labels, chosen.labels)
        write_volume(found.uncertainty, folder / UNCERTAINTY)
        write_report(folder / REPORT, report_of(volume, chosen, found))
        first = first or perf_counter()
    return first


def _batch(archive: Path, out: Path) -> float:
    from SSLSegmentationLib.commands.archive import scans_in
    from SSLSegmentationLib.commands.hands import Assignment, by_processes
    from SSLSegmentationLib.inference.segment import Settings

    first = 0.0
    for outcome in by_processes(scans_in(archive), Assignment(package().folder, Settings(), out, False), ["cpu"]):
        if outcome.state == "failed":
            raise SystemExit(outcome.reason)
        first = first or perf_counter()
    return first


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", choices=VARIANTS)
    parser.add_argument("--scans", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    if given.run:
        print(json.dumps(run(given.run, given.scans)))
        return
    results = run_in_turn(
        "Testing.benchmarks.batch_throughput", list(VARIANTS), given.rounds, [f"--scans={given.scans}"]
    )
    print(f"{given.scans} scans of {' × '.join(map(str, _SHAPE[::-1]))} voxels; {machine()}")
    for key in ("scans_per_second", "scans_per_second_after_the_first"):
        ratio = median_ratio(results["batch"], results["loop"], key)
        print(f"{key.replace('_', ' ')}: batch / bare loop = {ratio:.2f} (at least 0.90 is wanted)")


if __name__ == "__main__":
    main()
