"""Other looks: as often and as far as asked, in place and in value."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from trainer.data.augment import CROP_ONLY, FLIPS_AND_TURNS, Augmentation, another_look, blurred, place, tinted

CENTRE = np.full(3, 20.0)
PATCH = (8, 8, 8)


def placements(augmentation: Augmentation, patch: tuple = PATCH, spacing: tuple = (1, 1, 1), count: int = 200) -> list:
    return [place(np.random.default_rng(s), CENTRE, augmentation, patch, np.array(spacing)) for s in range(count)]


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(3, 2, PATCH).astype(np.float32)


def test_nothing_is_changed_where_nothing_is_asked_for() -> None:
    assert all((p.matrix == np.eye(3)).all() and (p.centre == CENTRE).all() for p in placements(CROP_ONLY))
    np.testing.assert_array_equal(another_look(np.random.default_rng(0), noise(), CROP_ONLY), noise())


def test_only_the_axes_asked_for_are_mirrored_and_every_other_time() -> None:
    flips = np.array([p.flips for p in placements(replace(CROP_ONLY, mirror=(0, 2)), count=400)])
    assert not flips[:, 1].any()
    assert flips[:, [0, 2]].mean(axis=0) == pytest.approx(0.5, abs=0.08)
    flat = np.array([p.flips for p in placements(replace(CROP_ONLY, mirror=(0, 2)), patch=(8, 8, 1))])
    assert not flat[:, 2].any()


def test_turns_and_mirrors_give_the_eight_looks_of_a_square_alike() -> None:
    looks = [p.matrix.tobytes() for p in placements(FLIPS_AND_TURNS, count=800)]
    counts = np.unique(looks, return_counts=True)[1]
    assert len(counts) == 8
    assert counts.min() > 60
    assert len({p.matrix.tobytes() for p in placements(FLIPS_AND_TURNS, patch=(8, 6, 8))}) == 4


def test_rotation_and_scale_stay_within_what_is_asked_for() -> None:
    change = replace(CROP_ONLY, affine=1.0, degrees=10.0, scale=(0.9, 1.25))
    spacing = np.array((1.0, 1.0, 1.8))
    for placed in placements(change, spacing=tuple(spacing)):
        millimetres = placed.affine * spacing[:, None] / spacing
        sizes = 1 / np.linalg.norm(millimetres, axis=0)
        assert ((sizes > 0.899) & (sizes < 1.251)).all()
        axes = millimetres * sizes
        np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-9)
        assert np.degrees(np.arccos(np.clip(np.diag(axes), -1, 1))).max() < 10 * 2**0.5 + 1
    assert sum(p.affine is None for p in placements(replace(change, affine=0.25), count=400)) == pytest.approx(
        300, abs=40
    )


@pytest.mark.parametrize(("patch", "spacing"), [((8, 8, 1), (1, 1, 1)), ((8, 8, 8), (1, 1, 4))])
def test_flat_patches_and_thick_slices_stay_in_their_plane(patch: tuple, spacing: tuple) -> None:
    for placed in placements(replace(CROP_ONLY, affine=1.0, degrees=15.0, scale=(0.9, 1.1)), patch, spacing):
        np.testing.assert_allclose(placed.affine[2, :2], 0, atol=1e-12)
        np.testing.assert_allclose(placed.affine[:2, 2], 0, atol=1e-12)
        assert patch[2] > 1 or placed.affine[2, 2] == pytest.approx(1)


def test_what_swells_is_a_structure_whose_middle_the_patch_shows_as_often_and_as_much_as_asked() -> None:
    near, far = CENTRE + np.array([[-1, 0, 0], [3, 0, 0]]), CENTRE + np.array([[20, 0, 0], [22, 0, 0]])
    voxels = {1: near.astype(np.int32), 2: far.astype(np.int32)}
    change = replace(CROP_ONLY, swell=0.5, swelling=(0.5, 3.0))
    spacing = np.array((2.0, 1.0, 1.0))
    swellings = [place(np.random.default_rng(s), CENTRE, change, PATCH, spacing, voxels).swelling for s in range(400)]
    found = [one for one in swellings if one is not None]
    assert len(found) / 400 == pytest.approx(0.5, abs=0.08)
    for one in found:
        np.testing.assert_allclose(one.centre, CENTRE + np.array((1, 0, 0)))
        assert one.radius == pytest.approx(12)  # three times the 4 mm that both voxels lie from their middle
        assert 0.5 <= one.factor <= 3.0
    assert {one.factor > 1 for one in found} == {True, False}
    assert all(place(np.random.default_rng(s), CENTRE, change, PATCH, spacing).swelling is None for s in range(20))
    for patch, thickness in (((8, 8, 1), 1.0), (PATCH, 4.0)):  # between thick slices, moving would only smear
        flat = (place(np.random.default_rng(s), CENTRE, change, patch, (2, 1, thickness), voxels) for s in range(20))
        assert all(one.swelling is None for one in flat)


def test_where_nothing_swells_all_else_is_drawn_as_ever() -> None:
    change = Augmentation((0, 1, 2), turn=True, affine=0.5)
    voxels = {1: CENTRE[None].astype(np.int32)}
    for seed in range(20):
        with_voxels, without = (
            place(np.random.default_rng(seed), CENTRE, change, PATCH, np.ones(3), known) for known in (voxels, None)
        )
        np.testing.assert_array_equal(with_voxels.matrix, without.matrix)


def test_each_structure_is_tinted_alone_and_as_often_as_asked() -> None:
    truth = np.zeros(PATCH, np.uint8)
    truth[:3], truth[5:] = 1, 200
    change = replace(CROP_ONLY, tint=0.3)
    found = [tinted(np.random.default_rng(s), noise(), truth, change) - noise() for s in range(300)]
    inside = np.array([(moved[0, 4, 4], moved[7, 4, 4]) for moved in found])  # well away from what lies between
    assert (np.abs(inside) > 1e-6).mean(axis=0) == pytest.approx(0.3, abs=0.08)
    assert np.corrcoef(inside[:, 0] != 0, inside[:, 1] != 0)[0, 1] == pytest.approx(0, abs=0.15)
    assert (inside < 0).any(axis=0).all()
    assert (inside > 0).any(axis=0).all()


def test_what_is_tinted_keeps_its_texture_and_its_neighbours_keep_their_values() -> None:
    truth = np.zeros((24, 8, 8), np.uint8)
    truth[:12] = 7
    image = np.linspace(0.4, 0.6, truth.size, dtype=np.float32).reshape(truth.shape)
    image[-1, -1, -2:] = 0, 1  # room for darker and for brighter
    looks = [tinted(np.random.default_rng(s), image.copy(), truth, replace(CROP_ONLY, tint=1.0)) for s in range(20)]
    for look in looks:
        assert look.dtype == np.float32
        moved = look - image
        assert np.ptp(moved[:9]) < 1e-6
        assert 0 < abs(moved[0, 0, 0]) <= image.std() * 1.001
        np.testing.assert_array_equal(look[15:], image[15:])


def test_a_tint_stays_within_what_the_patch_had_and_draws_nothing_where_there_is_none() -> None:
    truth = np.ones(PATCH, np.uint8)
    looks = [tinted(np.random.default_rng(s), noise(), truth, replace(CROP_ONLY, tint=1.0)) for s in range(20)]
    assert all(look.min() >= noise().min() and look.max() <= noise().max() for look in looks)
    untouched = np.random.default_rng(0)
    np.testing.assert_array_equal(tinted(untouched, noise(), truth, CROP_ONLY), noise())
    assert untouched.random() == np.random.default_rng(0).random()
    nothing = tinted(np.random.default_rng(0), noise(), np.zeros(PATCH, np.uint8), replace(CROP_ONLY, tint=1.0))
    np.testing.assert_array_equal(nothing, noise())


@pytest.mark.parametrize("name", ["noise", "blur", "brightness", "contrast", "gamma"])
def test_each_change_of_intensity_happens_alone_and_as_often_as_asked(name: str) -> None:
    change = replace(CROP_ONLY, **{name: 0.4})
    found = [another_look(np.random.default_rng(s), noise(), change) for s in range(300)]
    changed = [look for look in found if not np.array_equal(look, noise())]
    assert len(changed) / 300 == pytest.approx(0.4, abs=0.09)
    for look in changed:
        assert look.dtype == np.float32
        assert look.shape == PATCH
        assert np.isfinite(look).all()
    if name in {"contrast", "gamma"}:  # kept within what the patch had
        assert all(look.min() >= noise().min() - 1e-4 and look.max() <= noise().max() + 1e-4 for look in changed)
        assert all(np.corrcoef(look.ravel(), noise().ravel())[0, 1] > 0.9 for look in changed)


def test_amounts_follow_the_scale_of_the_patch() -> None:
    """What is done to a patch in other units is the same, so that HU and standardised MR are treated alike."""
    change = Augmentation(noise=1, blur=1, brightness=1, contrast=1, gamma=1)
    look, larger = (another_look(np.random.default_rng(5), noise() * unit, change) for unit in (1, 100))
    np.testing.assert_allclose(larger, look * 100, rtol=1e-3, atol=0.05)


def test_blur_is_a_gaussian() -> None:
    image = noise()
    np.testing.assert_allclose(blurred(image, 0.7), gaussian_filter(image, 0.7, mode="nearest", radius=2), atol=1e-5)
    flat = image[..., :1]
    np.testing.assert_allclose(
        blurred(flat, 0.5)[..., 0], gaussian_filter(flat[..., 0], 0.5, mode="nearest", radius=2), atol=1e-5
    )


def test_a_patch_of_one_value_stays_finite() -> None:
    change = Augmentation(noise=1, blur=1, brightness=1, contrast=1, gamma=1)
    for value in (0.0, 7.0):
        assert np.isfinite(another_look(np.random.default_rng(0), np.full(PATCH, value, np.float32), change)).all()


def test_the_same_generator_gives_the_same_look() -> None:
    change = Augmentation(affine=1, noise=1, blur=1, brightness=1, contrast=1, gamma=1)
    first, second = (another_look(np.random.default_rng(3), noise(), change) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert {field.name for field in fields(Augmentation)} >= {"noise", "blur", "brightness", "contrast", "gamma"}
