from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from SSLSegmentationLib.errors import Cancelled, InputError
from SSLSegmentationLib.inference.memory import Plan, free_bytes, is_out_of_memory, steps_down, with_less_memory

GPU = Plan("cuda", "torch", "f32", 4, "cuda", (128, 128, 96))
LAPTOP = Plan("cpu", "openvino", "f32", 2, "cpu", (96, 96, 96))


def cost(plan: Plan) -> int:
    """What an imaginary allocator takes for a plan."""
    tile = int(np.prod(plan.patch)) * {"f32": 4, "bf16": 2, "f16": 2}[plan.precision]
    return plan.at_once * tile + (1_000_000 if plan.keep_on == plan.device else 0)


def allocator(budget: int, tried: list[Plan]) -> Callable[[Plan], str]:
    """Fails, as torch does, where a plan costs more than the budget of its device (the CPU has four times as much)."""

    def attempt(plan: Plan) -> str:
        tried.append(plan)
        if cost(plan) > budget * (4 if plan.device == "cpu" else 1):
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return f"done on {plan.device}"

    return attempt


@pytest.fixture(autouse=True)
def no_cuda_to_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)


def test_the_first_plan_is_taken_where_there_is_room():
    tried: list[Plan] = []
    result = with_less_memory(allocator(10**9, tried), GPU, half="bf16", any_patch=True)
    assert result == ("done on cuda", [])
    assert tried == [GPU]


def test_the_rungs_are_gone_down_in_order_and_each_is_said_in_words():
    tried: list[Plan] = []
    budget = cost(replace(GPU, at_once=1, precision="bf16", keep_on="cpu", patch=(64, 64, 64)))
    result, said = with_less_memory(allocator(budget, tried), GPU, half="bf16", any_patch=True)
    assert result == "done on cuda"
    assert said == [
        "2 tiles at a time",
        "1 tile at a time",
        "half precision (bf16)",
        "the result kept in main memory",
        "smaller tiles of 64 × 64 × 64 voxels",
    ]
    assert tried == [
        GPU,
        replace(GPU, at_once=2),
        replace(GPU, at_once=1),
        replace(GPU, at_once=1, precision="bf16"),
        replace(GPU, at_once=1, precision="bf16", keep_on="cpu"),
        replace(GPU, at_once=1, precision="bf16", keep_on="cpu", patch=(64, 64, 64)),
    ]


def test_the_cpu_is_the_last_resort_of_a_graphics_card():
    tried: list[Plan] = []
    result, said = with_less_memory(allocator(3_000_000, tried), GPU, half="bf16", any_patch=False)
    assert result == "done on cpu"
    assert said[-1] == "the CPU instead of the graphics card"
    assert tried[-1] == Plan("cpu", "torch", "f32", 1, "cpu", GPU.patch)


@pytest.mark.parametrize("plan", [GPU, LAPTOP])
def test_where_nothing_is_left_one_sentence_says_what_was_tried(plan: Plan):
    tried: list[Plan] = []
    with pytest.raises(InputError, match=r"not enough memory .*1 tile at a time.* close other programs") as caught:
        with_less_memory(allocator(1000, tried), plan, half="bf16", any_patch=True)
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert len(tried) == len(set(tried)) == 1 + len(list(steps_down(plan, half="bf16", any_patch=True)))


@pytest.mark.parametrize("fault", [RuntimeError("shape mismatch"), ValueError("no"), Cancelled(), KeyboardInterrupt()])
def test_other_errors_are_not_taken_for_a_lack_of_memory(fault: BaseException):
    tried: list[Plan] = []

    def attempt(plan: Plan) -> None:
        tried.append(plan)
        raise fault

    with pytest.raises(type(fault)):
        with_less_memory(attempt, LAPTOP, half="bf16", any_patch=True)
    assert tried == [LAPTOP]


def test_plans_that_cannot_fit_are_passed_over_except_the_last():
    tried: list[Plan] = []
    attempt = allocator(10**9, tried)
    _, said = with_less_memory(attempt, GPU, half="bf16", any_patch=True, fits=lambda plan: plan.at_once == 1)
    assert said == ["2 tiles at a time", "1 tile at a time"]
    assert [plan.at_once for plan in tried] == [1]
    tried.clear()
    with_less_memory(attempt, GPU, half="bf16", any_patch=False, fits=lambda plan: False)
    assert [plan.device for plan in tried] == ["cpu"]


def test_a_network_of_a_fixed_size_keeps_its_tiles():
    for plan in (GPU, LAPTOP):
        assert all(smaller.patch == plan.patch for smaller, _ in steps_down(plan, half="bf16", any_patch=False))


@pytest.mark.parametrize("patch", [(96, 96, 96), (160, 160, 64), (128, 128, 32), (48, 48, 48), (224, 224, 16)])
def test_smaller_tiles_still_fit_a_network_that_halves_five_times(patch: tuple[int, int, int]):
    """Sides are multiples of 32, and none becomes 32: that would leave a single voxel, which cannot be normalised."""
    for smaller, _ in steps_down(replace(LAPTOP, patch=patch), half="bf16", any_patch=True):
        for now, then in zip(smaller.patch, patch, strict=True):
            assert now == then or (64 <= now < then and now % 32 == 0)


@pytest.mark.parametrize(
    "message",
    [
        "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 139.72 GiB",
        "CUDA error: out of memory",
        "MPS backend out of memory (MPS allocated: 8.00 GiB, other allocations: 1.00 GiB, max allowed: 9.07 GiB).",
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to "
        "allocate 140737488355328 bytes. Error code 12 (Cannot allocate memory)",
        "[enforce fail at alloc_cpu.cpp:116] data. DefaultCPUAllocator: not enough memory: you tried to allocate 8 B.",
        "Exception from src/core/src/runtime/allocator.cpp:79:\nstd::bad_alloc\n",
        "Exception from src/core/src/runtime/allocator.cpp:79:\nbad allocation\n",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    ],
)
def test_the_words_of_each_library_for_a_lack_of_memory_are_known(message: str):
    assert is_out_of_memory(RuntimeError(message))


def test_memory_that_cannot_be_had_is_seen_as_such():
    with pytest.raises(RuntimeError) as of_torch:
        torch.empty(2**45)
    with pytest.raises(MemoryError) as of_numpy:
        np.empty(2**45)
    assert is_out_of_memory(of_torch.value)
    assert is_out_of_memory(of_numpy.value)
    assert is_out_of_memory(torch.OutOfMemoryError())


@pytest.mark.parametrize("error", [RuntimeError("shapes cannot be multiplied"), ValueError(), KeyError("x")])
def test_other_errors_are_known_as_such(error: Exception):
    assert not is_out_of_memory(error)


def test_room_on_the_cpu_is_more_than_nothing():
    assert free_bytes("cpu") > 0
