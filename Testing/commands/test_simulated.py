"""The demo's user, who knows the truth: corrects the worst place, keeps what helps, and spreads it."""

from __future__ import annotations

import numpy as np
import pytest

from SSLSegmentationLib.commands.simulated import Corrected, correct, spread
from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.prompting.compose import Kept
from SSLSegmentationLib.prompting.stack import Stack, acquired
from SSLSegmentationLib.proposal import NOTHING, Cropped, Proposal
from SSLSegmentationLib.volume import Volume
from Testing.prompting.fake import Bright
from Testing.prompting.fake import Spread as Following

LABELS = {"cube": Label(1, "cube"), "bar": Label(2, "bar")}


@pytest.fixture
def seen() -> tuple[Stack, Volume]:
    """A cube and a bar, both bright, and their truth."""
    truth = np.zeros((20, 60, 60), dtype=np.uint8)
    truth[4:16, 10:40, 10:30] = 1
    truth[2:18, 20:36, 42:54] = 2
    return scan_of(truth)


def scan_of(truth: np.ndarray) -> tuple[Stack, Volume]:
    """Everything is equally bright, whichever label it has."""
    matrix = np.diag([1.0, 1.0, 3.0, 1.0])
    scan = Volume((truth > 0) * np.float32(200) - 100, matrix, "blocks", "CT")
    return acquired(scan), Volume(truth, matrix, "truth", "")


def found(truth: Volume, **missing: tuple[slice, ...]) -> dict[str, Cropped]:
    segments = {}
    for name, label in LABELS.items():
        mask = truth.voxels == label.value
        if name in missing:
            mask[missing[name]] = False
        segments[name] = Cropped.of(mask)
    return segments


def test_the_largest_mistake_is_corrected(seen: tuple[Stack, Volume]) -> None:
    stack, truth = seen
    segments = found(
        truth, cube=(slice(7, 8), slice(20, 40), slice(0, 60)), bar=(slice(5, 6), slice(20, 24), slice(0, 60))
    )
    done = correct(stack, truth, segments, LABELS, Bright())
    assert (done.organ, done.slice, done.clicks) == ("cube", 7, 1)
    assert done.dice[0] < 0.6
    assert done.dice[1] == 1.0
    assert (done.segment.within(tuple(slice(0, n) for n in truth.shape)) == (truth.voxels == 1)).all()


def test_a_correction_that_makes_it_worse_is_not_kept(seen: tuple[Stack, Volume]) -> None:
    """This model takes everything that is not quite black, so every answer is worse."""
    stack, truth = seen
    segments = found(truth, cube=(slice(7, 8), slice(38, 40), slice(0, 60)))
    assert correct(stack, truth, segments, LABELS, Bright(threshold=0)) is None


def test_what_is_right_is_left_alone(seen: tuple[Stack, Volume]) -> None:
    stack, truth = seen
    assert correct(stack, truth, found(truth), LABELS, Bright()) is None


def test_the_corrected_slice_alone_is_spread(seen: tuple[Stack, Volume]) -> None:
    stack, truth = seen
    segments = found(truth, cube=(slice(7, 8), slice(20, 40), slice(0, 60)))
    done = correct(stack, truth, segments, LABELS, Bright())
    led = spread(stack, truth, LABELS["cube"], done, Bright())
    assert stack.touched(led.drawn) == [7]
    assert set(led.slices) >= set(range(4, 16)) - {7}
    assert led.dice > 0.95


@pytest.fixture
def halves() -> tuple[Stack, Volume]:
    """Forty slices of a bright block; its left half is the cube, and nothing but the truth tells the bar beside it."""
    truth = np.zeros((40, 30, 30), dtype=np.uint8)
    truth[:, 5:25, 5:15], truth[:, 5:25, 15:25] = 1, 2
    return scan_of(truth)


def corrected_on(truth: Volume, n: int) -> Corrected:
    nothing = Proposal(NOTHING.box, NOTHING.bits, NOTHING.bits, 1.0)
    return Corrected("cube", n, 1, (0.5, 1.0), nothing, Cropped.of(truth.voxels == 1))


def test_other_organs_keep_their_voxels_when_one_is_spread(halves: tuple[Stack, Volume]) -> None:
    stack, truth = halves
    others = {"cube": Kept(neighbours=(Cropped.of(truth.voxels == 2),))}
    assert spread(stack, truth, LABELS["cube"], corrected_on(truth, 20), Following()).dice < 0.8
    assert spread(stack, truth, LABELS["cube"], corrected_on(truth, 20), Following(), others).dice == 1.0


def test_an_organ_is_spread_no_further_than_a_user_goes_without_looking(halves: tuple[Stack, Volume]) -> None:
    stack, truth = halves
    led = spread(stack, truth, LABELS["cube"], corrected_on(truth, 20), Following())
    assert led.slices == [*range(8, 20), *range(21, 33)]
