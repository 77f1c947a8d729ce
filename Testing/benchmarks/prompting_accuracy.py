"""How good answers are after 1, 3 and 5 clicks, after a box, and along the slices: on cases of your own.

    python -m Testing.benchmarks.prompting_accuracy FOLDER [--cases NAME …] [--split SPLIT.json] [--models ID …]
    python -m Testing.benchmarks.prompting_accuracy --pairs SCAN=LABELS …

FOLDER holds images/ and labels/; of a split, its test cases are taken. What is asked, trainer/evaluate/prompting.py
says; it is what `python -m trainer evaluate` asks as well. Here several models answer, and beside them what there is
without one: growing a region from the same clicks, and following the grey values along the slices.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean
from time import perf_counter

import numpy as np

from SSLSegmentationLib.io.read import read_volume
from SSLSegmentationLib.prompting.backends import load_backend
from SSLSegmentationLib.prompting.grow import grow
from SSLSegmentationLib.prompting.protocol import PixelPrompts, Promptable
from SSLSegmentationLib.prompting.robot import Place
from SSLSegmentationLib.prompts import PointPrompt
from SSLSegmentationLib.volume import Volume
from Testing.benchmarks.processes import machine
from trainer.evaluate.prompting import Asked, Figures, Questions, Shown, after_clicks, by_case, by_measure

GROWING = "growing"


class Timed:
    """How long a model takes to encode a slice and to answer its first click."""

    def __init__(self) -> None:
        self.encoding: list[float] = []
        self.answering: list[float] = []

    def time(self, model: Promptable, seen: np.ndarray, region: np.ndarray) -> None:
        row, column = np.argwhere(region)[int(region.sum()) // 2]
        started = perf_counter()
        embedding = model.encode(seen)
        encoded = perf_counter()
        model.decode(embedding, [PixelPrompts(np.array([[column, row]], float), np.array([True]))])
        self.encoding.append(encoded - started)
        self.answering.append(perf_counter() - encoded)


def by_growing(questions: Questions) -> Figures:
    """From the same clicks without a model; there are no boxes without clicks."""
    found = [after_clicks(region, _Grown(questions.shown.scan, k)) for k, region in questions.slices()]
    return {name: mean(values) for name, values in by_measure(found).items()} | questions.along(None)


class _Grown:
    def __init__(self, scan: Volume, k: int) -> None:
        self._scan, self._k = scan, k

    def __call__(self, places: Sequence[Place], signs: Sequence[bool]) -> np.ndarray:
        prompts = [
            PointPrompt(tuple(self._scan.to_ras(np.array((*place, self._k)))), sign)
            for place, sign in zip(places, signs, strict=True)
        ]
        found = np.zeros(self._scan.shape, dtype=bool)
        proposal = grow(self._scan, prompts)
        found[proposal.box] = proposal.mask
        return found[self._k]


def cases(given: argparse.Namespace) -> Iterator[tuple[str, Path, Path]]:
    for pair in given.pairs:
        scan, _, labels = pair.partition("=")
        yield Path(scan).name.partition(".")[0], Path(scan), Path(labels)
    if given.folder is not None:
        names = given.cases or json.loads(given.split.read_text("utf-8"))["test"]
        for name in names:
            yield name, given.folder / "images" / f"{name}.nii.gz", given.folder / "labels" / f"{name}.nii.gz"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--cases", nargs="*", default=[])
    parser.add_argument("--split", type=Path)
    parser.add_argument("--pairs", nargs="*", default=[])
    parser.add_argument("--models", nargs="*", default=["click-ct-mr"])
    parser.add_argument("--most-labels", type=int, default=20, help="of a case")
    parser.add_argument("--out", type=Path, help="a JSON file for every figure")
    given = parser.parse_args()
    models = {name: load_backend(name, "cpu") for name in given.models}
    times = {name: Timed() for name in models}
    asked: dict[str, list[Asked]] = defaultdict(list)
    for case, scan_file, labels_file in cases(given):
        shown = Shown(read_volume(scan_file), read_volume(labels_file))
        for value in shown.values()[: given.most_labels]:
            questions = Questions(shown, value)
            for name, model in models.items():
                for k, region in questions.slices():
                    times[name].time(model, shown.picture(k), region)
                asked[name].append(Asked(case, value, questions.answered(model)))
            asked[GROWING].append(Asked(case, value, by_growing(questions)))
        _show(case, {name: [one for one in found if one.case == case] for name, found in asked.items()})
    _show("all", asked)
    for name, timed in times.items():
        encoding, answering = (1000 * float(np.median(taken)) for taken in (timed.encoding, timed.answering))
        print(f"{name}: encoding {encoding:.0f} ms, a click {answering:.0f} ms; {machine()}")
    if given.out:
        told = {name: [(one.case, one.value, one.figures) for one in found] for name, found in asked.items()}
        given.out.write_text(json.dumps(told, indent=1), "utf-8")


def _show(title: str, asked: Mapping[str, Sequence[Asked]]) -> None:
    """Means over labels, then over cases."""
    for name, found in asked.items():
        columns = by_measure(by_case(found).values())
        told = "  ".join(f"{measure} {mean(figures):.3f}" for measure, figures in columns.items())
        print(f"{title:24} {name:14} {told}  ({len(found)} labels)", flush=True)


if __name__ == "__main__":
    main()
