"""What the two networks of a pair reach one by one, and their mean, on the cases that judge its run.

    python -m trainer.recipes.one_by_one RUN [RUN ...]

Runs are judged as the mean of the two. One of them alone takes half the time in use.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from SSLSegmentationLib.progress import silent
from trainer.evaluate.run import judged_cases, rows_of_cases
from trainer.evaluate.tables import by_case
from trainer.networks import Peers
from trainer.run import Run
from trainer.saving import trained_predictor


def dice_of_each(folder: Path, device: str) -> tuple[float, float, float]:
    """Mean Dice of the first network, of the second, and of both together."""
    run = Run(folder)
    pair = trained_predictor(run)
    if not isinstance(pair, Peers):
        raise SystemExit(f"{folder} has trained a single network: choose a run of a method with two.")
    _, cases = judged_cases(run, None)
    means = []
    for backbone in (pair.first, pair.second, pair):
        rows = rows_of_cases(run.plan, backbone, device, cases, 2.0, (), 1.0, silent)
        means.append(float(np.nanmean(list(by_case(rows, "dice").values()))))
    return means[0], means[1], means[2]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        prog="python -m trainer.recipes.one_by_one",
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    found = []
    print("| run | first alone | second alone | their mean |\n|---|---|---|---|")
    for folder in given.runs:
        found.append(dice_of_each(folder, given.device))
        print(f"| {folder.name} |", " | ".join(f"{dice:.4f}" for dice in found[-1]), "|", flush=True)
    print("| mean |", " | ".join(f"{dice:.4f}" for dice in np.mean(found, axis=0)), "|")


if __name__ == "__main__":
    main()
