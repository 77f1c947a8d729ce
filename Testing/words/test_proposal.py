"""Proposals say what changes, and nothing else changes when they are accepted."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from SSLSegmentationLib.proposal import NOTHING, Cropped, box_of, propose

SHAPE = (5, 6, 7)
WHOLE = tuple(slice(0, n) for n in SHAPE)


def masks() -> st.SearchStrategy[np.ndarray]:
    """From empty over a few voxels to nearly full."""
    return st.tuples(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.02, 0.5, 0.98])).map(
        lambda drawn: np.random.default_rng(drawn[0]).random(SHAPE) < drawn[1]
    )


@given(masks(), masks())
def test_accepting_a_proposal_gives_what_it_showed(before: np.ndarray, after: np.ndarray) -> None:
    proposal = propose(WHOLE, before, after, score=0.5)
    np.testing.assert_array_equal(proposal.accepted_into(Cropped.of(before)).within(WHOLE), after)


@given(masks(), masks())
def test_added_and_removed_are_the_whole_difference(before: np.ndarray, after: np.ndarray) -> None:
    proposal = propose(WHOLE, before, after, score=0.5)
    for found, wanted in ((proposal.added, after & ~before), (proposal.removed, before & ~after)):
        whole = np.zeros(SHAPE, bool)
        whole[proposal.box] = found
        np.testing.assert_array_equal(whole, wanted)


@given(masks(), masks())
def test_the_box_is_the_smallest_around_what_changes(before: np.ndarray, after: np.ndarray) -> None:
    proposal = propose(WHOLE, before, after, score=0.5)
    assert proposal.box == box_of(before ^ after)


@given(masks(), st.data())
def test_a_window_of_the_scan_proposes_at_the_right_place(mask: np.ndarray, data: st.DataObject) -> None:
    starts = [data.draw(st.integers(0, n - 1)) for n in SHAPE]
    window = tuple(slice(a, data.draw(st.integers(a + 1, n))) for a, n in zip(starts, SHAPE, strict=True))
    inside = mask[window]
    proposal = propose(window, np.zeros_like(inside), inside, score=1.0, uncertainty=np.full(inside.shape, 0.25))
    wanted = np.zeros(SHAPE, bool)
    wanted[window] = inside
    np.testing.assert_array_equal(proposal.accepted_into(NOTHING).within(WHOLE), wanted)
    assert proposal.uncertainty is not None
    assert proposal.uncertainty.shape == proposal.mask.shape
    assert proposal.uncertainty.dtype == np.float32


@given(masks(), st.data())
def test_any_part_of_a_cropped_mask_can_be_looked_at(mask: np.ndarray, data: st.DataObject) -> None:
    starts = [data.draw(st.integers(0, n)) for n in SHAPE]
    box = tuple(slice(a, data.draw(st.integers(a, n))) for a, n in zip(starts, SHAPE, strict=True))
    np.testing.assert_array_equal(Cropped.of(mask).within(box), mask[box])


def test_a_segment_that_loses_all_its_voxels_is_empty() -> None:
    mask = np.zeros(SHAPE, bool)
    mask[1:3, 2, 4] = True
    proposal = propose(WHOLE, mask, np.zeros(SHAPE, bool), score=1.0)
    assert proposal.accepted_into(Cropped.of(mask)).bits.size == 0
