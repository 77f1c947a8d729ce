"""What a training runs on, where it is not told."""

from __future__ import annotations

import pytest

from trainer import hardware
from trainer.hardware import choose
from trainer.run import Training


@pytest.mark.parametrize("fastest", ["f32", "bf16"])
def test_a_processor_trains_in_half_precision_where_it_has_instructions_for_it(
    monkeypatch: pytest.MonkeyPatch, fastest: str
) -> None:
    monkeypatch.setattr(hardware, "best_precision", lambda device: fastest)
    assert choose(Training(device="cpu")).precision == fastest


def test_a_precision_that_is_asked_for_is_taken() -> None:
    for precision in ("f32", "bf16"):
        assert choose(Training(device="cpu", precision=precision)).precision == precision
