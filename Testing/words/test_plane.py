"""Plane: what is cut out of a volume is what lies there, and what is put back lands where it was cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import label
from scipy.spatial.transform import Rotation

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.plane import Box, Plane, cut, put_back, slice_plane
from SSLSegmentationLib.volume import Volume
from Testing.strategies import numbers, oblique_planes, rotations, straight_planes, volumes

NOISE = 2e-3  # voxels: as near as this to a tie between two voxels or pixels, either is right

# ── cut ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(volumes(), st.data())
def test_the_planes_of_its_own_slices_are_views_of_the_array(volume: Volume, data: st.DataObject) -> None:
    axis = data.draw(st.integers(0, 2))
    index = data.draw(st.integers(0, volume.shape[axis] - 1))
    image = cut(volume, slice_plane(volume, axis, index))
    assert np.array_equal(image, volume.voxels.take(index, axis))
    assert np.shares_memory(image, volume.voxels)


@given(volumes(), st.data())
def test_a_flipped_or_transposed_part_of_a_slice_is_a_view_too(volume: Volume, data: st.DataObject) -> None:
    plane, expected = data.draw(straight_planes(volume))
    image = cut(volume, plane)
    assert np.array_equal(image, expected)
    assert np.shares_memory(image, volume.voxels)
    assert image.dtype == volume.voxels.dtype


@given(volumes(), st.data())
def test_a_plane_keeps_its_place_when_the_volume_is_reoriented(volume: Volume, data: st.DataObject) -> None:
    plane, expected = data.draw(straight_planes(volume))
    assert np.array_equal(cut(volume.reoriented("RAS"), plane), expected)


def ramp(volume: Volume, slope: np.ndarray) -> Volume:
    """A volume whose values are a linear function of RAS, which linear interpolation must reproduce."""
    ijk = np.indices(volume.shape).reshape(3, -1).T[:, ::-1]
    return volume.with_voxels((volume.to_ras(ijk) @ slope).reshape(volume.shape))


def pixel_centres(plane: Plane) -> np.ndarray:
    """(rows, columns, 3) RAS of every pixel."""
    rows, columns = np.indices(plane.shape)
    return plane.to_ras(np.stack([columns, rows], axis=-1))


@given(volumes(), st.data())
def test_an_oblique_cut_of_a_ramp_is_the_ramp_and_outside_is_outside(volume: Volume, data: st.DataObject) -> None:
    slope = np.array([0.5, -0.25, 0.125])
    plane = data.draw(oblique_planes(volume))
    image = cut(ramp(volume, slope), plane, outside=-1e6)
    assert image.shape == plane.shape
    centres = pixel_centres(plane)
    ijk = volume.to_ijk(centres)
    last = np.array(volume.shape)[::-1] - 1
    within = ((ijk >= 0) & (ijk <= last)).all(axis=-1)
    assert np.allclose(image[within], (centres @ slope)[within], rtol=0, atol=2e-3)
    beyond = ((ijk < -0.5 - NOISE) | (ijk > last + 0.5 + NOISE)).any(axis=-1)
    assert (image[beyond] == -1e6).all()


def test_half_a_voxel_over_the_edge_still_shows_the_edge() -> None:
    volume = Volume(np.arange(8.0).reshape(2, 2, 2))
    matrix = np.eye(4)
    matrix[:3, 3] = -0.4, 0, 0
    image = cut(volume, Plane(matrix, (2, 3)), outside=-1)
    assert np.allclose(image, [[0, 0.6, -1], [2, 2.6, -1]])
    matrix[0, 3] = -0.6
    assert cut(volume, Plane(matrix, (2, 3)), outside=-1)[:, 0].tolist() == [-1, -1]


@pytest.mark.parametrize("degrees", [1, 10, 30, 40, 90])
def test_a_plane_turned_about_its_diagonal_is_not_mistaken_for_a_slice(degrees: float) -> None:
    """First and last pixel stay on the grid while the other two corners leave the slice."""
    slope = np.array([1.0, 10.0, 100.0])
    volume = ramp(Volume(np.zeros((21, 21, 21))), slope)
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(np.radians(degrees) * np.array([1, 1, 0]) / np.sqrt(2)).as_matrix()
    matrix[:3, 3] = volume.to_ras((0, 0, 10))
    plane = Plane(matrix, (21, 21))
    image = cut(volume, plane)
    centres = pixel_centres(plane)
    within = ((centres >= 0) & (centres <= 20)).all(axis=-1)
    assert np.allclose(image[within], (centres @ slope)[within], atol=1e-3)


def test_half_way_between_two_slices_is_their_mean() -> None:
    volume = Volume(np.stack([np.zeros((3, 4)), np.full((3, 4), 10.0)]), np.diag([0.7, 0.7, 5, 1]))
    matrix = volume.ijk_to_ras.copy()
    matrix[:3, 3] = volume.to_ras((0, 0, 0.5))
    assert (cut(volume, Plane(matrix, (3, 4))) == 5).all()


@pytest.mark.parametrize("index", [-1, 4, 100])
def test_a_slice_beside_the_volume_shows_only_outside(index: int) -> None:
    volume = Volume(np.ones((4, 5, 6), np.uint8))
    plane = slice_plane(volume, 0, index)
    assert (cut(volume, plane, outside=-3) == -3).all()
    assert put_back(np.ones(plane.shape, bool), plane, volume)[1].size == 0


def test_a_straight_plane_partly_outside_shows_exact_voxels_within() -> None:
    volume = Volume(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.diag([0.7, 0.7, 5, 1]))
    matrix = volume.ijk_to_ras.copy()
    matrix[:3, 3] = volume.to_ras((-2, -1, 1))
    image = cut(volume, Plane(matrix, (6, 9)), outside=-1)
    assert np.array_equal(image[1:5, 2:7], volume.voxels[1])
    image[1:5, 2:7] = -1
    assert (image == -1).all()


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", ">i2", "int32", "uint16", "float32", "float64"])
def test_oblique_cuts_of_every_kind_of_voxel_are_float32(dtype: str) -> None:
    voxels = np.ones((4, 4, 4), dtype)
    voxels.setflags(write=False)
    matrix = np.eye(4)
    matrix[:3, 3] = -2.75, 0.25, 0.25
    image = cut(Volume(voxels, np.diag([-1, 1, 1, 1])).reoriented("RAS"), Plane(matrix, (3, 3)))
    assert image.tolist() == np.ones((3, 3)).tolist()
    assert image.dtype == np.float32


# ── put_back ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def in_full(box: Box, bits: np.ndarray, volume: Volume) -> np.ndarray:
    full = np.zeros(volume.shape, dtype=bool)
    full[box] = bits
    return full


def offsets(plane: Plane, volume: Volume) -> tuple[np.ndarray, np.ndarray, int]:
    """Of every voxel (k, j, i): its distance from the plane in slices of the axis the plane faces, its continuous
    (column, row), and that (i, j, k) axis. Written plainly, voxel by voxel, to judge `put_back`."""
    across = np.cross(plane.pixel_to_ras[:3, 0], plane.pixel_to_ras[:3, 1])
    normal = across / np.linalg.norm(across)
    steps = normal @ volume.ijk_to_ras[:3, :3]
    axis = int(np.argmax(np.abs(steps)))
    ijk = np.indices(volume.shape)[::-1].transpose(1, 2, 3, 0)
    ras = volume.to_ras(ijk)
    slices = (ras - plane.pixel_to_ras[:3, 3]) @ normal / abs(steps[axis])
    return slices, plane.to_pixel(ras)[..., :2], axis


def certain_and_possible(mask: np.ndarray, plane: Plane, volume: Volume) -> tuple[np.ndarray, np.ndarray]:
    """Voxels that the rule covers without doubt, and those it covers if ties go that way."""
    slices, pixels, _ = offsets(plane, volume)
    rows, columns = plane.shape
    padded = np.pad(mask, 1)

    def is_set(shift: tuple[float, float]) -> np.ndarray:
        column, row = np.rint(pixels + shift).astype(int).transpose(3, 0, 1, 2)
        return padded[np.clip(row, -1, rows) + 1, np.clip(column, -1, columns) + 1]

    around = [is_set((a, b)) for a in (-NOISE, NOISE) for b in (-NOISE, NOISE)]
    certain = np.all(around, axis=0) & (np.abs(slices) < 0.5 - NOISE)
    possible = np.any(around, axis=0) & (np.abs(slices) <= 0.5 + NOISE)
    return certain, possible


@settings(max_examples=150)
@given(volumes(most=9), st.data())
def test_put_back_covers_the_voxels_that_the_rule_names(volume: Volume, data: st.DataObject) -> None:
    """Nearest pixel set, within half a slice: compared with looking at every voxel of the volume."""
    plane = data.draw(oblique_planes(volume))
    mask = np.random.default_rng(data.draw(st.integers(0, 99))).random(plane.shape) < data.draw(
        st.sampled_from([0.1, 0.7])
    )
    box, bits = put_back(mask, plane, volume)
    covered = in_full(box, bits, volume)
    certain, possible = certain_and_possible(mask, plane, volume)
    assert not (certain & ~covered).any()
    assert not (covered & ~possible).any()


@settings(max_examples=150)
@given(volumes(most=9), rotations(), st.data())
def test_a_full_mask_gives_one_voxel_in_every_column_that_the_plane_meets(
    volume: Volume, turned: np.ndarray, data: st.DataObject
) -> None:
    """No holes and no double layers, at any angle and for voxels of any shape."""
    size_mm = float(np.linalg.norm(np.array(volume.shape)[::-1] * volume.spacing)) + 1
    pixels = 40
    matrix = np.eye(4)
    matrix[:3, :3] = turned * (2 * size_mm / pixels)
    through = volume.to_ras([data.draw(numbers(0, 1)) * (n - 1) for n in volume.shape[::-1]])
    matrix[:3, 3] = through - matrix[:3, :3] @ [(pixels - 1) / 2, (pixels - 1) / 2, 0]
    plane = Plane(matrix, (pixels, pixels))
    covered = in_full(*put_back(np.ones(plane.shape, bool), plane, volume), volume)
    slices, _, axis = offsets(plane, volume)
    layers = covered.sum(axis=2 - axis)
    assert layers.max() <= 1
    met = (np.abs(slices) < 0.5 - NOISE).any(axis=2 - axis)
    assert (layers[met] == 1).all()


def tilted(volume: Volume, degrees: float) -> Plane:
    """A plane of 301 × 301 pixels of 1 mm through the middle of the volume, turned about its j axis."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.eye(4)
    matrix[:3, :3] = [[c, 0, -s], [0, 1, 0], [s, 0, c]]
    matrix[:3, 3] = volume.to_ras((np.array(volume.shape)[::-1] - 1) / 2) - matrix[:3, :3] @ [150, 150, 0]
    return Plane(matrix, (301, 301))


