"""Parts of the module that can be looked at alone: errands, what is shown while a job runs."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from SSLSegmentationLib.errors import Cancelled
from SSLSegmentationLib.proposal import Cropped, Proposal
from Testing.slicer.module.bench import Bench

SHAPE = (6, 7, 8)


def proposal(seed: int, box: tuple[slice, slice, slice]) -> Proposal:
    rng = np.random.default_rng(seed)
    shape = tuple(side.stop - side.start for side in box)
    return Proposal(box, rng.random(shape) > 0.5, rng.random(shape) > 0.5, score=0.5, segment="x")


def sides() -> st.SearchStrategy[tuple[slice, slice, slice]]:
    def side(n: int) -> st.SearchStrategy[slice]:
        ends = st.tuples(st.integers(0, n), st.integers(0, n)).filter(lambda ends: ends[0] != ends[1])
        return ends.map(lambda ends: slice(min(ends), max(ends)))

    return st.tuples(*(side(n) for n in SHAPE))


@pytest.fixture(scope="module", autouse=True)
def parts(loaded_module: Any) -> None:
    """The module's folder is on the path."""


@settings(deadline=None, max_examples=40)
@given(first=sides(), second=sides())
def test_glimpses_are_put_together(first: Any, second: Any) -> None:
    from SSLSegmentationUI.Glimpses import together

    a, b = proposal(1, first), proposal(2, second)
    both = together(a, b)
    whole = tuple(slice(0, n) for n in SHAPE)
    for name in ("mask", "before"):
        expected = Cropped(a.box, getattr(a, name)).within(whole)
        expected[b.box] = getattr(b, name)
        assert (Cropped(both.box, getattr(both, name)).within(whole) == expected).all()


class Later:
    """Something to wait for, that a test answers."""

    def __init__(self) -> None:
        self.given_up = False

    def __call__(self, done: Callable[[Any], None], failed: Callable[[Exception], None]) -> Callable[[], None]:
        self.done, self.failed = done, failed

        def give_up() -> None:
            self.given_up = True

        return give_up


def test_an_errand_waits_and_goes_on(bench: Bench) -> None:
    from SSLSegmentationUI.Errand import Errand

    later, heard = Later(), []

    def steps() -> Generator[Any, Any, int]:
        value = yield later
        yield
        return value + 1

    Errand(steps(), heard.append).start()
    bench.app.wait_until(lambda: hasattr(later, "done"))
    assert heard == []
    later.done(41)
    bench.app.wait_until(lambda: heard)
    later.done(7)  # a second answer is nobody's
    assert heard == [42]


def test_cancelling_an_errand_gives_up_what_it_waits_for_and_cleans_up(bench: Bench) -> None:
    from SSLSegmentationUI.Errand import Errand

    later, heard, cleaned = Later(), [], []

    def steps() -> Generator[Any, Any, None]:
        try:
            yield later
        finally:
            cleaned.append(True)

    errand = Errand(steps(), heard.append, heard.append).start()
    bench.app.wait_until(lambda: hasattr(later, "done"))
    errand.cancel()
    assert later.given_up
    assert cleaned
    assert [type(one) for one in heard] == [Cancelled]
    later.done(1)
    errand.cancel()
    assert len(heard) == 1


def test_an_errand_can_be_cancelled_from_within_a_step(bench: Bench) -> None:
    from SSLSegmentationUI.Errand import Errand

    heard: list[Any] = []

    def steps() -> Generator[Any, Any, None]:
        yield
        errand.cancel()
        yield
        heard.append("went on")

    errand = Errand(steps(), heard.append, heard.append).start()
    bench.app.wait_until(lambda: heard)
    assert [type(one) for one in heard] == [Cancelled]


def test_an_error_of_a_step_reaches_whoever_asked(bench: Bench) -> None:
    from SSLSegmentationUI.Errand import Errand

    heard: list[Any] = []

    def steps() -> Generator[Any, Any, None]:
        yield
        raise ValueError("so it is")

    Errand(steps(), heard.append, heard.append).start()
    bench.app.wait_until(lambda: heard)
    assert [str(one) for one in heard] == ["so it is"]


def test_the_window_lives_while_an_errand_works(bench: Bench) -> None:
    """A long errand takes many turns of the event loop."""
    import qt
    from SSLSegmentationUI.Errand import Errand

    beats, done = [], []
    timer = qt.QTimer()
    timer.connect("timeout()", lambda: beats.append(len(done)))
    timer.start(0)

    def steps() -> Generator[Any, Any, bool]:
        for _ in range(400):
            np.sort(np.random.default_rng(0).random(200_000))
            yield
        return True

    Errand(steps(), done.append).start()
    bench.app.wait_until(lambda: done, 60)
    timer.stop()
    assert sum(1 for beat in beats if beat == 0) >= 5
