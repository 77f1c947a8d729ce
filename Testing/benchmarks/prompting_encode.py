"""Encoding one slice for prompts on a CPU: what the program uses against PyTorch in float32, as the packages run it.

    python -m Testing.benchmarks.prompting_encode [--model vit_b|tiny|small|base+] [--rounds 3]

Weights are random, which costs the same time. The exactness is the relative difference of the feature maps.
"""

from __future__ import annotations

import argparse
import json
from time import perf_counter

import numpy as np

from Testing.benchmarks.processes import machine, median_ratio, run_in_turn

VARIANTS = ("PyTorch, float32", "PyTorch, bf16", "ours")
MODELS = {"vit_b": "vit_b", "tiny": "t", "small": "s", "base+": "b+"}


def network_of(model: str):
    """A network with random weights, and what makes a promptable model of it."""
    import torch

    torch.manual_seed(0)
    if model == "vit_b":
        from segment_anything import sam_model_registry

        from SSLSegmentationLib.prompting.sam import Sam

        network = sam_model_registry["vit_b"]()
        for block in network.image_encoder.blocks:
            torch.nn.init.normal_(block.attn.rel_pos_h, std=0.02)
            torch.nn.init.normal_(block.attn.rel_pos_w, std=0.02)
        return network, Sam
    from SSLSegmentationLib.prompting.sam2 import Sam2
    from SSLSegmentationLib.prompting.sam2_network import build

    return build(f"configs/sam2.1/sam2.1_hiera_{MODELS[model]}.yaml"), Sam2


def slice_of_noise() -> np.ndarray:
    rows, columns = np.ogrid[:512, :512]
    disc = (rows - 250) ** 2 + (columns - 200) ** 2 < 90**2
    return (np.random.default_rng(0).integers(0, 80, (512, 512)) + 150 * disc).astype(np.uint8)


def run(variant: str, model: str) -> dict[str, float]:
    import torch

    torch.set_num_threads(2)
    network, backend = network_of(model)
    picture = slice_of_noise()
    exact = backend(network, "exact", exact=True)
    chosen = exact
    if variant == "ours":
        chosen = backend(network, "ours")
    elif variant == "PyTorch, bf16":
        chosen = backend(network, "half", exact=True)
        chosen._encoder._precision = "bf16"
    chosen.encode(picture)  # the first picture pays for what later ones find ready
    started = perf_counter()
    found = chosen.encode(picture)
    seconds = perf_counter() - started
    reference = found if chosen is exact else exact.encode(picture)
    pairs = zip(found.features, reference.features, strict=True)
    off = max(float((a - b).norm() / b.norm()) for a, b in pairs)
    return {"seconds": round(seconds, 3), "off": off}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="tiny")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--run", choices=VARIANTS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run:
        print(json.dumps(run(given.run, given.model)))
        return
    results = run_in_turn("Testing.benchmarks.prompting_encode", list(VARIANTS), given.rounds, ["--model", given.model])
    print(f"\n{machine()}\n{given.model}, 512 × 512 pixels, medians of {given.rounds} rounds\n")
    print("Target: ours at least 2.0 times faster than PyTorch in float32.\n")
    print("| | seconds | times faster | features off by |\n|---|---|---|---|")
    for variant, rows in results.items():
        seconds, off = (float(np.median([row[key] for row in rows])) for key in ("seconds", "off"))
        print(f"| {variant} | {seconds:.2f} | {median_ratio(results[VARIANTS[0]], rows, 'seconds'):.1f} | {off:.1e} |")


if __name__ == "__main__":
    main()