@pytest.mark.parametrize("degrees", [20, 45, 70])
def test_a_narrow_line_on_a_plane_tilted_through_thick_slices_is_complete(degrees: float) -> None:
    """Half of a thick slice reaches several thin voxels to the side of the line."""
    volume = Volume(np.zeros((20, 4, 60), np.uint8), np.diag([0.5, 0.5, 8.0, 1.0]))
    plane = tilted(volume, degrees)
    for column in range(145, 156):
        mask = np.zeros(plane.shape, bool)
        mask[:, column] = True
        covered = in_full(*put_back(mask, plane, volume), volume)
        certain, possible = certain_and_possible(mask, plane, volume)
        assert not (certain & ~covered).any()
        assert not (covered & ~possible).any()


@given(volumes(), st.data())
def test_straight_planes_go_back_exactly(volume: Volume, data: st.DataObject) -> None:
    plane, _ = data.draw(straight_planes(volume))
    mask = np.random.default_rng(data.draw(st.integers(0, 99))).random(plane.shape) < 0.5
    box, bits = put_back(mask, plane, volume)
    covered = volume.with_voxels(in_full(box, bits, volume))
    assert np.array_equal(cut(covered, plane), mask)
    assert covered.voxels.sum() == mask.sum()


@given(volumes(), st.data())
def test_the_box_is_as_small_as_what_it_holds(volume: Volume, data: st.DataObject) -> None:
    plane = data.draw(oblique_planes(volume))
    box, bits = put_back(np.ones(plane.shape, bool), plane, volume)
    assert bits.shape == tuple(s.stop - s.start for s in box)
    assert all(0 <= s.start <= s.stop <= n for s, n in zip(box, volume.shape, strict=True))
    for axis in range(3):
        if bits.size:
            assert bits.take(0, axis).any()
            assert bits.take(-1, axis).any()


