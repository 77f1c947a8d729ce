"""The longest stretch between two looks at whether the user has cancelled, for slices and networks of real size.

    python -m Testing.benchmarks.prompting_cancel [--size 1024] [--slices 4]

Random weights take the same time. Loading and compiling a network come before and are not in it. Cancelling returns
within a stretch; the target is one second. Where other programs keep the machine busy, processor seconds say more.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from time import perf_counter, process_time

import numpy as np

from Testing.benchmarks.processes import machine


class Longest:
    """A Tick that remembers the longest stretch, and between which two stages it was."""

    def __init__(self) -> None:
        self.seconds, self.cpu, self.between = 0.0, 0.0, ""
        self._at, self._cpu, self._stage = perf_counter(), process_time(), "start"

    def __call__(self, stage: str, part: float) -> None:
        now, cpu = perf_counter(), process_time()
        self.cpu = max(self.cpu, cpu - self._cpu)
        if now - self._at > self.seconds:
            self.seconds, self.between = now - self._at, f"{self._stage} to {stage}"
        self._at, self._cpu, self._stage = now, cpu, stage


def measured(work: Callable[[Longest], object]) -> Longest:
    longest = Longest()
    work(longest)
    longest("end", 1.0)
    return longest


def main() -> None:
    import torch

    from SSLSegmentationLib.prompting.assemble import touching
    from SSLSegmentationLib.prompting.protocol import PixelPrompts
    from SSLSegmentationLib.prompting.sam2 import Sam2
    from SSLSegmentationLib.prompting.sam2_network import build

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1024, help="of the picture that the network sees")
    parser.add_argument("--slices", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    backend = Sam2(build("configs/sam2.1/sam2.1_hiera_t.yaml", given.size), "tiny")
    pictures = rng.integers(0, 255, (given.slices + 1, 512, 512), dtype=np.uint8)
    mask = np.zeros((512, 512), bool)
    mask[200:300, 200:300] = True
    embedding = backend.encode(pictures[0])
    boxes = [PixelPrompts(box=(100.0, 100.0, 200.0 + n, 200.0)) for n in range(8)]
    organ = rng.random((200, 300, 300)) < 0.6
    cases: dict[str, Callable[[Longest], object]] = {
        "encoding a slice": lambda tick: backend.encode(pictures[1], tick),
        "answering eight boxes": lambda tick: backend.decode(embedding, boxes, tick),
        "propagating": lambda tick: list(
            backend.spread(pictures.__getitem__, range(1, given.slices + 1), {0: {"a": mask}}, tick)
        ),
        "joining slices of an organ of 18 million voxels": lambda tick: touching(organ, organ, tick),
    }
    print(f"{machine()}\nSAM 2.1 tiny at {given.size} pixels, threads: {given.threads}; target: under 1 second\n")
    print("| | longest stretch, s | from … to | processor seconds, of all threads |\n|---|---|---|---|")
    for name, work in cases.items():
        longest = measured(work)
        print(f"| {name} | {longest.seconds:.2f} | {longest.between} | {longest.cpu:.2f} |", flush=True)


if __name__ == "__main__":
    main()
