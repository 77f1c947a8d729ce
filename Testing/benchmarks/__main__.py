"""Run all benchmarks one after the other and print their tables: `make bench`.

The network of the sliding window is trained first, on phantoms, unless --weights names one from an earlier run.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=Path("Testing/output/benchmark.safetensors"))
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    if not given.weights.exists():
        _run("network", str(given.weights))
    _run("sliding_window", str(given.weights), "--rounds", str(given.rounds))
    _run("restoring", "--rounds", str(given.rounds))
    _run("engine_transfer", "--rounds", str(given.rounds))
    _run("engine_round_trip")
    _run("prompting_click")
    for model in ("tiny", "vit_b"):
        _run("prompting_encode", "--model", model, "--rounds", "3")
    for drawn in ("ends", "middle"):
        _run("prompting_propagate", "--drawn", drawn, "--rounds", "1")
    _run("prompting_propagate", "--model", "large", "--slices", "16", "--rounds", "1")
    _run("prompting_propagate", "--drawn", "middle", "--stock-size", "1024", "--slices", "16", "--rounds", "1")
    _run("prompting_propagate", "--memory", "--rounds", "1")
    _run("prompting_memory")
    _run("prompting_cancel")


def _run(name: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", f"Testing.benchmarks.{name}", *arguments], check=True)


if __name__ == "__main__":
    main()
