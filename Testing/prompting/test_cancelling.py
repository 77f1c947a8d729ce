"""Cancelling at any step of encoding, answering, refining and propagating leaves everything as it was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from SSLSegmentationLib.engine.requests import PromptRequest, PropagateRequest, RefineRequest, Request
from SSLSegmentationLib.engine.session import Models, Session
from SSLSegmentationLib.errors import Cancelled
from SSLSegmentationLib.prompting.sam import Sam
from SSLSegmentationLib.prompting.sam2 import Sam2
from SSLSegmentationLib.prompts import BoxPrompt
from SSLSegmentationLib.proposal import Cropped
from SSLSegmentationLib.volume import Volume
from Testing.prompting.networks import small_sam, small_sam2

SEEN = (255.0, 127.5)


class Networks(Models):
    """Small networks with random weights, each made once."""

    def __init__(self) -> None:
        super().__init__(lambda: [])
        self.made = {"sam": Sam(small_sam(), "sam", exact=True), "sam2": Sam2(small_sam2(), "sam2", exact=True)}

    def promptable(self, model: str) -> Any:
        return self.made[model]


MODELS = Networks()


def opened() -> Session:
    rng = np.random.default_rng(3)
    k, j, i = np.ogrid[:9, :48, :48]
    ball = ((k - 4) / 4) ** 2 + ((j - 24) / 14) ** 2 + ((i - 22) / 14) ** 2 <= 1
    session = Session(Volume((rng.integers(0, 80, ball.shape) + 140 * ball).astype(np.uint8)), MODELS)
    session.put("drawn", Cropped.of(ball & (k == 4)))
    session.put("coarse", Cropped.of(ball))
    MODELS.embeddings.forget()
    MODELS.made["sam2"].forget()
    return session


BOXES = tuple(BoxPrompt((10.0 + n, 10.0, 3.9), ((24.0, 0, 0), (0, 24.0, 0), (0, 0, 0.2))) for n in range(3))
REQUESTS = {
    "prompt with SAM": PromptRequest(tuple(BOXES), "new", "sam", SEEN),
    "prompt with SAM 2": PromptRequest(tuple(BOXES), "new", "sam2", SEEN),
    "refine": RefineRequest("sam", ("coarse",), window=SEEN, keep_others=False),
    "propagate with SAM 2": PropagateRequest(("drawn",), (4,), "sam2", window=SEEN, keep_others=False),
    "propagate from slice to slice": PropagateRequest(("drawn",), (4,), "sam", window=SEEN, keep_others=False),
    "propagate by grey values": PropagateRequest(("drawn",), (4,), window=SEEN, keep_others=False),
}


def stopping_at(count: int) -> Callable[[str, float], None]:
    """A Tick that raises when it is called for the count-th time."""
    calls = iter(range(count))

    def tick(stage: str, part: float) -> None:
        if next(calls, None) is None:
            raise Cancelled

    return tick


def state(session: Session) -> tuple[Any, ...]:
    kept = MODELS.embeddings._kept
    parts = [layer for made in MODELS.made.values() for layer in made._network.modules()]
    return (
        dict(session.segments),
        dict(session.last),
        kept.bytes == sum(size for _, size in kept._kept.values()),
        sum(len(layer._forward_pre_hooks) for layer in parts),
    )


@pytest.mark.parametrize("name", REQUESTS)
def test_whatever_is_being_done_can_be_left_at_any_step(name: str) -> None:
    request: Request = REQUESTS[name]
    session = opened()
    stages: Counter[str] = Counter()
    wanted = session.run(request, lambda stage, part: stages.update([stage]))
    steps = sum(stages.values())
    assert steps >= 5
    # Every step of a short operation, and some of a long one, its last ones among them.
    for count in sorted({*range(0, steps, max(1, steps // 12)), steps - 2, steps - 1}):
        session = opened()
        before = state(session)
        with pytest.raises(Cancelled):
            session.run(request, stopping_at(count))
        assert state(session) == before
    again = session.run(request)  # with whatever an early end has left in the caches
    for one, other in zip(proposals(again), proposals(wanted), strict=True):
        assert one.box == other.box
        np.testing.assert_array_equal(one.mask, other.mask)


def proposals(result: Any) -> list[Any]:
    return list(getattr(result, "segments", {"": result}).values())


def test_every_set_of_prompts_is_a_step_of_its_own() -> None:
    """A thousand boxes on one slice are answered for half a minute on a CPU."""
    session = opened()
    session.run(REQUESTS["prompt with SAM"])
    few, many = Counter(), Counter()
    for count, seen in ((1, few), (3, many)):
        request = PromptRequest(BOXES[:count], "new", "sam", SEEN)
        session.run(request, lambda stage, part, seen=seen: seen.update([stage]))
    assert sum(many.values()) == sum(few.values()) + 2


def test_the_end_of_propagating_is_cut_into_steps_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    from SSLSegmentationLib.prompting import assemble

    monkeypatch.setattr(assemble, "_AT_ONCE", 500)
    stages: Counter[str] = Counter()
    opened().run(REQUESTS["propagate by grey values"], lambda stage, part: stages.update([stage]))
    assert stages["Joining"] > 10