@pytest.mark.parametrize("offset", [0.5, 1.5, -0.5])
def test_half_way_between_two_slices_exactly_one_of_them_is_taken(offset: float) -> None:
    volume = Volume(np.zeros((4, 5, 6)), np.diag([0.7, 0.7, 5, 1]))
    matrix = volume.ijk_to_ras.copy()
    for noise in (-1e-9, 0, 1e-9):
        matrix[:3, 3] = volume.to_ras((0, 0, offset + noise))
        box, bits = put_back(np.ones((5, 6), bool), Plane(matrix, (5, 6)), volume)
        assert bits.all()
        assert box == (slice(int(np.floor(offset)) + 1, int(np.floor(offset)) + 2), slice(0, 5), slice(0, 6))


@pytest.mark.parametrize("flipped", [False, True])
def test_the_slice_does_not_depend_on_the_side_the_plane_is_seen_from(flipped: bool) -> None:
    volume = Volume(np.zeros((4, 5, 6)), np.diag([0.7, 0.7, 5, 1]))
    matrix = volume.ijk_to_ras.copy()
    matrix[:3, 3] = volume.to_ras((0, 0, 1.5))
    matrix[:3, 2] *= -1 if flipped else 1
    assert put_back(np.ones((5, 6), bool), Plane(matrix, (5, 6)), volume)[0][0] == slice(2, 3)


