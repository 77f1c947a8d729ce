"""What a training runs on, where it is not told."""

from __future__ import annotations

from trainer.hardware import choose
from trainer.run import Training


def test_a_processor_trains_in_full_precision_unless_told() -> None:
    assert choose(Training(device="cpu")).precision == "f32"
    assert choose(Training(device="cpu", precision="bf16")).precision == "bf16"
