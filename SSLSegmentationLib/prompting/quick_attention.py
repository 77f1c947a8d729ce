"""Attention of long sequences in bf16 on a CPU, as two products of matrices.

PyTorch's own kernel for it takes as long in bf16 as in float32. The products alone run four times as fast in bf16 where
the processor has instructions for it, which makes a step of SAM 2's memory, mostly attention, take half as long.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_LONG = 2**18  # pairs of query and key; below, the rest costs more than the products
_ROWS = 256  # queries at a time, so that their weights stay in the cache


def quick_attention(device: str, precision: str) -> AbstractContextManager:
    """Inside it, networks that call PyTorch's attention use ours where that is faster."""
    if device != "cpu" or precision != "bf16":
        return nullcontext()
    import torch
    from torch.overrides import TorchFunctionMode

    theirs = torch.nn.functional.scaled_dot_product_attention

    class Quick(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            kwargs = kwargs or {}
            plain = len(args) == 3 and not any(kwargs.values())
            if func is theirs and plain and args[0].shape[-2] * args[1].shape[-2] >= _LONG:
                return in_products(*(one.bfloat16() for one in args)).to(args[0].dtype)
            return func(*args, **kwargs)

    return Quick()


def in_products(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """(batch, heads, queries, channels), as `scaled_dot_product_attention` gives it."""
    import torch

    batch, heads, _, channels = queries.shape
    queries = queries.flatten(0, 1) * channels**-0.5
    keys, values = keys.flatten(0, 1).transpose(1, 2), values.flatten(0, 1)
    found = [torch.bmm(torch.softmax(torch.bmm(rows, keys), -1), values) for rows in queries.split(_ROWS, 1)]
    return torch.cat(found, 1).unflatten(0, (batch, heads))
