"""Spreading drawn slices through a stack: ours against SAM 2's own video predictor, in time and in memory.

    python -m Testing.benchmarks.prompting_propagate [--model tiny|small|base+|large] [--slices 64] [--size 512]
        [--drawn ends|middle] [--stock-size 1024] [--rounds 3]
    python -m Testing.benchmarks.prompting_propagate --memory [--slices 500] [--size 256]

Random weights take the same time. Theirs writes the slices into a folder of JPEG files, then calls init_state, forward,
reset_state and reverse, as their users do. "ends" draws the first and the last slice, so that theirs passes every slice
in both directions; "middle" draws the middle slice, and every slice is passed once by everybody.

"features shared" is what the memory of encoder features gives by itself: the same float32 computation, every slice
passed in both directions, but encoded once. "whole slices" is what the program does without its crop, and "ours" with
it. With `--stock-size 1024` theirs runs at the size that SAM 2 was published for, and ours, whose crop spends the
pixels on the object, at `--size`. Processor seconds count less of what other programs do at the same time.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter, process_time

import numpy as np

from Testing.benchmarks.processes import held_bytes, machine, median_ratio, run_in_turn

VARIANTS = ("theirs", "features shared", "whole slices", "ours")
MODELS = {"tiny": "t", "small": "s", "base+": "b+", "large": "l"}
SIDE = 512  # pixels of a slice


def scan(count: int) -> tuple[np.ndarray, np.ndarray]:
    """A bright column that bends through noise, and where it is."""
    rows, columns = np.ogrid[:SIDE, :SIDE]
    bright = np.stack(
        [(rows - 250 - 0.3 * n % 60) ** 2 + (columns - 200 - 0.5 * n % 60) ** 2 < 45**2 for n in range(count)]
    )
    voxels = np.random.default_rng(0).integers(0, 80, (count, SIDE, SIDE), dtype=np.uint8)
    return voxels + np.uint8(150) * bright, bright


def network(model: str, size: int, video: bool = False):
    """A network with random weights; what it finds means nothing, so nobody may stop where nothing is found."""
    import torch
    from hydra.utils import instantiate

    from SSLSegmentationLib.prompting.sam2_network import settings_of

    settings = settings_of(f"configs/sam2.1/sam2.1_hiera_{MODELS[model]}.yaml", size)
    if video:
        settings._target_ = "sam2.sam2_video_predictor.SAM2VideoPredictor"
    torch.manual_seed(0)
    return instantiate(settings, _recursive_=True).eval().requires_grad_(False)


def theirs(model: str, size: int, drawn: list[int], count: int) -> Iterator[int]:
    import torch
    from PIL import Image

    voxels, bright = scan(count)
    predictor = network(model, size, video=True)
    yield -1  # the clock starts
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for n, one in enumerate(voxels):
            Image.fromarray(one).convert("RGB").save(Path(folder) / f"{n:05d}.jpg", quality=95)
        state = predictor.init_state(folder)
        found = np.zeros(voxels.shape, bool)
        for reverse in (False, True):
            for n in drawn:
                predictor.add_new_mask(state, n, 1, bright[n])
            start = drawn[-1] if reverse else drawn[0]
            for n, _, logits in predictor.propagate_in_video(state, start_frame_idx=start, reverse=reverse):
                found[n] = (logits[0, 0] > 0).numpy()
                yield n
            if not reverse:
                predictor.reset_state(state)


def shared(model: str, size: int, drawn: list[int], count: int) -> Iterator[int]:
    from SSLSegmentationLib.prompting.sam2 import Sam2

    voxels, bright = scan(count)
    backend = Sam2(network(model, size), "shared", exact=True, frame_bytes=2**33)
    known = {n: {"a": bright[n]} for n in drawn}
    yield -1
    for order in (range(drawn[0], count), range(drawn[-1], -1, -1)):
        for n, answers in backend.spread(voxels.__getitem__, order, known):
            assert answers["a"].mask.shape == (SIDE, SIDE)
            yield n


def ours(model: str, size: int, drawn: list[int], count: int, *, crop: bool) -> Iterator[int]:
    from SSLSegmentationLib.prompting.picture import Window
    from SSLSegmentationLib.prompting.propagate import propagate
    from SSLSegmentationLib.prompting.protocol import Answer
    from SSLSegmentationLib.prompting.sam2 import Sam2
    from SSLSegmentationLib.prompting.stack import slices_along
    from SSLSegmentationLib.prompting.stopping import NEVER
    from SSLSegmentationLib.proposal import Cropped
    from SSLSegmentationLib.volume import Volume

    class Seeing(Sam2):
        """Finds what is bright, at the cost of the network: with random weights a crop would have nothing to follow."""

        def spread(self, picture, *arguments, **options):
            for n, answers in super().spread(picture, *arguments, **options):
                logits = np.where(picture(n) > 115, np.float32(9), np.float32(-9))
                yield n, {name: Answer(logits, 0.9) for name in answers}

    voxels, bright = scan(count)
    backend = Seeing(network(model, size), "ours")
    backend._frames.features(np.zeros((SIDE, SIDE), np.uint8))  # the first picture pays for what others find ready
    mask = bright & np.isin(np.arange(count), drawn)[:, None, None]
    stack = slices_along(Volume(voxels), 0)
    yield -1
    steps = propagate(
        stack, {"a": Cropped.of(mask)}, drawn, backend, window=Window(255.0, 127.5), rule=NEVER, crop=crop, stride=1
    )
    for n, _ in enumerate(steps):
        yield n


def variant(name: str, given: argparse.Namespace) -> Iterator[int]:
    drawn = [0, given.slices - 1] if given.drawn == "ends" else [given.slices // 2]
    size = given.stock_size or given.size
    runs: dict[str, Callable[[], Iterator[int]]] = {
        "theirs": lambda: theirs(given.model, size, drawn, given.slices),
        "features shared": lambda: shared(given.model, size, drawn, given.slices),
        "whole slices": lambda: ours(given.model, size, drawn, given.slices, crop=False),
        "ours": lambda: ours(given.model, given.size, drawn, given.slices, crop=True),
    }
    return runs[name]()


def run(name: str, given: argparse.Namespace) -> dict[str, float]:
    """Seconds, and the memory that is held after a tenth of the slices and at the end."""
    import torch

    torch.set_num_threads(given.threads)
    steps = variant(name, given)
    next(steps)
    started, cpu, before, held = perf_counter(), process_time(), held_bytes(), []
    for _ in steps:
        held.append(held_bytes() - before)
    seconds, cpu = perf_counter() - started, process_time() - cpu
    early, late = held[len(held) // 10], held[-1]
    each = (late - early) / max(1, len(held) - len(held) // 10)
    return {"seconds": round(seconds, 2), "cpu": round(cpu, 2), "early": early, "late": late, "each": each}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="tiny")
    parser.add_argument("--slices", type=int)
    parser.add_argument("--size", type=int, help="of the pictures that the network sees")
    parser.add_argument("--stock-size", type=int, help="of those that theirs sees, if it is another")
    parser.add_argument("--drawn", choices=("ends", "middle"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", action="store_true", help="only theirs and ours, over many slices")
    parser.add_argument("--run", choices=VARIANTS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.slices = given.slices or (500 if given.memory else 64)
    given.size = given.size or (256 if given.memory else 512)
    given.drawn = given.drawn or ("middle" if given.memory else "ends")
    if given.run:
        print(json.dumps(run(given.run, given)))
        return
    names = ["theirs", "ours"] if given.memory or given.stock_size else list(VARIANTS)
    passed = ["--model", given.model, "--slices", str(given.slices), "--size", str(given.size)]
    passed += ["--drawn", given.drawn, "--threads", str(given.threads)]
    passed += ["--stock-size", str(given.stock_size)] if given.stock_size else []
    passed += ["--memory"] if given.memory else []
    results = run_in_turn("Testing.benchmarks.prompting_propagate", names, given.rounds, passed)
    at = f"{given.stock_size} (theirs) and {given.size}" if given.stock_size else str(given.size)
    print(f"\n{machine()}\nSAM 2.1 {given.model} at {at} pixels, {given.slices} slices, drawn: {given.drawn}, ", end="")
    print(f"medians of {given.rounds} rounds, threads: {given.threads}")
    print("Targets: 1.7 times from features shared alone, 5 times with the crop; memory that does not grow.\n")
    print("| | seconds | times faster | processor seconds | times fewer | MB at a tenth | MB at the end | kB a slice |")
    print("|---|---|---|---|---|---|---|---|")
    for name, rows in results.items():
        seconds, cpu, early, late, each = (
            float(np.median([row[key] for row in rows])) for key in ("seconds", "cpu", "early", "late", "each")
        )
        faster, fewer = (median_ratio(results["theirs"], rows, key) for key in ("seconds", "cpu"))
        print(
            f"| {name} | {seconds:.1f} | {faster:.1f} | {cpu:.1f} | {fewer:.1f} | "
            f"{early / 1e6:.0f} | {late / 1e6:.0f} | {each / 1e3:.0f} |"
        )


if __name__ == "__main__":
    main()
