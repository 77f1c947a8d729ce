"""Our inference against MONAI's SlidingWindowInferer: the same network, weights and volume, whole processes in turn.

    python -m Testing.benchmarks.network WEIGHTS.safetensors     (once: trains the network, some minutes)
    python -m Testing.benchmarks.sliding_window WEIGHTS.safetensors [--scan FILE] [--rounds 5]

The volume is a 256 × 256 × 160 abdomen, a phantom unless a scan is named. Patches of 96³, overlap 0.5, 14 classes.
MONAI runs as in the spleen bundle of its Model Zoo (four tiles at a time, softmax, argmax), with Gaussian weights.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np

from SSLSegmentationLib.volume import Volume
from Testing.benchmarks.network import INTENSITY, PATCH, build, package
from Testing.benchmarks.processes import held_bytes, machine, median_ratio, peak_bytes, run_in_turn

SHAPE = (160, 256, 256)
VARIANTS = {
    "monai": {},
    "monai, one tile at a time": {},
    "torch-f32": {"backend": "torch", "precision": "f32", "crop_to_body": False},
    "default, whole scan": {"crop_to_body": False},
    "default": {},
    "default, overlap 0.25": {"overlap": 0.25},
    "torch": {"backend": "torch"},
    "default with doubt": {"doubt": "entropy"},
}


def volume(scan: Path | None) -> Volume:
    """The abdomen, cut or filled up with air to the size of the benchmark."""
    if scan is None:
        from SSLSegmentationLib.phantom import abdomen_phantom

        return abdomen_phantom(1, shape=SHAPE, spacing=(1.6, 1.6, 2.0))[0]
    from SSLSegmentationLib.io.read import read_volume

    found = read_volume(scan)
    voxels = np.full(SHAPE, found.voxels.min(), dtype=found.voxels.dtype)
    part = tuple(slice(0, min(a, b)) for a, b in zip(found.shape, SHAPE, strict=True))
    voxels[part] = found.voxels[part]
    return Volume(voxels, found.ijk_to_ras, found.name, "CT")


def run(variant: str, weights: Path, scan: Path, labels: Path) -> dict[str, float]:
    """One measured process: load everything, then the clock runs from the scan in memory to its label map."""
    import torch
    from safetensors.torch import load_model

    torch.set_num_threads(2)
    network = build().eval()
    load_model(network, str(weights))
    given = np.load(scan)
    scan_volume = Volume(given, np.diag([1.6, 1.6, 2.0, 1.0]), "benchmark", "CT")
    before, started = held_bytes(), perf_counter()
    if variant.startswith("monai"):
        found = _with_monai(scan_volume, network, at_once=4 if variant == "monai" else 1)
    else:
        from SSLSegmentationLib.inference.segment import Segmenter, Settings

        settings = Settings(**{"doubt": "none", "device": "cpu"} | VARIANTS[variant])
        segmenter = Segmenter(package(weights), settings, load=lambda *_: network)
        found = segmenter(scan_volume).labels.voxels
    seconds, peak = perf_counter() - started, peak_bytes()
    np.save(labels / f"{variant}.npy", found)
    return {"seconds": round(seconds, 2), "megabytes": round((peak - before) / 2**20)}


def _with_monai(scan: Volume, network, at_once: int) -> np.ndarray:
    """What a MONAI bundle does: scaled intensities, SlidingWindowInferer, softmax, argmax."""
    import torch
    from monai.inferers import SlidingWindowInferer
    from monai.transforms import Activations, AsDiscrete, Compose, ScaleIntensityRange

    scale = ScaleIntensityRange(INTENSITY.low, INTENSITY.high, 0.0, 1.0, clip=True)
    image = torch.as_tensor(scale(scan.voxels.astype(np.float32).transpose(2, 1, 0)[None]))
    slide = SlidingWindowInferer(PATCH, sw_batch_size=at_once, overlap=0.5, mode="gaussian")
    with torch.inference_mode():
        logits = slide(image[None], network)[0]
    labels = Compose([Activations(softmax=True), AsDiscrete(argmax=True)])(logits)
    return labels[0].numpy().astype(np.uint8).transpose(2, 1, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--scan", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--run", choices=VARIANTS, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run:
        print(json.dumps(run(given.run, given.weights, given.work / "scan.npy", given.work)))
        return
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        np.save(work / "scan.npy", volume(given.scan).voxels)
        arguments = [str(given.weights), "--work", folder]
        results = run_in_turn("Testing.benchmarks.sliding_window", given.variants, given.rounds, arguments)
        labels = {variant: np.load(work / f"{variant}.npy") for variant in given.variants}
    print(f"\n{machine()}\n256 × 256 × 160 voxels, 14 classes, medians of {given.rounds} rounds\n")
    print("| | seconds | times faster | MB over the model | of MONAI's memory | voxels changed |")
    print("|---|---|---|---|---|---|")
    for variant in given.variants:
        rows = results[variant]
        faster = median_ratio(results["monai"], rows, "seconds")
        memory = 1 / median_ratio(results["monai"], rows, "megabytes")
        changed = float((labels[variant] != labels["monai"]).mean())
        seconds, megabytes = (float(np.median([row[key] for row in rows])) for key in ("seconds", "megabytes"))
        print(f"| {variant} | {seconds:.1f} | {faster:.1f} | {megabytes:.0f} | {memory:.2f} | {changed:.4%} |")


if __name__ == "__main__":
    main()
