"""Attention by products in bf16 gives what PyTorch's own gives, to the precision of bf16."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from SSLSegmentationLib.prompting import quick_attention as quick
from SSLSegmentationLib.prompting.quick_attention import in_products, quick_attention
from SSLSegmentationLib.prompting.sam2 import Sam2
from Testing.prompting.networks import small_sam2
from Testing.prompting.test_sam2 import COUNT, painted, stack


def some(queries: int, keys: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn((2, 3, n, 32), generator=generator) for n in (queries, keys, keys)]


def test_it_is_the_same_attention() -> None:
    three = some(700, 600)
    exact = scaled_dot_product_attention(*three)
    assert torch.allclose(in_products(*three), exact, atol=1e-5)
    half = in_products(*(one.bfloat16() for one in three)).float()
    assert (half - exact).norm() < 0.02 * exact.norm()


@pytest.mark.parametrize(
    ("device", "precision", "queries", "mask", "ours"),
    [
        ("cpu", "bf16", 700, None, True),
        ("cpu", "f32", 700, None, False),
        ("cuda", "bf16", 700, None, False),
        ("cpu", "bf16", 70, None, False),
        ("cpu", "bf16", 700, "causal", False),
    ],
)
def test_it_is_used_where_it_is_faster_and_means_the_same(
    monkeypatch: pytest.MonkeyPatch, device: str, precision: str, queries: int, mask: str | None, ours: bool
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(quick, "in_products", lambda q, k, v: asked.append(1) or in_products(q, k, v))
    three = some(queries, 600)
    with quick_attention(device, precision):
        found = torch.nn.functional.scaled_dot_product_attention(*three, dropout_p=0.0, is_causal=mask is not None)
    assert bool(asked) is ours
    assert found.dtype == torch.float32
    assert torch.allclose(found, scaled_dot_product_attention(*three, is_causal=mask is not None), atol=0.02)


def test_segments_followed_in_bf16_are_those_followed_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("SSLSegmentationLib.prompting.sam2_spread.best_precision", lambda device: "bf16")
    monkeypatch.setattr(quick, "_LONG", 16)
    network, pictures, known = small_sam2(), stack(), {6: {"a": painted(6)}}
    exact = Sam2(network, "exact", exact=True)
    half = Sam2(network, "half", exact=True)
    half._exact = False  # the encoder stays as it is: what is compared is the memory
    ways = [dict(model.spread(pictures.__getitem__, range(6, COUNT), known)) for model in (exact, half)]
    for n in range(6, COUNT):
        one, other = (way[n]["a"].logits for way in ways)
        assert np.linalg.norm(one - other) < 0.1 * np.linalg.norm(one), n
