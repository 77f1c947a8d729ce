"""The ladder: how a job gets by with less memory, one step after the other, and what is said about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.inference.predictors import Precision

Result = TypeVar("Result")

_OUT_OF_MEMORY = (
    "out of memory",  # CUDA, MPS
    "can't allocate memory",  # torch on a CPU, and its words on Windows
    "not enough memory",
    "bad_alloc",  # OpenVINO, and its words on Windows
    "bad allocation",
    "status_alloc_failed",  # cuDNN, cuBLAS
)


@dataclass(frozen=True)
class Plan:
    """How a job uses the machine."""

    device: str
    backend: str
    """"torch" or "openvino" (which runs on the CPU)."""
    precision: Precision
    at_once: int
    """Tiles in work at the same time."""
    keep_on: str
    """The device that holds the growing result."""
    patch: tuple[int, int, int]


def steps_down(plan: Plan, *, half: Precision, any_patch: bool) -> Iterator[tuple[Plan, str]]:
    """Ever more modest plans, each with the sentence that tells the user what was changed."""
    while plan.at_once > 1:
        plan = replace(plan, at_once=plan.at_once // 2)
        yield plan, f"{plan.at_once} tile{'s' if plan.at_once > 1 else ''} at a time"
    if plan.precision == "f32" and half != "f32":
        plan = replace(plan, precision=half)
        yield plan, f"half precision ({half})"
    if plan.keep_on != "cpu":
        plan = replace(plan, keep_on="cpu")
        yield plan, "the result kept in main memory"
    patch = plan.patch
    while any_patch and (smaller := _smaller(patch)) != patch:
        patch = smaller
        yield replace(plan, patch=patch), f"smaller tiles of {' × '.join(map(str, patch))} voxels"
    if plan.device != "cpu":
        plan = Plan("cpu", "torch", "f32", 1, "cpu", plan.patch)
        yield plan, "the CPU instead of the graphics card"
        if any_patch and (smaller := _smaller(plan.patch)) != plan.patch:
            yield replace(plan, patch=smaller), "the CPU with smaller tiles"


def with_less_memory(
    attempt: Callable[[Plan], Result],
    plan: Plan,
    *,
    half: Precision,
    any_patch: bool,
    fits: Callable[[Plan], bool] = lambda plan: True,
) -> tuple[Result, list[str]]:
    """The attempt's result with the first plan that fits and does not run out of memory, and the steps it took.

    `fits` compares need and room beforehand; a plan that does not fit is passed over, except the last one.
    """
    steps = iter(steps_down(plan, half=half, any_patch=any_patch))
    taken: list[str] = []
    upcoming = next(steps, None)
    while True:
        if upcoming is not None and not fits(plan):
            plan, said = upcoming
            taken.append(said)
            upcoming = next(steps, None)
            continue
        try:
            return attempt(plan), taken
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if upcoming is None:
                raise InputError(
                    f"There is not enough memory for this model ({', '.join(taken) or 'the smallest plan'} was tried): "
                    "close other programs, or crop the scan to the part of interest."
                ) from error
        release(plan.device)
        plan, said = upcoming
        taken.append(said)
        upcoming = next(steps, None)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch, OpenVINO or Python says that memory ran out."""
    import torch

    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return any(sign in text for sign in _OUT_OF_MEMORY)


def release(device: str) -> None:
    """Give back what a failed attempt left in caches."""
    import gc

    import torch

    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
    elif device == "mps":
        torch.mps.empty_cache()


def free_bytes(device: str) -> int:
    """Room on the device; for the CPU what this process may still take, also inside a container."""
    import psutil
    import torch

    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(device)[0])
    available = psutil.virtual_memory().available
    limit, used = (_container_bytes(name) for name in ("memory.max", "memory.current"))
    return min(available, limit - used) if limit is not None and used is not None else available


def _container_bytes(name: str) -> int | None:
    file = Path("/sys/fs/cgroup") / name
    text = file.read_text().strip() if file.is_file() else ""
    return int(text) if text.isdigit() else None


def _smaller(patch: tuple[int, int, int]) -> tuple[int, int, int]:
    """Sides of about two thirds, in multiples of 32 as networks that halve five times need them, and two of them at
    least, since a single voxel at the bottom cannot be normalised; shorter sides stay."""
    return tuple(max(64, int(side / 1.5) // 32 * 32) if side > 64 else side for side in patch)
