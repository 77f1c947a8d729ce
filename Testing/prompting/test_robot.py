"""The robot that tables and the demo ask with: it clicks where a careful user would."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from SSLSegmentationLib.prompting.robot import Place, click, clicked, dice


def square(low: int, high: int, side: int = 24) -> np.ndarray:
    area = np.zeros((side, side), dtype=bool)
    area[low:high, low:high] = True
    return area


def test_the_first_click_goes_into_the_middle() -> None:
    assert click(square(4, 9), np.zeros((24, 24), dtype=bool)) == ((6.0, 6.0), True)


def test_the_largest_mistake_is_met_first_and_what_is_too_much_gets_a_negative_click() -> None:
    meant, found = square(2, 6), square(2, 6)
    meant[20, 20] = True
    found[10:17, 10:17] = True
    assert click(meant, found) == ((13.0, 13.0), False)


@given(arrays(bool, (9, 7)), arrays(bool, (9, 7)))
def test_every_click_lies_on_a_mistake_and_has_its_sign(meant: np.ndarray, found: np.ndarray) -> None:
    if (meant != found).any():
        (column, row), sign = click(meant, found)
        place = int(row), int(column)
        assert meant[place] != found[place]
        assert meant[place] == sign


@given(arrays(bool, (5, 4)), arrays(bool, (5, 4)))
def test_dice_is_one_for_the_same_alone(one: np.ndarray, other: np.ndarray) -> None:
    assert dice(one, other) == dice(other, one)
    assert 0 <= dice(one, other) <= 1
    if one.any() or other.any():
        assert (dice(one, other) == 1) == bool((one == other).all())


@given(st.integers(1, 6))
def test_whoever_does_as_told_is_corrected_no_further(most: int) -> None:
    meant, asked = square(3, 12), []

    def ask(places: Sequence[Place], signs: Sequence[bool]) -> np.ndarray:
        asked.append((list(places), list(signs)))
        return meant if len(places) > 1 else ~meant

    scores = clicked(meant, ask, most)
    assert scores == [0.0, *[1.0] * (most - 1)][:most]
    assert len(asked) == min(most, 2)
