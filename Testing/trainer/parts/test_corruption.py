from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.parts.corruption import corrupt_as_genesis, corrupt_cubes, paint, remap, shuffle

SHAPES = [(24, 20, 16), (32, 32, 1), (10, 9, 8)]


def _image(shape: tuple[int, int, int], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(3.0, 20.0, shape).astype(np.float32)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.sampled_from(SHAPES), st.integers(0, 8))
def test_cubes_leave_everything_else_bit_for_bit(seed: int, shape: tuple[int, int, int], count: int) -> None:
    image, rng = _image(shape, seed), np.random.default_rng(seed)
    before = image.copy()
    centres = [[int(rng.integers(n)) for n in shape] for _ in range(count)]
    spoiled, touched = corrupt_cubes(image, centres, (4, 9), rng)
    assert (image == before).all()
    assert (spoiled[~touched] == image[~touched]).all()
    assert touched.any() == (count > 0)
    assert all(touched[tuple(centre)] for centre in centres)
    margin = 1e-5 * np.abs(image).max()
    assert image.min() - margin <= spoiled.min()
    assert spoiled.max() <= image.max() + margin


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.sampled_from(SHAPES))
def test_genesis_leaves_what_it_does_not_name_bit_for_bit(seed: int, shape: tuple[int, int, int]) -> None:
    image = _image(shape, seed)
    chances = {"remapped": 0.2, "shuffled": 0.2, "painted": 0.8, "outer": 0.5}
    spoiled, touched = corrupt_as_genesis(image, np.random.default_rng(seed), **chances)
    assert (spoiled[~touched] == image[~touched]).all()
    margin = 1e-5 * np.abs(image).max()
    assert image.min() - margin <= spoiled.min()
    assert spoiled.max() <= image.max() + margin


def test_cubes_change_most_of_what_they_name() -> None:
    image = _image((32, 32, 32), 0)
    spoiled, touched = corrupt_cubes(image, [[8, 8, 8], [20, 20, 20], [9, 22, 15]], (8, 12), np.random.default_rng(0))
    assert (spoiled[touched] != image[touched]).mean() > 0.9


def test_shuffling_keeps_the_values_of_the_part() -> None:
    image, part = _image((20, 20, 20), 1), (slice(3, 17), slice(2, 20), slice(0, 11))
    spoiled = image.copy()
    shuffle(spoiled, part, (3, 4, 5), np.random.default_rng(0))
    assert (spoiled[part] != image[part]).mean() > 0.5
    assert (np.sort(spoiled[part].ravel()) == np.sort(image[part].ravel())).all()
    spoiled[part] = image[part]
    assert (spoiled == image).all()


@pytest.mark.parametrize("seed", range(8))
def test_remapping_keeps_the_order_of_grey_values_or_inverts_it(seed: int) -> None:
    image = np.linspace(-200, 300, 125, dtype=np.float32).reshape(5, 5, 5)
    remap(image, (slice(None),) * 3, (-200.0, 300.0), np.random.default_rng(seed))
    steps = np.diff(image.ravel())
    assert (steps >= 0).all() or (steps <= 0).all()
    assert {round(float(image.min())), round(float(image.max()))} == {-200, 300}


def test_a_constant_image_stays_finite() -> None:
    image = np.full((16, 16, 16), 7.0, dtype=np.float32)
    rng = np.random.default_rng(0)
    for spoiled in (corrupt_cubes(image, [[8, 8, 8]] * 6, (4, 8), rng)[0], corrupt_as_genesis(image, rng)[0]):
        assert (spoiled == 7.0).all()


def test_painting_gives_noise_over_the_whole_range() -> None:
    image = np.zeros((20, 20, 20), dtype=np.float32)
    paint(image, (slice(None),) * 3, (-3.0, 5.0), np.random.default_rng(0))
    assert image.min() < -2.9
    assert image.max() > 4.9
    assert abs(image.mean() - 1.0) < 0.1


def test_the_same_seed_corrupts_in_the_same_way() -> None:
    image = _image((24, 24, 24), 2)
    first, second = (corrupt_as_genesis(image, np.random.default_rng(5)) for _ in range(2))
    assert (first[0] == second[0]).all()
    assert (first[1] == second[1]).all()
