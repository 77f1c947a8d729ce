"""Jobs: order, progress, cancelling from any state, and sessions that stay as they were."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest

from SSLSegmentationLib.engine.jobs import Job, Worker
from SSLSegmentationLib.engine.results import Result
from SSLSegmentationLib.errors import Cancelled, InputError
from SSLSegmentationLib.progress import Tick
from Testing.engine.engines import LONG, Gate, scan_with_ball, some_proposal


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    assert worker.close(LONG)


def job(work: Callable[[Tick], Any], **options: Any) -> Job:
    """A job around a plain function."""

    def steps(tick: Tick) -> Generator[Result, None, Result]:
        yield from ()
        return work(tick)

    return Job("test", steps, **options)


def gated(gate: Gate, **options: Any) -> Job:
    from SSLSegmentationLib.engine.session import Session

    session = Session(scan_with_ball())
    return job(lambda tick: gate(session, None, tick), **options)


def test_jobs_run_in_order_on_one_thread(worker: Worker) -> None:
    threads: list[int] = []
    jobs = [worker.submit(job(lambda tick: threads.append(threading.get_ident()))) for _ in range(5)]
    assert all(one.wait(LONG) and one.state == "done" for one in jobs)
    assert len(threads) == 5
    assert len(set(threads)) == 1
    assert threading.get_ident() not in threads


def test_prompts_overtake_jobs_that_wait(worker: Worker) -> None:
    gate, order = Gate(), []
    blocking = worker.submit(gated(gate, urgent=True))  # an urgent one does not yield, so that the queue fills
    assert gate.begun.wait(LONG)
    late = [worker.submit(job(lambda tick, n=n: order.append(n))) for n in "ab"]
    prompt = worker.submit(job(lambda tick: order.append("prompt"), urgent=True))
    gate.finish.set()
    assert all(one.wait(LONG) for one in (blocking, prompt, *late))
    assert order == ["prompt", "a", "b"]


def test_a_long_job_pauses_for_prompts(worker: Worker) -> None:
    gate = Gate()
    long = worker.submit(gated(gate))
    assert gate.begun.wait(LONG)
    prompts = [worker.submit(job(lambda tick: tick("Growing", 1.0), urgent=True)) for _ in range(3)]
    assert all(prompt.wait(LONG) and prompt.state == "done" for prompt in prompts)
    assert long.state == "running"
    gate.finish.set()
    assert long.wait(LONG)
    assert long.state == "done"


def test_a_prompt_that_fails_does_not_disturb_the_job_it_interrupted(worker: Worker) -> None:
    gate = Gate()
    long = worker.submit(gated(gate))
    assert gate.begun.wait(LONG)

    def fail(tick: Tick) -> None:
        raise InputError("The click lies outside: click inside.")

    prompt = worker.submit(job(fail, urgent=True))
    assert prompt.wait(LONG)
    gate.finish.set()
    assert long.wait(LONG)
    assert (prompt.state, long.state) == ("failed", "done")


def test_sessions_take_turns(worker: Worker) -> None:
    gate, order = Gate(), []
    blocking = worker.submit(gated(gate, urgent=True))
    assert gate.begun.wait(LONG)
    greedy = [worker.submit(job(lambda tick: order.append("greedy"), session="greedy")) for _ in range(4)]
    modest = worker.submit(job(lambda tick: order.append("modest"), session="modest"))
    gate.finish.set()
    assert all(one.wait(LONG) for one in (blocking, modest, *greedy))
    assert order == ["greedy", "modest", "greedy", "greedy", "greedy"]


def test_a_running_job_is_cancelled_at_once_and_lets_go_of_the_device(worker: Worker) -> None:
    gate, kept = Gate(), []
    running = worker.submit(gated(gate, keep=kept.append))
    assert gate.begun.wait(LONG)
    assert running.cancel()
    assert running.state == "cancelled"
    assert gate.left.wait(LONG)
    assert worker.submit(job(lambda tick: None)).wait(LONG)
    assert kept == []


def test_a_waiting_job_is_cancelled_without_ever_running(worker: Worker) -> None:
    gate, ran = Gate(), []
    blocking = worker.submit(gated(gate))
    assert gate.begun.wait(LONG)
    waiting = worker.submit(job(lambda tick: ran.append(1)))
    assert waiting.cancel()
    gate.finish.set()
    assert blocking.wait(LONG)
    assert worker.submit(job(lambda tick: None)).wait(LONG)
    assert (waiting.state, ran) == ("cancelled", [])


@pytest.mark.parametrize("state", ["done", "failed", "cancelled"])
def test_a_job_that_has_ended_stays_as_it_is(worker: Worker, state: str) -> None:
    def work(tick: Tick) -> None:
        if state == "failed":
            raise InputError("No: do otherwise.")
        if state == "cancelled":
            raise Cancelled

    ended = worker.submit(job(work))
    assert ended.wait(LONG)
    assert not ended.cancel()
    assert ended.state == state


def test_a_result_that_comes_after_the_cancelling_is_dropped(worker: Worker) -> None:
    """A tile may take long: the user is free at once, the device when the tile is done."""
    begun, go, kept = threading.Event(), threading.Event(), []

    def deaf(tick: Tick) -> str:
        begun.set()
        assert go.wait(LONG)
        return "late"

    late = worker.submit(job(deaf, keep=kept.append))
    assert begun.wait(LONG)
    late.cancel()
    assert late.wait(0)
    go.set()
    assert worker.submit(job(lambda tick: None)).wait(LONG)
    assert (late.state, late.result, kept) == ("cancelled", None, [])


def test_a_cancelled_generator_cleans_up_on_its_own_thread(worker: Worker) -> None:
    first, go, cleaned = threading.Event(), threading.Event(), []

    def steps(tick: Tick) -> Generator[Any, None, Any]:
        try:
            yield "first"
            first.set()
            assert go.wait(LONG)
            yield "second"
        finally:
            cleaned.append(threading.current_thread().name)

    streaming = worker.submit(Job("test", steps))
    assert first.wait(LONG)
    assert streaming.parts == {0: "first"}
    streaming.cancel()
    go.set()
    assert worker.submit(job(lambda tick: None)).wait(LONG)
    assert cleaned == ["device"]
    assert streaming.parts == {}


def test_what_the_user_gave_wrong_is_told_and_a_defect_is_logged(
    worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    def wrong(tick: Tick) -> None:
        raise InputError("The scan is flat: choose another.")

    def defect(tick: Tick) -> None:
        raise KeyError("secret path /home/somebody")

    def full(tick: Tick) -> None:
        raise MemoryError

    with caplog.at_level(logging.ERROR):
        jobs = [worker.submit(job(work)) for work in (wrong, defect, full)]
        assert all(one.wait(LONG) for one in jobs)
    told, hidden, memory = jobs
    assert (told.error, told.blame) == ("The scan is flat: choose another.", "input")
    assert hidden.blame == memory.blame == "engine"
    assert "KeyError" in hidden.error
    assert "secret" not in hidden.error
    assert "memory" in memory.error
    assert "secret path" in caplog.text
    assert worker.submit(job(lambda tick: None)).wait(LONG)  # the thread has survived all of it


def test_watchers_hear_every_change_until_they_leave(worker: Worker) -> None:
    seen: list[tuple[str, float]] = []
    watched = job(lambda tick: [tick("Step", part) for part in (0.25, 0.75)])
    stop = watched.watch(lambda: seen.append((watched.state, watched.part)))
    worker.submit(watched)
    assert watched.wait(LONG)
    assert worker.submit(job(lambda tick: None)).wait(LONG)
    stop()
    assert seen == [("running", 0.0), ("running", 0.25), ("running", 0.75), ("done", 0.75)]


def test_a_result_is_kept_once_it_is_whole(worker: Worker) -> None:
    kept: list[Any] = []
    done = worker.submit(job(lambda tick: "result", keep=kept.append))
    assert done.wait(LONG)
    assert kept == [done.result] == ["result"]


def test_a_job_knows_how_long_it_ran_when_its_end_is_told(worker: Worker) -> None:
    told: list[float] = []
    timed = job(lambda tick: tick("Step", 0.5))
    assert timed.seconds == 0
    timed.watch(lambda: told.append(timed.seconds) if timed.ended else None)
    worker.submit(timed)
    assert timed.wait(LONG)
    assert worker.submit(job(lambda tick: None)).wait(LONG)
    assert told == [timed.seconds]
    assert timed.seconds > 0


def test_an_ended_job_holds_nothing_but_its_result(worker: Worker) -> None:
    class Scan:
        pass

    scan = Scan()
    alive = weakref.ref(scan)
    ended = worker.submit(job(lambda tick, scan=scan: None))
    assert ended.wait(LONG)
    del scan
    assert worker.submit(job(lambda tick: None)).wait(LONG)
    gc.collect()
    assert alive() is None


def test_closing_cancels_what_waits_and_refuses_what_comes() -> None:
    worker, gate = Worker(), Gate()
    running = worker.submit(gated(gate))
    assert gate.begun.wait(LONG)
    waiting = worker.submit(job(lambda tick: None))
    running.cancel()
    assert worker.close(LONG)
    assert waiting.state == "cancelled"
    with pytest.raises(InputError, match="stopping"):
        worker.submit(job(lambda tick: None))


def test_what_has_ended_is_counted(worker: Worker) -> None:
    for work in (lambda tick: None, lambda tick: None):
        assert worker.submit(job(work)).wait(LONG)
    assert worker.submit(job(lambda tick: some_proposal)).wait(LONG)
    assert worker.close(LONG)
    assert worker.finished == {("test", "done"): 3}
