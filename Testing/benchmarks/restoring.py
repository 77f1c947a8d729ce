"""From the network's grid back to a 512 × 512 × 300 scan with 14 classes: in slabs, against all scores at once.

    python -m Testing.benchmarks.restoring [--rounds 3]

The scores are made up, smooth, and the same for both; no network runs. The dense way is what a resampling of the
network's output does: torch's trilinear interpolation of all classes, softmax and argmax.
"""

from __future__ import annotations

import argparse
import json
from time import perf_counter

import numpy as np

from Testing.benchmarks.processes import held_bytes, machine, median_ratio, peak_bytes, run_in_turn

CLASSES, SCAN, GRID = 14, (512, 512, 300), (128, 128, 100)  # (i, j, k)
VARIANTS = ("dense", "slabs", "slabs with doubt")


def scores():
    """Smooth blobs of one class each, in float32 (classes, i, j, k)."""
    import torch

    torch.manual_seed(0)
    coarse = torch.randn(1, CLASSES, 9, 9, 7) * 6
    return torch.nn.functional.interpolate(coarse, GRID, mode="trilinear")[0].contiguous()


def run(variant: str) -> dict[str, float]:
    import torch

    torch.set_num_threads(2)
    given = scores()
    before, started = held_bytes(), perf_counter()
    labels = _dense(given) if variant == "dense" else _slabs(given, doubt=variant == "slabs with doubt")
    seconds, peak = perf_counter() - started, peak_bytes()
    return {
        "seconds": round(seconds, 2),
        "megabytes": round((peak - before) / 2**20),
        "sum": int(labels.sum(dtype=np.int64)),
    }


def _dense(given) -> np.ndarray:
    import torch

    with torch.inference_mode():
        full = torch.nn.functional.interpolate(given[None], SCAN, mode="trilinear")[0]
        return full.softmax(dim=0).argmax(dim=0).to(torch.uint8).numpy()


def _slabs(given, doubt: bool) -> np.ndarray:
    import torch

    from SSLSegmentationLib.inference.resample import AxisMap
    from SSLSegmentationLib.inference.restore import Restorer, Targets
    from SSLSegmentationLib.inference.slabs import Slab

    maps = tuple(AxisMap(n, m, n / m, 0, m) for n, m in zip(SCAN, GRID, strict=True))
    labels = np.zeros(SCAN, dtype=np.uint8)
    restorer = Restorer(maps, Targets(labels, np.zeros(SCAN, dtype=np.float32) if doubt else None))
    with torch.inference_mode():
        for start in range(0, GRID[0], 8):
            restorer.add(Slab(start, given[:, start : start + 8]))
    return labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--run", choices=VARIANTS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run:
        print(json.dumps(run(given.run)))
        return
    results = run_in_turn("Testing.benchmarks.restoring", list(VARIANTS), given.rounds, [])
    size = " × ".join(map(str, SCAN))
    print(f"\n{machine()}\n{size} voxels, {CLASSES} classes, medians of {given.rounds} rounds\n")
    print("| | seconds | times faster | MB, with the result | of the dense way's memory |\n|---|---|---|---|---|")
    for variant, rows in results.items():
        seconds, megabytes = (float(np.median([row[key] for row in rows])) for key in ("seconds", "megabytes"))
        faster = median_ratio(results["dense"], rows, "seconds")
        memory = megabytes / float(np.median([row["megabytes"] for row in results["dense"]]))
        print(f"| {variant} | {seconds:.1f} | {faster:.1f} | {megabytes:.0f} | {memory:.2f} |")


if __name__ == "__main__":
    main()
