"""Memory of prompting: 500 prompts on 100 slices, at the bound of the embeddings.

    python -m Testing.benchmarks.prompting_memory [--prompts 500] [--slices 100] [--most-mb 8]

A small network with random weights, since the bound does not depend on the network. Prints what the process holds above
what it held after the first prompt, and the stated bound: that of the embeddings, and what one prompt may take.
"""

from __future__ import annotations

import argparse

import numpy as np

from Testing.benchmarks.processes import held_bytes, machine

SIDE = 128
WORKING_MB = 128
"""What one prompt may take beside the embeddings, and what the libraries keep for themselves."""


def main() -> None:
    from SSLSegmentationLib.engine.requests import PromptRequest
    from SSLSegmentationLib.engine.session import Models, Session
    from SSLSegmentationLib.plane import slice_plane
    from SSLSegmentationLib.prompting.embeddings import Embeddings
    from SSLSegmentationLib.prompting.sam2 import Sam2
    from SSLSegmentationLib.prompts import PointPrompt
    from SSLSegmentationLib.volume import Volume
    from Testing.prompting.networks import small_sam2

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=500)
    parser.add_argument("--slices", type=int, default=100)
    parser.add_argument("--most-mb", type=int, default=8, help="the bound of the embeddings")
    given = parser.parse_args()
    backend = Sam2(small_sam2(side=SIDE), "small")

    class Only(Models):
        embeddings = Embeddings(given.most_mb * 2**20)

        def promptable(self, model: str) -> Sam2:
            return backend

    models = Only(lambda: [])
    rng = np.random.default_rng(0)
    volume = Volume(rng.integers(0, 255, (given.slices, SIDE, SIDE), dtype=np.uint8))
    session = Session(volume, models)

    def ask() -> None:
        k, j, i = (int(rng.integers(0, side)) for side in volume.shape)
        place = tuple(volume.to_ras(np.array([i, j, k], dtype=float)))
        request = PromptRequest((PointPrompt(place, plane=slice_plane(volume, 0, k)),), "a", "small", (255.0, 127.5))
        session.accept(session.run(request))

    ask()
    before, most, rows = held_bytes(), 0, []
    for n in range(1, given.prompts + 1):
        ask()
        most = max(most, held_bytes() - before)
        if n % max(1, given.prompts // 5) == 0:
            rows.append((n, held_bytes() - before))
    usage, bound = models.embeddings.usage, given.most_mb + WORKING_MB
    print(f"{machine()}\n{given.prompts} prompts on {given.slices} slices of {SIDE} × {SIDE} pixels\n")
    print("| prompts | MB held |\n|---|---|")
    for n, held in rows:
        print(f"| {n} | {held / 1e6:.0f} |")
    print(f"\nmost: {most / 1e6:.0f} MB; bound: {bound} MB ({given.most_mb} of embeddings); ", end="")
    print(f"{usage.kept} embeddings kept, {usage.bytes / 1e6:.0f} MB, hit rate {usage.hit_rate:.2f}")
    if most > bound * 2**20:
        raise SystemExit("The memory has left its bound.")


if __name__ == "__main__":
    main()
