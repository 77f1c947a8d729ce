"""What fine-tuning adds to supervised training."""

from __future__ import annotations

from Testing.trainer.methods.tiny import tiny_method
from trainer.presets import load


def test_fine_tuning_slows_the_encoder_at_first() -> None:
    """The encoder is what a pre-training has taught; the rest, here the decoder and the classifier, is new."""
    method = tiny_method("supervised", encoder_rate=0.1, encoder_until=0.1)
    slow, usual = method.parameter_groups()
    assert (slow["rate"], slow["until"]) == (0.1, 0.1)
    names = {id(value): name for name, value in method.backbone.network.named_parameters()}
    parts = [{names[id(value)].split(".")[0] for value in group["params"]} for group in (slow, usual)]
    assert parts == [{"blocks", "downs"}, {"decoder", "classifier"}]
    assert len(tiny_method("supervised").parameter_groups()) == 1
    assert load("supervised", "finetune")[0].encoder_rate == 0.1
