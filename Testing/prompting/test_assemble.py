"""Slices put together: what hangs together is found in slabs as it is found at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import label

from SSLSegmentationLib.errors import Cancelled
from SSLSegmentationLib.prompting import assemble
from SSLSegmentationLib.prompting.assemble import touching

MASKS = hnp.arrays(bool, (7, 6, 5), elements=st.booleans())


def at_once(mask: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    parts, _ = label(mask, np.ones((3, 3, 3)))
    return np.isin(parts, sorted(set(parts[seeds & mask]) - {0}))


@settings(deadline=None, max_examples=60)
@given(MASKS, MASKS, MASKS, st.sampled_from([1, 60, 90, 1000]))
def test_parts_that_hold_a_seed_are_kept_whatever_the_slabs(
    mask: np.ndarray, thin: np.ndarray, seeds: np.ndarray, voxels: int
) -> None:
    sparse = mask & thin & ~seeds  # else everything would hang together
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assemble, "_AT_ONCE", voxels)
        for one in (mask, sparse):
            few = seeds & thin
            np.testing.assert_array_equal(touching(one, few), at_once(one, few))


def test_nothing_holds_nothing() -> None:
    empty = np.zeros((0, 0, 0), bool)
    assert touching(empty, empty).shape == (0, 0, 0)
    assert not touching(np.zeros((3, 3, 3), bool), np.ones((3, 3, 3), bool)).any()


def test_a_large_mask_can_be_left_in_the_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assemble, "_AT_ONCE", 30)
    seen: list[float] = []

    def stop(stage: str, part: float) -> None:
        seen.append(part)
        if len(seen) == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        touching(np.ones((7, 6, 5), bool), np.ones((7, 6, 5), bool), stop)
    assert seen == [0, 1 / 7, 2 / 7]
