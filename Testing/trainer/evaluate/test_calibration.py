from __future__ import annotations

import numpy as np
import pytest

from trainer.evaluate.calibration import near_objects, nothing, reliability


def case(accuracy: float, confidence: float, voxels: int = 20_000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    probabilities = np.stack([np.full(voxels, 1 - confidence), np.full(voxels, confidence)]).reshape(2, voxels, 1, 1)
    truth = (np.random.default_rng(0).random(voxels) < accuracy).astype(np.uint8).reshape(voxels, 1, 1)
    return probabilities, truth, np.ones_like(truth, bool)


def test_a_model_that_is_as_often_right_as_it_says_has_no_error() -> None:
    assert reliability(*case(accuracy=0.8, confidence=0.8)).error < 0.01


def test_the_error_of_a_boaster_is_the_gap() -> None:
    assert reliability(*case(accuracy=0.6, confidence=0.95)).error == pytest.approx(0.35, abs=0.01)


def test_cases_add_up() -> None:
    one, other = reliability(*case(0.6, 0.95)), reliability(*case(0.8, 0.8))
    both = one + other + nothing()
    assert both.voxels.sum() == 40_000
    assert both.error == pytest.approx((one.error + other.error) / 2, abs=1e-9)
    confidence, right = both.curve()
    np.testing.assert_allclose(confidence, [0.8, 0.95])
    np.testing.assert_allclose(right, [0.8, 0.6], atol=0.01)


def test_without_voxels_there_is_no_error_to_speak_of() -> None:
    assert np.isnan(nothing().error)


def test_only_what_lies_near_an_object_counts() -> None:
    truth, found = np.zeros((40, 4, 4), np.uint8), np.zeros((40, 4, 4), np.uint8)
    truth[10] = 1
    found[12] = 2
    near = near_objects(found, truth, (2.0, 1.0, 1.0))
    assert near[:, 0, 0].nonzero()[0].tolist() == list(range(5, 18))


def test_where_nothing_is_nothing_counts() -> None:
    empty = np.zeros((3, 3, 3), np.uint8)
    assert not near_objects(empty, empty, (1.0, 1.0, 1.0)).any()
