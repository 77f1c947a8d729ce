"""What a prompt costs without its model: a click on a 256³ session over loopback, to an operation that does nothing.

    python -m Testing.benchmarks.engine_round_trip [--prompts 500]

Everything but the network is measured: prompt to JSON, HTTP, token, queue, worker thread, result to a frame, and back
to a mask. The click comes every 20 ms, as from a user who drags, so that both processes have gone to sleep before it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from time import perf_counter, sleep

import numpy as np

from SSLSegmentationLib.engine.client import RemoteSession, client_of
from SSLSegmentationLib.prompts import PointPrompt
from SSLSegmentationLib.volume import Volume
from Testing.benchmarks.engine_program import NOTHING, program
from Testing.benchmarks.processes import machine

SIDE = 256
ORGAN = "organ"
PAUSE = 0.02
WARM = 20


def measure(session: RemoteSession, segment: str, prompts: int) -> list[float]:
    """Milliseconds of each prompt; the first ones do not count."""
    found = []
    for number in range(WARM + prompts):
        sleep(PAUSE)
        started = perf_counter()
        session.prompt([PointPrompt((float(number % SIDE), 0.0, 0.0))], segment=segment)
        found.append(1000 * (perf_counter() - started))
    return found[WARM:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=500)
    parser.add_argument("--json", action="store_true", help="every measured millisecond, instead of the table")
    given = parser.parse_args()
    scan = np.random.default_rng(0).normal(0, 20, (SIDE,) * 3).astype(np.int16)
    z, y, x = np.ogrid[:SIDE, :SIDE, :SIDE]
    ball = (z - 128) ** 2 + (y - 128) ** 2 + (x - 128) ** 2 <= 48**2
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / f"{ORGAN}.npy", ball.view(np.uint8))
        (Path(folder) / "boxes.json").write_text(json.dumps({ORGAN: [(80, 177)] * 3}))
        engine = program(Path(folder))
        engine.start()
        with client_of(engine) as client:
            session = client.open(Volume(scan, name="scan", modality="CT"))
            found = {
                "one voxel changes": measure(session, NOTHING, given.prompts),
                "a ball of 97³ voxels changes": measure(session, ORGAN, given.prompts),
            }
    if given.json:
        print(json.dumps(found))
        return
    print(f"{machine()}\n{given.prompts} prompts each on {SIDE}³ voxels, milliseconds\n")
    print("| | median | p95 | worst |\n|---|---|---|---|")
    for name, values in found.items():
        median, late = np.percentile(values, (50, 95))
        print(f"| {name} | {median:.1f} | {late:.1f} | {max(values):.1f} |")


if __name__ == "__main__":
    main()
