"""The wire: volumes, masks, results and prompts mean the same on both sides."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from SSLSegmentationLib.engine.frames import FrameError, pack
from SSLSegmentationLib.engine.results import Labelling, Proposals
from SSLSegmentationLib.engine.wire import (
    events,
    mask_frame,
    prompt_json,
    read_mask_frame,
    read_prompt_json,
    read_result_frame,
    read_volume_frame,
    result_frame,
    volume_frame,
)
from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.identity import digest
from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.plane import Plane, slice_plane
from SSLSegmentationLib.prompts import BoxPrompt, MaskPrompt, PointPrompt
from SSLSegmentationLib.proposal import Cropped, End, PartReport, propose
from SSLSegmentationLib.volume import Volume
from Testing.strategies import matrices, volumes

LIMIT = 2**24
SCAN = Volume(np.zeros((6, 7, 8), np.int16), np.diag([0.5, 0.6, 2.0, 1.0]))
WHOLE = tuple(slice(0, n) for n in SCAN.shape)


def masks(density: float = 0.3) -> st.SearchStrategy[np.ndarray]:
    return st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).random(SCAN.shape) < density)


@given(volumes(), st.booleans(), st.sampled_from(["i1", "u1", "i2", "u2", "i4", "f4", "f8", ">i2"]))
def test_a_volume_arrives_as_it_was(volume: Volume, compress: bool, dtype: str) -> None:
    sent = Volume((volume.voxels % 100).astype(dtype), volume.ijk_to_ras, "Thorax ü", "CT")
    got = read_volume_frame(b"".join(volume_frame(sent, compress)), LIMIT)
    np.testing.assert_array_equal(got.voxels, sent.voxels)
    np.testing.assert_array_equal(got.ijk_to_ras, sent.ijk_to_ras)
    assert (got.name, got.modality) == (sent.name, sent.modality)
    assert digest(got) == digest(sent)


@given(volumes(), matrices())
def test_the_digest_is_of_voxels_and_place_and_not_of_names(volume: Volume, elsewhere: np.ndarray) -> None:
    same = Volume(np.asfortranarray(volume.voxels), volume.ijk_to_ras, "other name", "MR")
    assert digest(same) == digest(volume)
    changed = volume.voxels.copy()
    changed.flat[-1] += 1
    others = [
        Volume(changed, volume.ijk_to_ras),
        Volume(volume.voxels.view("u2"), volume.ijk_to_ras),
        Volume(volume.voxels[None].reshape(1, *volume.shape[:1], -1).repeat(2, 0), volume.ijk_to_ras),
    ]
    if not np.array_equal(elsewhere, volume.ijk_to_ras):
        others.append(Volume(volume.voxels, elsewhere))
    assert all(digest(other) != digest(volume) for other in others)


@pytest.mark.parametrize(
    ("fields", "voxels"),
    [
        ({}, np.zeros((2, 2, 2), "i2")),
        ({"ijk_to_ras": [[1]]}, np.zeros((2, 2, 2), "i2")),
        ({"ijk_to_ras": "text"}, np.zeros((2, 2, 2), "i2")),
        ({"ijk_to_ras": [[0.0] * 4] * 4}, np.zeros((2, 2, 2), "i2")),
        ({"ijk_to_ras": np.eye(4).tolist()}, np.zeros((2, 2), "i2")),
        ({"ijk_to_ras": np.eye(4).tolist()}, np.zeros((2, 0, 2), "i2")),
        ({"ijk_to_ras": np.eye(4).tolist()}, np.zeros((2, 2, 2), bool)),
        ({"ijk_to_ras": np.eye(4).tolist()}, np.full((2, 2, 2), np.nan, "f4")),
        ({"ijk_to_ras": np.eye(4).tolist(), "name": 5}, np.zeros((2, 2, 2), "i2")),
        ({"ijk_to_ras": np.eye(4).tolist(), "name": "x" * 5000}, np.zeros((2, 2, 2), "i2")),
    ],
)
def test_what_is_no_volume_is_refused_in_one_sentence(fields: dict[str, object], voxels: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"\.$"):
        read_volume_frame(b"".join(pack("volume", fields, {"voxels": voxels}, False)), LIMIT)


@given(masks())
def test_a_mask_arrives_as_it_was(mask: np.ndarray) -> None:
    got = read_mask_frame(b"".join(mask_frame(Cropped.of(mask))), SCAN.shape)
    np.testing.assert_array_equal(got.within(WHOLE), mask)


def test_a_mask_of_another_scan_is_refused() -> None:
    data = b"".join(mask_frame(Cropped.of(np.ones((6, 7, 9), bool))))
    with pytest.raises(FrameError, match="allowed"):
        read_mask_frame(data, SCAN.shape)
    beside = b"".join(pack("mask", {"box": [4, 0, 0]}, {"bits": np.ones((3, 1, 1), bool)}, False))
    with pytest.raises(FrameError, match="edge"):
        read_mask_frame(beside, SCAN.shape)


@given(masks(), masks(), st.booleans(), st.booleans())
def test_a_proposal_arrives_as_it_was(before: np.ndarray, after: np.ndarray, doubt: bool, compress: bool) -> None:
    uncertainty = np.linspace(0, 1, before.size, dtype=np.float32).reshape(before.shape) if doubt else None
    sent = propose(WHOLE, before, after, score=0.25, uncertainty=uncertainty, segment="Niere links")
    got = read_result_frame(b"".join(result_frame(sent, compress)), SCAN)
    assert (got.box, got.score, got.segment) == (sent.box, sent.score, sent.segment)
    np.testing.assert_array_equal(got.added, sent.added)
    np.testing.assert_array_equal(got.removed, sent.removed)
    if uncertainty is not None:
        np.testing.assert_allclose(got.uncertainty, sent.uncertainty, atol=5e-4)


@given(st.lists(st.tuples(masks(), masks()), max_size=3), st.booleans())
def test_proposals_arrive_as_they_were(several: list[tuple[np.ndarray, np.ndarray]], compress: bool) -> None:
    names = ("Niere links", "cyst", "2 mask")[: len(several)]
    sent = Proposals(
        {name: propose(WHOLE, *pair, score=0.5, segment=name) for name, pair in zip(names, several, strict=True)},
        (PartReport(3, "cyst", False, "too small", 7, 0.25), PartReport(4, "cyst", True, "", 20, 0.5, 0.75, 1.0, 1.0)),
        (End("cyst", -1, 7, 2, "leaked"),),
    )
    got = read_result_frame(b"".join(result_frame(sent, compress)), SCAN)
    assert isinstance(got, Proposals)
    assert (list(got.segments), got.parts, got.ends) == (list(names), sent.parts, sent.ends)
    for name in names:
        assert got.segments[name].box == sent.segments[name].box
        np.testing.assert_array_equal(got.segments[name].mask, sent.segments[name].mask)
        np.testing.assert_array_equal(got.segments[name].before, sent.segments[name].before)


@pytest.mark.parametrize(
    ("fields", "report"),
    [
        ({}, b"{}"),
        ({"proposals": 1}, b'{"parts": [], "ends": []}'),
        ({"proposals": [{}]}, b'{"parts": [], "ends": []}'),
        ({"proposals": []}, b"{"),
        ({"proposals": []}, b'{"parts": [], "ends": [{"colour": "blue"}]}'),
        ({"proposals": []}, b"[" * 100_000),
    ],
)
def test_damaged_proposals_are_refused(fields: dict[str, object], report: bytes) -> None:
    frame = pack("proposals", fields, {"report": np.frombuffer(report, np.uint8)}, False)
    with pytest.raises(FrameError, match="arrived damaged"):
        read_result_frame(b"".join(frame), SCAN)


@given(hnp.arrays(np.uint8, SCAN.shape, elements=st.integers(0, 3)), st.booleans(), st.booleans())
def test_a_labelling_arrives_as_it_was(labels: np.ndarray, doubt: bool, compress: bool) -> None:
    uncertainty = SCAN.with_voxels((labels / 3).astype(np.float32)) if doubt else None
    names = (Label(1, "liver", (0.8, 0.4, 0.3), "SCT^10200004^Liver"), Label(3, "Milz"))
    made = {"model": "organs", "version": "2.1", "weights_sha256": "ab" * 32}
    sent = Labelling(
        SCAN.with_voxels(labels), names, uncertainty, device="CPU", ladder=("half",), seconds={"all": 1.5}, **made
    )
    got = read_result_frame(b"".join(result_frame(sent, compress)), SCAN)
    np.testing.assert_array_equal(got.labels.voxels, labels)
    assert got.labels.same_grid_as(SCAN)
    assert (got.names, got.model, got.device, got.ladder) == (names, "organs", "CPU", ("half",))
    assert got.seconds == {"all": 1.5}
    assert (got.version, got.weights_sha256) == ("2.1", "ab" * 32)
    assert (got.uncertainty is None) == (uncertainty is None)
    if uncertainty is not None:
        np.testing.assert_allclose(got.uncertainty.voxels, uncertainty.voxels, atol=5e-4)


def test_only_the_box_around_what_changed_is_sent() -> None:
    before = np.zeros((200, 200, 200), bool)
    after = before.copy()
    after[90:110, 50:70, 60:80] = True
    proposal = propose(tuple(slice(0, 200) for _ in range(3)), before, after, score=1.0)
    assert sum(len(part) for part in result_frame(proposal, compress=False)) < 2 * 20**3 / 8 + 600


def plane_of(prompt: PointPrompt | BoxPrompt) -> Plane:
    assert prompt.plane is not None
    return prompt.plane


def test_prompts_arrive_as_they_were() -> None:
    plane = slice_plane(SCAN, 1, 3)
    pixels = np.random.default_rng(0).random(plane.shape) < 0.5
    sent = [
        PointPrompt((1.0, -2.5, 3.0), positive=False),
        PointPrompt((1.0, 2.0, 3.0), plane=plane),
        BoxPrompt((0.0, 1.0, 2.0), ((1.0, 0.0, 0.0), (0.0, 2.0, 0.0)), plane),
        BoxPrompt((0.0, 1.0, 2.0), ((1.0, 0.0, 0.0), (0.0, 2.0, 0.0), (0.0, 0.0, 3.0))),
        MaskPrompt(pixels, plane.pixel_to_ras, positive=False),
        MaskPrompt(np.ones((2, 3, 4), bool), SCAN.ijk_to_ras),
    ]
    got = [read_prompt_json(json.loads(json.dumps(prompt_json(prompt)))) for prompt in sent]
    assert [type(prompt) for prompt in got] == [type(prompt) for prompt in sent]
    assert (got[0].ras, got[0].positive, got[0].plane) == (sent[0].ras, False, None)
    assert plane_of(got[1]).shape == plane.shape
    np.testing.assert_array_equal(plane_of(got[2]).pixel_to_ras, plane.pixel_to_ras)
    np.testing.assert_array_equal(got[3].corners, sent[3].corners)
    np.testing.assert_array_equal(got[4].pixels, pixels)
    assert not got[4].positive
    np.testing.assert_array_equal(got[5].to_ras, SCAN.ijk_to_ras)


@pytest.mark.parametrize("bits", ["", "no base64!", "AAAA", "eJw=", "eJxjAAAAAQAB"])
def test_damaged_bits_of_a_painted_mask_are_refused(bits: str) -> None:
    said = prompt_json(MaskPrompt(np.ones((40, 40), bool), np.eye(4))) | {"bits": bits}
    with pytest.raises(InputError, match="bits of the painted mask"):
        read_prompt_json(said)


def test_a_painted_mask_of_endless_size_is_refused() -> None:
    said = prompt_json(MaskPrompt(np.ones((4, 4), bool), np.eye(4))) | {"shape": [65536, 65536, 65536]}
    with pytest.raises(InputError, match="at most"):
        read_prompt_json(said)


def test_events_are_read_from_lines() -> None:
    lines = ["event: progress", 'data: {"part": 0.5}', "", ": still here", "", "event: done", "data: a", "data: b", ""]
    assert list(events(iter(lines))) == [("progress", '{"part": 0.5}'), ("done", "a\nb")]