@pytest.mark.parametrize("degrees", [5, 30, 60, 80, 85, 89])
def test_thick_slices_leave_no_gaps_on_a_tilted_plane(degrees: float) -> None:
    """5 mm slices, 0.7 mm pixels: neighbours in the result touch, as a surface on the grid must."""
    volume = Volume(np.zeros((20, 60, 60), np.uint8), np.diag([0.7, 0.7, 5.0, 1.0]))
    plane = tilted(volume, degrees)
    covered = in_full(*put_back(np.ones(plane.shape, bool), plane, volume), volume)
    assert covered.any()
    assert label(covered, np.ones((3, 3, 3)))[1] == 1
    slices, _, axis = offsets(plane, volume)
    assert covered.sum() == (np.abs(slices) < 0.5).any(axis=2 - axis).sum()


def test_directions_rounded_by_the_scanner_do_not_move_a_mask_to_the_next_slice() -> None:
    """A thousandth off a right angle is accepted as rounding; over 512 pixels it is half a thin slice."""
    matrix = np.diag([0.8, 0.8, 0.3, 1.0])
    matrix[:3, 2] = 0.3 * np.array([9e-4, 0, 1])
    volume = Volume(np.zeros((6, 4, 512), np.uint8), matrix)
    for index in range(6):
        plane = slice_plane(volume, 0, index)
        box, bits = put_back(np.ones(plane.shape, bool), plane, volume)
        assert bits.all()
        assert box == (slice(index, index + 1), slice(0, 4), slice(0, 512))


def test_an_empty_mask_gives_an_empty_box() -> None:
    volume = Volume(np.zeros((4, 5, 6)))
    box, bits = put_back(np.zeros((5, 6), bool), slice_plane(volume, 0, 1), volume)
    assert bits.size == 0
    assert volume.voxels[box].size == 0


def test_a_mask_of_another_size_is_a_mistake_of_the_caller() -> None:
    volume = Volume(np.zeros((4, 5, 6)))
    with pytest.raises(ValueError, match="does not fit"):
        put_back(np.zeros((6, 5), bool), slice_plane(volume, 0, 1), volume)


# ── the plane itself ─────────────────────────────────────────────────────────────────────────────────────────────────


@given(volumes(), st.data())
def test_pixels_and_patient_space_undo_each_other(volume: Volume, data: st.DataObject) -> None:
    plane = data.draw(oblique_planes(volume))
    pixels = data.draw(st.lists(st.tuples(*[numbers(-50, 50)] * 2), min_size=1, max_size=5))
    back = plane.to_pixel(plane.to_ras(pixels))
    assert np.allclose(back[:, :2], pixels, rtol=0, atol=1e-6)
    assert np.allclose(back[:, 2], 0, atol=1e-6)
    ahead = plane.to_ras(pixels) + plane.normal * np.linalg.norm(plane.pixel_to_ras[:3, 2])
    assert np.allclose(plane.to_pixel(ahead)[:, 2], 1)


def test_a_slanted_plane_is_refused() -> None:
    matrix = np.eye(4)
    matrix[0, 1] = 0.5
    with pytest.raises(InputError, match="the slice plane has sheared axes"):
        Plane(matrix, (4, 4))
