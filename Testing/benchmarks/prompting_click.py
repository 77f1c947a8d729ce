"""A click, a box and five segments on an encoded slice: ours against the packages' own predictors.

    python -m Testing.benchmarks.prompting_click [--repeats 20] [--threads 2]

The networks have random weights and decoders of full size; both sides use the same network, in float32, in one process
and in turn. The time runs from prompts in pixels to a mask of the slice's size.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from time import perf_counter

import numpy as np

from SSLSegmentationLib.prompting.protocol import PixelPrompts
from Testing.benchmarks.processes import machine
from Testing.benchmarks.prompting_encode import slice_of_noise

POINT, SIGN = np.array([[200.0, 250.0]]), np.array([True])
BOX = (110.0, 160.0, 290.0, 340.0)
BOXES = [(110.0 + 9 * n, 160.0, 290.0 + 9 * n, 340.0) for n in range(5)]
CASES = {
    "a click": [PixelPrompts(POINT, SIGN)],
    "a box": [PixelPrompts(box=BOX)],
    "five boxes": [PixelPrompts(box=box) for box in BOXES],
}


def theirs(predictor, prompts: list[PixelPrompts]) -> list[np.ndarray]:
    masks = []
    for prompt in prompts:
        clicked = len(prompt.points) > 0
        found, scores, _ = predictor.predict(
            point_coords=prompt.points if clicked else None,
            point_labels=prompt.positive.astype(int) if clicked else None,
            box=None if prompt.box is None else np.array(prompt.box),
            multimask_output=clicked,
        )
        masks.append(found[int(np.argmax(scores))] > 0)
    return masks


def sam() -> tuple[Callable, Callable]:
    from segment_anything import SamPredictor, sam_model_registry

    from SSLSegmentationLib.prompting.sam import Sam

    network = sam_model_registry["vit_b"]()
    network.image_encoder.blocks = network.image_encoder.blocks[:1]  # encoding is not measured here
    return _pair(Sam(network, "sam", exact=True), SamPredictor(network))


def sam2() -> tuple[Callable, Callable]:
    from SSLSegmentationLib.prompting.sam2 import Sam2
    from SSLSegmentationLib.prompting.sam2_network import build

    network = build("configs/sam2.1/sam2.1_hiera_t.yaml")
    from sam2.sam2_image_predictor import SAM2ImagePredictor

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it scripts its transforms
        return _pair(Sam2(network, "sam2", exact=True), SAM2ImagePredictor(network))


def _pair(backend, predictor) -> tuple[Callable, Callable]:
    picture = slice_of_noise()
    embedding = backend.encode(picture)
    predictor.set_image(np.repeat(picture[..., None], 3, axis=2))

    def ours(prompts: list[PixelPrompts]) -> list[np.ndarray]:
        return [answer.mask for answer in backend.decode(embedding, prompts)]

    return ours, lambda prompts: theirs(predictor, prompts)


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2, help="one, where other programs keep the machine busy")
    given = parser.parse_args()
    repeats = given.repeats
    torch.set_num_threads(given.threads)
    print(f"{machine()}\n512 × 512 pixels, medians of {repeats}, threads: {given.threads}\n")
    print("Targets: never slower than theirs, and the same masks.\n")
    print("| | prompts | theirs, ms | ours, ms | times faster | masks differ in |\n|---|---|---|---|---|---|")
    for name, make in {"SAM": sam, "SAM 2.1": sam2}.items():
        torch.manual_seed(0)
        ours, others = make()
        for case, prompts in CASES.items():
            pairs = zip(ours(prompts), others(prompts), strict=True)
            differ = sum(int((a != b).sum()) for a, b in pairs)
            times: dict[Callable, list[float]] = {ours: [], others: []}
            for _ in range(repeats):
                for run in (others, ours):
                    started = perf_counter()
                    run(prompts)
                    times[run].append(1000 * (perf_counter() - started))
            slow, fast = np.median(times[others]), np.median(times[ours])
            ratio = np.median(np.array(times[others]) / np.array(times[ours]))
            print(f"| {name} | {case} | {slow:.0f} | {fast:.0f} | {ratio:.2f} | {differ} pixels |", flush=True)


if __name__ == "__main__":
    main()
