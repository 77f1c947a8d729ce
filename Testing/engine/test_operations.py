"""Prompting, refining and propagating in an engine of its own, from the request to what is accepted."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from SSLSegmentationLib.engine.calls import accept
from SSLSegmentationLib.engine.client import Client, RemoteSession, client_of
from SSLSegmentationLib.engine.launch import LocalEngine
from SSLSegmentationLib.engine.requests import PropagateRequest, RefineRequest
from SSLSegmentationLib.engine.session import Session
from SSLSegmentationLib.errors import Cancelled, InputError
from SSLSegmentationLib.plane import Plane, slice_plane
from SSLSegmentationLib.prompting.stack import slices_along
from SSLSegmentationLib.prompts import BoxPrompt, PointPrompt
from SSLSegmentationLib.proposal import Cropped, Proposal
from Testing.engine.bright_engine import Faked
from Testing.prompting.scenes import ellipsoid, everywhere, within_a_voxel

ROOT = Path(__file__).parents[2]
SEEN = (255.0, 127.5)
VOLUME, BRIGHT = ellipsoid()


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    local = LocalEngine(
        command=[sys.executable, str(ROOT / "Testing" / "engine" / "bright_engine.py")],
        environment={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        max_bytes=2**28,
    )
    local.start()
    with client_of(local) as client:
        yield client


def drawn(*slices: int) -> np.ndarray:
    """The bright ellipsoid on some slices, which lie aslant in space."""
    return BRIGHT & np.isin(slices_along(VOLUME, 0).numbers(everywhere(VOLUME)), slices)


def both(client: Client, **segments: np.ndarray) -> tuple[RemoteSession, Session]:
    """The same session in the engine and in this process."""
    remote, here = client.open(VOLUME), Session(VOLUME, Faked())
    for name, mask in segments.items():
        for session in (remote, here):
            session.put(name, Cropped.of(mask))
    return remote, here


def same(one: Proposal, other: Proposal) -> bool:
    arrays = ((one.mask, other.mask), (one.before, other.before))
    return (one.box, one.segment) == (other.box, other.segment) and all(np.array_equal(a, b) for a, b in arrays)


def test_prompting_with_model_window_and_lock(client: Client) -> None:
    lock = np.zeros_like(BRIGHT)
    lock[..., :45] = True
    remote, here = both(client, a=drawn(), lock=lock & ~BRIGHT, neighbour=drawn(14))
    ras = tuple(VOLUME.to_ras(np.array([45.0, 45.0, 16.0])))
    corner, edges = tuple(VOLUME.to_ras(np.array([5.0, 5.0, 12.0]))), VOLUME.ijk_to_ras[:3, :3] * (80, 80, 5)
    prompts = [PointPrompt(ras, plane=slice_plane(VOLUME, 0, 16)), BoxPrompt(corner, tuple(map(tuple, edges.T)))]
    more = {"model": "bright", "window": SEEN, "locked": "lock"}
    found = remote.prompt(prompts, "a", **more)
    assert same(found, here.prompt(prompts, "a", **more))
    assert found.score == pytest.approx(0.9)
    remote.accept(found)
    assert not remote.segments["a"].within(everywhere(VOLUME))[14].any()  # the neighbour keeps its voxels
    free = remote.prompt(prompts, "a", **more, keep_others=False)
    assert (free.accepted_into(remote.segments["a"]).within(everywhere(VOLUME))[14] == BRIGHT[14]).all()


def test_refining_reports_each_part_and_streams_slices(client: Client) -> None:
    remote, here = both(client, a=np.roll(drawn(*range(10, 21)), 3, axis=2), b=drawn(25))
    request = RefineRequest("bright", ("b", "a"), window=SEEN)
    seen: list[Proposal] = []
    found, wanted = remote.refine(request, partial=seen.append), here.refine(request)
    assert list(found.segments) == ["b", "a"]
    assert all(same(found.segments[name], wanted.segments[name]) for name in "ab")
    assert found.parts == wanted.parts
    assert {part.slice for part in found.parts if part.accepted} >= set(range(10, 21))
    assert all(part.segment in "ab" for part in seen)  # as many as were fetched before the whole was there
    remote.accept(found)
    assert (remote.segments["a"].within(everywhere(VOLUME))[15] == BRIGHT[15]).all()


def test_propagating_says_where_it_ended_and_is_accepted_in_the_engine_too(client: Client) -> None:
    remote, here = both(client, a=drawn(15))
    request = PropagateRequest(("a",), plane=slice_plane(VOLUME, 0, 15), model="bright", window=SEEN)
    job = remote.start(request)
    found, wanted = job.result(), here.propagate(request)
    assert same(found.segments["a"], wanted.segments["a"])
    assert found.ends == wanted.ends
    assert {end.reason for end in found.ends} == {"ended"}
    client.ask(accept(job.state.id))
    remote.segments.clear()  # what follows is what the engine knows
    again = remote.propagate(PropagateRequest(("a",), (15,), model="bright", window=SEEN))
    assert again.segments["a"].mask.size == 0
    here.accept(wanted)
    assert within_a_voxel(here.segments["a"].within(everywhere(VOLUME)), BRIGHT)


@pytest.mark.parametrize("turned", [False, True], ids=["plane", "plane seen from behind"])
@pytest.mark.parametrize("straight", [True, False])
def test_up_is_along_the_normal_of_the_plane(client: Client, straight: bool, turned: bool) -> None:
    remote, here = both(client, a=drawn(15))
    plane = slice_plane(VOLUME, 0, 15)
    if turned:
        plane = Plane(plane.pixel_to_ras[:, [1, 0, 2, 3]] * (1, 1, -1, 1), plane.shape[::-1])
    if not straight:
        tilt = np.eye(4)
        tilt[:3, :3] = Rotation.from_rotvec(0.02 * plane.pixel_to_ras[:3, 0]).as_matrix()
        middle = VOLUME.to_ras((np.array(VOLUME.shape[::-1]) - 1) / 2)
        tilt[:3, 3] = middle - tilt[:3, :3] @ middle
        plane = Plane(tilt @ plane.pixel_to_ras, plane.shape)
    along = {}
    for direction in ("up", "down"):
        request = PropagateRequest(("a",), plane=plane, model="bright", window=SEEN, direction=direction)
        found = remote.propagate(request).segments["a"]
        assert same(found, here.propagate(request).segments["a"])
        k, j, i = np.nonzero(found.added)
        start = [side.start for side in found.box]
        places = VOLUME.to_ras(np.stack([i + start[2], j + start[1], k + start[0]], axis=-1).astype(float))
        along[direction] = float(((places - plane.pixel_to_ras[:3, 3]) @ plane.normal).mean())
    assert along["down"] < 0 < along["up"]


def test_what_the_tick_raises_ends_it_and_nothing_has_changed(client: Client) -> None:
    remote, _ = both(client, a=drawn(15))
    before = dict(remote.segments)

    def stop(stage: str, part: float) -> None:
        if stage == "Following":
            raise Cancelled

    request = PropagateRequest(("a",), (15,), model="bright", window=SEEN)
    with pytest.raises(Cancelled):
        remote.propagate(request, stop)
    assert remote.segments == before
    assert remote.propagate(request).segments["a"].added.any()


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        (PropagateRequest(("b",), (15,)), 'There is no segment "b": choose one of these: a'),
        (PropagateRequest(("a",), (99,)), "There is no slice 99: choose from 0 to 29"),
        (PropagateRequest(("a",), (3,)), '"a" is not drawn on slice 3'),
        (RefineRequest("bright", ("a",), locked="lock"), 'There is no segment "lock"'),
    ],
)
def test_what_cannot_be_done_is_told_in_the_same_sentence(
    client: Client, request_: RefineRequest | PropagateRequest, sentence: str
) -> None:
    remote, _ = both(client, a=drawn(15))
    with pytest.raises(InputError, match=sentence):
        remote.start(request_).result()
