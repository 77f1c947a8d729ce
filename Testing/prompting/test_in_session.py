"""Prompts, refining and propagating as operations of a session."""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakSet

import numpy as np
import pytest

from SSLSegmentationLib.engine.requests import PromptRequest, PropagateRequest, RefineRequest
from SSLSegmentationLib.engine.session import Session
from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.plane import slice_plane
from SSLSegmentationLib.progress import Tick, silent
from SSLSegmentationLib.prompting.embeddings import Embeddings
from SSLSegmentationLib.prompting.protocol import Answer, PixelPrompts
from SSLSegmentationLib.prompting.stack import slices_along
from SSLSegmentationLib.prompts import PointPrompt
from SSLSegmentationLib.proposal import Cropped, Proposal
from SSLSegmentationLib.volume import Volume
from Testing.engine.bright_engine import Faked
from Testing.prompting.fake import Bright
from Testing.prompting.scenes import ellipsoid, everywhere, within_a_voxel

SEEN = (255.0, 127.5)


def opened(*slices: int) -> tuple[Session, np.ndarray]:
    volume, bright = ellipsoid()
    session = Session(volume, Faked())
    own = slices_along(volume, 0).numbers(everywhere(volume))
    session.put("a", Cropped.of(bright & np.isin(own, slices)))
    return session, bright


def whole(session: Session, name: str = "a") -> np.ndarray:
    return session.segments[name].within(everywhere(session.volume))


def test_a_click_is_answered_by_the_model_and_its_slice_encoded_once() -> None:
    session, bright = opened(15)
    ras = tuple(session.volume.to_ras(np.array([45.0, 45.0, 16.0])))
    request = PromptRequest((PointPrompt(ras),), "a", model="bright", window=SEEN)
    proposal = session.run(request)
    session.run(request)
    assert session.models.model.encoded == 1
    assert session.models.embeddings.usage.hits == 1
    session.accept(proposal)
    assert (whole(session)[15:17] == bright[15:17]).all()


def test_propagating_streams_slices_and_ends_with_the_whole() -> None:
    session, bright = opened(15)
    request = PropagateRequest(("a",), (15,), model="bright", window=SEEN)
    slices: list[Proposal] = []
    result = session.propagate(request, partial=slices.append)
    box = result.segments["a"].box
    assert len(slices) == box[0].stop - box[0].start - 1
    assert [(end.step, end.reason) for end in result.ends] == [(-1, "ended"), (1, "ended")]
    session.accept(result)
    assert within_a_voxel(whole(session), bright)


def test_several_segments_are_followed_at_once_and_each_has_its_proposal() -> None:
    session, bright = opened(15)
    left, right = bright.copy(), bright.copy()
    left[..., 45:] = False
    right[..., :45] = False
    drawn = whole(session)
    session.put("a", Cropped.of(drawn & left))
    session.put("b", Cropped.of(drawn & right))
    result = session.propagate(PropagateRequest(("b", "a"), (15,), model="bright", window=SEEN))
    assert list(result.segments) == ["b", "a"]
    session.accept(result)
    assert not (whole(session, "a") & whole(session, "b")).any()
    assert within_a_voxel(whole(session, "a") | whole(session, "b"), bright)


def test_the_known_slice_may_be_given_as_the_plane_that_shows_it() -> None:
    session, bright = opened(15)
    session.accept(session.propagate(PropagateRequest(("a",), plane=slice_plane(session.volume, 0, 15), window=SEEN)))
    assert within_a_voxel(whole(session), bright)


def test_segments_are_refined_and_others_and_what_is_locked_left_alone() -> None:
    session, bright = opened(*range(10, 21))
    session.put("a", Cropped.of(np.roll(whole(session), 3, axis=2)))
    other, locked = np.zeros_like(bright), np.zeros_like(bright)
    other[12] = True
    locked[13] = True
    before = whole(session)
    session.put("other", Cropped.of(other & ~before))
    session.put("lock", Cropped.of(locked))
    result = session.refine(RefineRequest("bright", ("a",), window=SEEN, locked="lock"))
    assert [part.slice for part in result.parts] == list(range(10, 21))
    assert all(part.accepted and part.score == pytest.approx(0.9) for part in result.parts)
    session.accept(result)
    assert (whole(session)[15] == bright[15]).all()
    assert (whole(session)[13] == before[13]).all()
    assert not (whole(session) & other & ~before).any()


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        (PropagateRequest(()), "No segment is named"),
        (PropagateRequest(("b",)), 'There is no segment "b": choose one of these: a.'),
        (PropagateRequest(("a",), (15,), axis=7), "no axis 7"),
        (PropagateRequest(("a",), (99,)), "no slice 99"),
        (PropagateRequest(("a",), (15,), locked="lock"), 'no segment "lock"'),
    ],
)
def test_a_request_that_cannot_be_used_is_refused_in_a_sentence(request_: PropagateRequest, sentence: str) -> None:
    session, _ = opened(15)
    with pytest.raises(InputError) as error:
        session.propagate(request_)
    assert sentence in str(error.value)


class Kept:
    """An embedding that can be counted for as long as anybody holds it."""

    def __init__(self, picture: np.ndarray, alive: WeakSet[Kept]) -> None:
        self.picture = picture
        alive.add(self)


class Counted(Bright):
    def __init__(self) -> None:
        super().__init__()
        self.alive: WeakSet[Kept] = WeakSet()
        self.most = 0

    def encode(self, picture: np.ndarray, tick: Tick = silent) -> Kept:
        kept = Kept(super().encode(picture, tick), self.alive)
        self.most = max(self.most, len(self.alive))
        return kept

    def decode(self, embedding: Kept, prompts: Sequence[PixelPrompts], tick: Tick = silent) -> list[Answer]:
        return super().decode(embedding.picture, prompts, tick)

    def bytes_of(self, embedding: Kept) -> int:
        return embedding.picture.nbytes


def test_five_hundred_prompts_on_a_hundred_slices_stay_in_bounds() -> None:
    rng = np.random.default_rng(0)
    volume = Volume(rng.integers(0, 255, (100, 20, 24), dtype=np.uint8))
    session, model = Session(volume, Faked()), Counted()
    session.models.model = model
    session.models.embeddings = Embeddings(most_bytes=10 * 20 * 24)
    for _ in range(500):
        k, j, i = (int(rng.integers(0, side)) for side in volume.shape)
        place = PointPrompt((float(i), float(j), float(k)), plane=slice_plane(volume, 0, k))
        session.accept(session.prompt([place], "a", model="bright", window=SEEN))
        model.asked.clear()
    usage = session.models.embeddings.usage
    assert (usage.kept, usage.bytes) == (10, 10 * 20 * 24)
    assert usage.hits + usage.misses == 500
    assert model.most <= 10 + 2  # the bound, the one that is being made, and the one before it
    assert session.segments.keys() == {"a"}
    assert session.last.keys() == {"prompt"}


def test_a_model_that_takes_prompts_is_an_id_and_never_a_path(tmp_path) -> None:
    weights = tmp_path / "weights.pt"
    weights.write_bytes(b"")
    volume, _ = ellipsoid()
    with pytest.raises(InputError, match="no model that takes prompts"):
        Session(volume).run(PromptRequest((PointPrompt((0.0, 0.0, 0.0)),), "a", model=str(weights)))
