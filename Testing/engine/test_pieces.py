"""What is done in pieces for a window gives the same as what is done at once, and never does much between two looks."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import numpy as np
import pytest

from SSLSegmentationLib.engine.pieces import digest_in_pieces, result_in_pieces
from SSLSegmentationLib.engine.results import Labelling
from SSLSegmentationLib.engine.wire import (
    labelling_frame,
    proposal_frame,
    read_result_frame,
    read_volume_frame,
    volume_frame_in_pieces,
)
from SSLSegmentationLib.identity import digest
from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.proposal import propose
from SSLSegmentationLib.steps import finish
from SSLSegmentationLib.volume import Volume


def scan(shape: tuple[int, int, int], dtype: type = np.int16) -> Volume:
    rng = np.random.default_rng(3)
    return Volume(rng.integers(0, 200, shape).astype(dtype), np.diag([0.7, 0.8, 1.5, 1.0]), "scan")


@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 11, 13), (40, 250, 256)])
@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.uint8])
def test_the_digest_is_the_same(shape: tuple[int, int, int], dtype: type) -> None:
    volume = scan(shape, dtype)
    assert finish(digest_in_pieces(volume)) == digest(volume)
    turned = volume.reoriented("LPI")
    assert finish(digest_in_pieces(turned)) == digest(turned)


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.uint8])
def test_a_scan_is_sent_as_it_is(dtype: type, compress: bool) -> None:
    for volume in (scan((40, 250, 256), dtype), scan((7, 11, 13), dtype).reoriented("LPI")):
        pieces = list(iterated(volume_frame_in_pieces(volume, compress)))
        frame = b"".join(pieces.pop())
        assert digest(read_volume_frame(frame, 2**30)) == digest(volume)
        assert not compress or len(frame) < volume.voxels.nbytes + 1024
        assert len(pieces) == (-(-volume.voxels.nbytes // 2**19) if compress else 0)


def iterated(steps: Generator[None, None, list[bytes]]) -> Iterator[list[bytes] | None]:
    """Every pause, and then what comes of it."""
    yield (yield from steps)


@pytest.mark.parametrize("compress", [True, False])
def test_a_labelling_is_the_same(compress: bool) -> None:
    volume = scan((20, 30, 40))
    labels = np.zeros(volume.shape, np.uint8)
    labels[3:17, 5:25, 6:30] = 2
    doubt = np.zeros(volume.shape, np.float32)
    doubt[2:18, 4:26, 5:31] = 0.25
    labelling = Labelling(
        labels=volume.with_voxels(labels),
        names=(Label(2, "liver", (1.0, 0.5, 0.25), "SCT"),),
        uncertainty=volume.with_voxels(doubt),
        model="organs",
        device="cpu",
        ladder=("smaller tiles",),
        seconds={"whole": 1.5},
    )
    frame = b"".join(labelling_frame(labelling, compress))
    read = finish(result_in_pieces(frame, volume))
    at_once = read_result_frame(frame, volume)
    assert (read.labels.voxels == labels).all()
    assert (read.uncertainty.voxels == doubt).all()
    assert read.disagreement is None
    assert (read.names, read.model, read.ladder, read.seconds) == (
        at_once.names, at_once.model, at_once.ladder, at_once.seconds,
    )  # fmt: skip


def test_a_proposal_is_read_at_once() -> None:
    volume = scan((9, 9, 9))
    bits = volume.voxels > 100
    proposal = propose((slice(0, 9),) * 3, np.zeros_like(bits), bits, score=0.5, segment="x")
    read = finish(result_in_pieces(b"".join(proposal_frame(proposal, False)), volume))
    assert (read.added == proposal.added).all()


def test_there_are_many_pieces_where_there_is_much_to_do() -> None:
    volume = scan((40, 512, 512))
    assert sum(1 for _ in digest_in_pieces(volume)) >= 5
    doubt = volume.with_voxels(np.ones(volume.shape, np.float32))
    labels = volume.with_voxels(np.ones(volume.shape, np.uint8))
    frame = b"".join(labelling_frame(Labelling(labels, (), uncertainty=doubt), False))
    assert sum(1 for _ in result_in_pieces(frame, volume)) >= 10
