"""What the two networks of a pair reach one by one, and their mean, on the cases that judge its run.

    python -m trainer.recipes.one_by_one RUN [RUN ...]

Runs are judged as the mean of the two. One of them alone takes half the time in use.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from SSLSegmentationLib.inference.segment import Settings
from trainer.data.cases import find_cases
from trainer.data.reading import read_case
from trainer.data.store import known_labels
from trainer.evaluate.judge import rows_of
from trainer.evaluate.tables import by_case
from trainer.networks import Peers
from trainer.predict import Predictor
from trainer.run import Run
from trainer.saving import trained_predictor


def dice_of_each(folder: Path, device: str) -> tuple[float, float, float]:
    """Mean Dice of the first network, of the second, and of both together."""
    run = Run(folder)
    pair = trained_predictor(run)
    if not isinstance(pair, Peers):
        raise SystemExit(f"{folder} has trained a single network: choose a run of a method with two.")
    judging = set(run.split.test or run.split.validation)
    cases = [case for case in find_cases(run.plan.data) if case.name in judging]
    truths = [read_case(case, known_labels(run.plan)).labels for case in cases]
    means = []
    for backbone in (pair.first, pair.second, pair):
        predict = Predictor(backbone, run.plan, Settings(device=device, doubt="none"))
        rows = []
        for case, truth in zip(cases, truths, strict=True):
            rows += rows_of(case.name, predict(case).labels, truth, run.plan.labels, case.annotated)
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
