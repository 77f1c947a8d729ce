"""Moving a 512 × 512 × 300 int16 scan into another process and masks back: the engine, against what others do.

    python -m Testing.benchmarks.engine_transfer [--rounds 7]        (blosc2 is needed beside the engine's packages)

The scan is a phantom abdomen on a coarse grid, interpolated, with the noise of a CT; the organ is its liver, and the
small change a ball of 20 voxels. All ways take turns in every round. A mask has arrived when it is in an array of the
scan's size; a scan when the other process can compute with it, and the engine has checked its digest besides.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter

import numpy as np

from SSLSegmentationLib.engine.client import Client, HttpxTransport, client_of
from SSLSegmentationLib.prompts import PointPrompt
from SSLSegmentationLib.proposal import box_of
from SSLSegmentationLib.volume import Volume
from Testing.benchmarks.engine_peers import BloscHttp, Files, Pickles, Way, other_process, proof
from Testing.benchmarks.engine_program import program
from Testing.benchmarks.processes import machine

SHAPE = (300, 512, 512)
OURS = "engine"
ORGAN, CHANGE = "organ", "change"
LIVER = "liver"


class Ours:
    """A session on the engine, opened anew for every scan so that nothing is there already."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._session = None

    def send(self, scan: np.ndarray) -> int:
        self._session = self._client.open(Volume(scan, name="scan", modality="CT"))
        return proof(scan)  # the engine has answered with the digest of what it holds

    def fetch(self, name: str, target: np.ndarray) -> None:
        proposal = self._session.prompt([PointPrompt((0.0, 0.0, 0.0))], segment=name)
        target[proposal.box] = proposal.mask

    def forget(self) -> None:
        self._session.close()


def made_up() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A scan, and the masks to move."""
    from scipy.ndimage import gaussian_filter, zoom

    from SSLSegmentationLib.phantom import abdomen_phantom
    from SSLSegmentationLib.phantom.names import organ_labels

    coarse, labels = abdomen_phantom(1, shape=tuple(n // 4 for n in SHAPE), spacing=(3.0, 3.0, 4.0))
    noise = np.random.default_rng(1).normal(0, 40, SHAPE).astype(np.float32)
    scan = zoom(coarse.voxels.astype(np.float32), 4, order=1) + gaussian_filter(noise, (0.0, 0.7, 0.7))
    liver = next(label.value for label in organ_labels() if label.name.lower() == LIVER)
    organ = zoom((labels.voxels == liver).astype(np.float32), 4, order=1) > 0.5
    centre = [int(side.mean()) for side in np.nonzero(organ)]
    z, y, x = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    ball = (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 <= 10**2
    return np.clip(scan, -1024, 3071).astype(np.int16), {ORGAN: organ.view(np.uint8), CHANGE: ball.view(np.uint8)}


def measure(ways: dict[str, Way], scan: np.ndarray, masks: dict[str, np.ndarray], rounds: int) -> dict[str, list]:
    """For each way and round: seconds of the scan, the organ and the change. One round before them counts not."""
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in ways}
    expected = proof(scan)
    for number in range(-1, rounds):
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
        # Another one begins each round: whoever follows the compressing ones finds the machine warm, or busy writing.
        turn = number % len(ways)
        for name, way in [*ways.items()][turn:] + [*ways.items()][:turn]:
            started = perf_counter()
            arrived = way.send(scan)
            seconds = [perf_counter() - started]
            right = arrived == expected
            for mask, truth in masks.items():
                target = np.zeros(SHAPE, np.uint8)
                target[:] = 0  # so that its pages are there
                started = perf_counter()
                way.fetch(mask, target)
                seconds.append(perf_counter() - started)
                right = right and np.array_equal(target, truth)
            if not right:
                raise SystemExit(f"{name}: what arrived is not what was sent.")
            if isinstance(way, Ours):
                way.forget()
            if number >= 0:
                found[name].append(tuple(seconds))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true", help="every measured second, instead of the table")
    given = parser.parse_args()
    scan, masks = made_up()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for name, mask in masks.items():
            np.save(folder / f"{name}.npy", mask)
        boxes = {name: [(side.start, side.stop) for side in box_of(mask)] for name, mask in masks.items()}
        (folder / "boxes.json").write_text(json.dumps(boxes))
        engine = program(folder)
        engine.start()
        ours = stack.enter_context(client_of(engine))
        packed = stack.enter_context(Client(HttpxTransport(engine.url, engine.token), compress=True))
        pipes = [stack.enter_context(other_process(folder)) for _ in range(3)]
        blosc = BloscHttp(pipes[0])
        stack.callback(blosc.close)
        ways = {
            OURS: Ours(ours),
            "engine, compressed as over a network": Ours(packed),
            "blosc2 over HTTP": blosc,
            "pickles in a pipe": Pickles(pipes[1]),
            ".nii, SimpleITK": Files(pipes[2], folder, ".nii"),
            ".nii.gz, SimpleITK": Files(pipes[2], folder, ".nii.gz"),
        }
        found = measure(ways, scan, masks, given.rounds)
    print(json.dumps(found) if given.json else _table(found, given.rounds))


def _table(found: dict[str, list], rounds: int) -> str:
    """Medians in milliseconds; ratios are medians of the ratios of the rounds."""
    size = " × ".join(map(str, SHAPE[::-1]))
    seconds = {name: np.array(rows) for name, rows in found.items()}
    ours = seconds[OURS][:, :2].sum(axis=1)
    lines = [f"{machine()}\n{size} voxels of int16, medians of {rounds} rounds, milliseconds\n"]
    lines.append(
        "| | scan in | organ out | small change out | scan and organ | times the engine |\n|---|---|---|---|---|---|"
    )
    for name, rows in seconds.items():
        both = rows[:, :2].sum(axis=1)
        numbers = [f"{1000 * value:.0f}" for value in np.median(rows, axis=0)] + [f"{1000 * np.median(both):.0f}"]
        lines.append(f"| {name} | {' | '.join(numbers)} | {np.median(both / ours):.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
