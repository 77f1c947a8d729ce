"""How good answers are after 1, 3 and 5 clicks, after a box, and along the slices: on cases of your own.

    python -m Testing.benchmarks.prompting_accuracy FOLDER [--cases NAME …] [--split SPLIT.json] [--model ID]
    python -m Testing.benchmarks.prompting_accuracy --pairs SCAN=LABELS …

FOLDER holds images/ and labels/; of a split, its test cases are taken. A robot clicks into the middle of the largest
region of a label on a slice, then into the middle of the largest mistake, and so on; a box is drawn two pixels around
it. Three slices of each label and case are asked, at a quarter, a half and three quarters of its length. Everything is
compared with growing a region from the same clicks, which is what there is without a model. Along the slices, the
middle one is taken as drawn and spread by up to --reach slices both ways; compared is following the grey values.

Dice is in two dimensions for clicks and boxes, and in three along the slices; means are over slices of a label, then
over labels and cases.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import mean
from time import perf_counter

import numpy as np
from scipy.ndimage import distance_transform_edt

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.io.read import read_volume
from SSLSegmentationLib.prompting.backends import load_backend
from SSLSegmentationLib.prompting.boxes import grown, tight
from SSLSegmentationLib.prompting.grow import grow
from SSLSegmentationLib.prompting.picture import picture, window_of
from SSLSegmentationLib.prompting.propagate import propagate
from SSLSegmentationLib.prompting.protocol import PixelPrompts, Promptable
from SSLSegmentationLib.prompting.stack import Stack, slices_along
from SSLSegmentationLib.prompts import PointPrompt
from SSLSegmentationLib.proposal import Cropped
from SSLSegmentationLib.regions import largest_region
from SSLSegmentationLib.volume import Volume
from Testing.benchmarks.processes import machine

CLICKS = (1, 3, 5)
LEAST = 30  # pixels of a region that is asked for

Points = list[tuple[float, float]]
Ask = Callable[[Points, list[bool]], np.ndarray]


def regions(labels: np.ndarray, value: int) -> Iterator[tuple[int, np.ndarray]]:
    """Slices, and the largest region of the label on each."""
    there = np.flatnonzero((labels == value).sum(axis=(1, 2)) >= LEAST)
    for part in (0.25, 0.5, 0.75) if len(there) else ():
        k = int(there[round(part * (len(there) - 1))])
        region = largest_region(labels[k] == value)
        if region.sum() >= LEAST:
            yield k, region


def robot(target: np.ndarray, ask: Ask) -> dict[str, float]:
    """Dice after each number of clicks."""
    points, signs, scores = [], [], {}
    found = np.zeros_like(target)
    for count in range(1, max(CLICKS) + 1):
        wrong = target != found
        if wrong.any():
            depth = distance_transform_edt(np.pad(largest_region(wrong), 1))[1:-1, 1:-1]
            row, column = np.unravel_index(int(depth.argmax()), depth.shape)
            points.append((float(column), float(row)))
            signs.append(bool(target[row, column]))
            found = ask(points, signs)
        if count in CLICKS:
            scores[f"{count} clicks" if count > 1 else "1 click"] = dice(found, target)
    return scores


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / max(1, one.sum() + other.sum()))


def by_model(model: Promptable, seen: np.ndarray, target: np.ndarray) -> dict[str, float]:
    embedding = model.encode(seen)

    def ask(points: Points, signs: list[bool]) -> np.ndarray:
        return model.decode(embedding, [PixelPrompts(np.array(points), np.array(signs))])[0].mask

    box = PixelPrompts(box=grown(tight(target), target.shape, 0.0, 2.0))
    return robot(target, ask) | {"box": dice(model.decode(embedding, [box])[0].mask, target)}


def by_growing(volume: Volume, k: int, target: np.ndarray) -> dict[str, float]:
    def ask(points: Points, signs: list[bool]) -> np.ndarray:
        prompts = [
            PointPrompt(tuple(volume.to_ras(np.array((column, row, k)))), sign)
            for (column, row), sign in zip(points, signs, strict=True)
        ]
        found = np.zeros(volume.shape, dtype=bool)
        proposal = grow(volume, prompts)
        found[proposal.box] = proposal.mask
        return found[k]

    return robot(target, ask)


def along(stack: Stack, labels: np.ndarray, value: int, model: Promptable | None, reach: int) -> dict[str, float]:
    """Dice over the slices around the middle one, without it."""
    there = np.flatnonzero((labels == value).any(axis=(1, 2)))
    middle = int(there[len(there) // 2])
    low, high = max(0, middle - reach), min(len(labels), middle + reach + 1)
    drawn = np.zeros(labels.shape, dtype=bool)
    drawn[middle] = labels[middle] == value
    if not drawn.any():
        return {}
    whole = Cropped(tuple(slice(0, n) for n in labels.shape), drawn).tight()
    steps = propagate(stack, {"it": whole}, [middle], model)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            proposal = end.value.proposals["it"]
            break
    found = proposal.accepted_into(whole).within(tuple(slice(0, n) for n in labels.shape))
    others = [k for k in range(low, high) if k != middle]
    return {"along slices": dice(found[others], labels[others] == value)}


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
    parser.add_argument("--model", default="click-ct-mr")
    parser.add_argument("--most-labels", type=int, default=20, help="of a case")
    parser.add_argument("--reach", type=int, default=12)
    parser.add_argument("--out", type=Path, help="a JSON file for every figure")
    given = parser.parse_args()
    model = load_backend(given.model, "cpu")
    figures: dict[str, dict[str, dict[str, list[float]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    encoding, answering = [], []
    for name, scan, path in cases(given):
        volume, truth = read_volume(scan), read_volume(path)
        if truth.shape != volume.shape:
            raise InputError(f"{path.name} lies on another grid than {scan.name}: choose labels of this scan.")
        stack, window, labels = slices_along(volume, 0), window_of(volume), truth.voxels
        for value in [value for value in np.unique(labels) if value][: given.most_labels]:
            of_label = f"{name}: {value}"
            for k, region in regions(labels, value):
                seen = picture(volume, stack.plane(k), window)
                started = perf_counter()
                embedding = model.encode(seen)
                encoding.append(perf_counter() - started)
                middle = np.argwhere(region)[int(region.sum()) // 2]
                started = perf_counter()
                model.decode(embedding, [PixelPrompts(np.array([middle[::-1]], float), np.array([True]))])
                answering.append(perf_counter() - started)
                for how, scores in (
                    ("model", by_model(model, seen, region)),
                    ("growing", by_growing(volume, k, region)),
                ):
                    for what, score in scores.items():
                        figures[of_label][how][what].append(score)
            for how, network in (("model", model), ("growing", None)):
                for what, score in along(stack, labels, value, network, given.reach).items():
                    figures[of_label][how][what].append(score)
        _show({key: one for key, one in figures.items() if key.startswith(name)}, name)
    _show(figures, "all")
    print(f"encoding {1000 * np.median(encoding):.0f} ms, a click {1000 * np.median(answering):.0f} ms; {machine()}")
    if given.out:
        given.out.write_text(json.dumps(figures, indent=1), "utf-8")


def _show(figures: dict, title: str) -> None:
    for how in ("model", "growing"):
        columns: dict[str, list[float]] = defaultdict(list)
        for one in figures.values():
            for what, scores in one.get(how, {}).items():
                columns[what].append(mean(scores))
        told = "  ".join(f"{what} {mean(scores):.3f}" for what, scores in columns.items())
        print(f"{title:24} {how:8} {told}  ({len(figures)} labels)", flush=True)


if __name__ == "__main__":
    main()
