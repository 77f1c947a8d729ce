"""Run pieces of a benchmark as processes of their own, in turn, so that none inherits the other's memory or warmth."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any


def run_in_turn(module: str, variants: list[str], rounds: int, arguments: list[str]) -> dict[str, list[dict[str, Any]]]:
    """What `python -m module --run VARIANT` printed as its last line (JSON), for every round of A B A B …"""
    results: dict[str, list[dict[str, Any]]] = {variant: [] for variant in variants}
    for number in range(rounds):
        for variant in variants:
            command = [sys.executable, "-m", module, "--run", variant, *arguments]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
            results[variant].append(json.loads(done.stdout.splitlines()[-1]))
            print(f"round {number + 1}/{rounds}  {variant:24} {results[variant][-1]}", file=sys.stderr, flush=True)
    return results


def median_ratio(of: list[dict[str, Any]], to: list[dict[str, Any]], key: str) -> float:
    """The median over the rounds of how many times greater the first is."""
    return median(a[key] / max(b[key], 1e-9) for a, b in zip(of, to, strict=True))


def held_bytes() -> int:
    """The memory this process holds now."""
    import psutil

    return psutil.Process().memory_info().rss


def peak_bytes() -> int:
    """The most memory this process has ever held.

    On Linux from /proc: getrusage also counts what the parent held when it started this process.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def machine() -> str:
    """The machine in one line, for the results."""
    name = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as file:
            models = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
        name = models[0] if models else name
    return f"{name}, {len(os.sched_getaffinity(0))} cores, {platform.system()}, Python {platform.python_version()}"
