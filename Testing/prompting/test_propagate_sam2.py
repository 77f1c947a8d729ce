"""Propagating with SAM 2's memory: with crop and stop rule switched off it is what the video predictor does."""

from __future__ import annotations

import numpy as np

from SSLSegmentationLib.prompting.propagate import propagate
from SSLSegmentationLib.prompting.stack import slices_along
from SSLSegmentationLib.prompting.stopping import NEVER
from SSLSegmentationLib.proposal import Cropped
from SSLSegmentationLib.volume import Volume
from Testing.prompting.scenes import WINDOW, finished
from Testing.prompting.test_sam2 import COUNT, model, painted, stack, stock

SEED = 6


def drawn() -> tuple[Volume, np.ndarray]:
    voxels = np.stack(stack())
    mask = np.zeros(voxels.shape, bool)
    mask[SEED] = painted(SEED)
    return Volume(voxels, np.diag([0.8, 0.8, 3.0, 1.0])), mask


def test_both_directions_equal_the_video_predictor_s(monkeypatch) -> None:
    volume, mask = drawn()
    theirs: dict[int, np.ndarray] = {}
    for reverse in (False, True):
        found = stock(monkeypatch, stack(), {SEED: {"a": painted(SEED)}}, SEED, reverse=reverse)
        theirs.update({n: logits["a"] for n, logits in found.items() if n != SEED})
    steps = propagate(
        slices_along(volume, 0), {"a": Cropped.of(mask)}, [SEED], model(), window=WINDOW, rule=NEVER, crop=False
    )
    partial, result = finished(steps)
    ours = np.zeros(volume.shape, bool)
    for proposal in partial:
        ours[proposal.box] |= proposal.mask
    assert sorted(result.slices["a"]) == [n for n in range(COUNT) if n != SEED]
    set_somewhere = 0
    for n, logits in theirs.items():
        clear = np.abs(np.squeeze(logits)) > 1e-3  # a hair's breadth from nothing, rounding may decide
        assert (ours[n] == (np.squeeze(logits) > 0))[clear].all(), n
        set_somewhere += int(ours[n].any())
    assert set_somewhere > COUNT / 2


def test_each_picture_is_encoded_once_for_both_directions_and_what_is_drawn_stays() -> None:
    volume, mask = drawn()
    spreader = model()
    segment = Cropped.of(mask)
    _, result = finished(
        propagate(slices_along(volume, 0), {"a": segment}, [SEED], spreader, window=WINDOW, rule=NEVER, crop=False)
    )
    assert spreader._frames.encoded == COUNT
    whole = result.proposals["a"].accepted_into(segment).within(tuple(slice(0, n) for n in volume.shape))
    assert (whole[SEED] == mask[SEED]).all()
