from __future__ import annotations

import logging

import pytest
import torch

from trainer.parts.collapse import CollapseGuard, spread


def test_the_spread_is_one_for_vectors_everywhere_and_zero_for_one_direction() -> None:
    vectors = torch.randn(2000, 32, generator=torch.Generator().manual_seed(0))
    assert spread(vectors).item() == pytest.approx(1.0, abs=0.02)
    assert spread(torch.ones(10, 1) * vectors[:1] * torch.rand(10, 1)).item() == pytest.approx(0.0, abs=1e-4)
    assert spread(vectors[:1]).item() == 1.0
    assert not spread(vectors.requires_grad_()).requires_grad


def test_the_guard_tells_once_and_not_before_a_tenth_of_the_training(caplog: pytest.LogCaptureFixture) -> None:
    guard = CollapseGuard(1000)
    with caplog.at_level(logging.WARNING):
        guard.look({"features": torch.tensor(0.1)}, 50)
        guard.look({"features": torch.tensor(0.9)}, 100)
        guard.look({"features": torch.tensor(0.1)}, 120)  # between two looks
        assert not caplog.records
        guard.look({"global_features": torch.tensor(0.9), "pixel_features": torch.tensor(0.1)}, 150)
        guard.look({"pixel_features": torch.tensor(0.1)}, 200)
    assert len(caplog.records) == 1
    assert "the pixel features spread over 0.10" in caplog.records[0].getMessage()
