"""Volume: a point in RAS names the same voxel, whatever is done to the axes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.volume import Volume, orientation_of
from Testing.strategies import ORIENTATIONS, directions_of, matrices, numbers, volumes


def every_index(volume: Volume) -> np.ndarray:
    """(i, j, k) of every voxel, in the order of the array."""
    return np.indices(volume.shape).reshape(3, -1).T[:, ::-1]


def value_at(volume: Volume, ras: np.ndarray) -> np.ndarray:
    """Values of the voxels whose centres lie at the points; fails if none does."""
    exact = volume.to_ijk(ras)
    ijk = np.rint(exact).astype(int)
    assert np.abs(exact - ijk).max() < 1e-6
    assert (ijk >= 0).all()
    return volume.voxels[tuple(ijk.T[::-1])]


@given(matrices(), st.lists(st.tuples(*[numbers(-600, 600)] * 3), min_size=1, max_size=5))
def test_to_ras_and_to_ijk_undo_each_other(matrix: np.ndarray, points: list[tuple[float, ...]]) -> None:
    volume = Volume(np.zeros((1, 2, 3)), matrix)
    assert np.allclose(volume.to_ras(volume.to_ijk(points)), points, rtol=0, atol=1e-6)
    assert np.allclose(volume.to_ijk(volume.to_ras(points)), points, rtol=0, atol=1e-6)


def test_points_keep_their_array_shape() -> None:
    volume = Volume(np.zeros((2, 3, 4)))
    assert volume.to_ras((1, 2, 3)).shape == (3,)
    assert volume.to_ras(np.zeros((5, 7, 3))).shape == (5, 7, 3)


def test_indices_are_i_j_k_while_the_array_is_k_j_i() -> None:
    voxels = np.zeros((2, 3, 4))
    voxels[1, 2, 3] = 7
    volume = Volume(voxels, np.diag([0.5, 2.0, 5.0, 1.0]))
    assert volume.to_ras((3, 2, 1)).tolist() == [1.5, 4.0, 5.0]
    assert volume.spacing.tolist() == [0.5, 2.0, 5.0]
    assert volume.voxel_ml == pytest.approx(0.005)
    assert value_at(volume, np.array([[1.5, 4.0, 5.0]])) == 7


@given(volumes(), st.sampled_from(ORIENTATIONS))
def test_reorienting_leaves_every_voxel_where_it_was(volume: Volume, target: str) -> None:
    turned = volume.reoriented(target)
    ras = volume.to_ras(every_index(volume))
    assert value_at(turned, ras).tolist() == volume.voxels.ravel().tolist()
    assert sorted(turned.shape) == sorted(volume.shape)
    assert np.shares_memory(turned.voxels, volume.voxels)


@given(matrices(), st.sampled_from(ORIENTATIONS))
def test_reorienting_gives_the_orientation_asked_for_and_leads_back(matrix: np.ndarray, target: str) -> None:
    volume = Volume(np.zeros((2, 3, 4)), matrix)
    nearest = np.sort(np.abs(volume.directions), axis=0)
    assume((nearest[2] - nearest[1]).min() > 1e-3)  # half-way between two letters either is right
    turned = volume.reoriented(target)
    assert turned.orientation == target
    back = turned.reoriented(volume.orientation)
    assert back.same_grid_as(volume, tolerance_mm=1e-9)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_reorienting_to_ras_and_back_restores_all_48_straight_grids(orientation: str) -> None:
    matrix = np.eye(4)
    matrix[:3, :3] = directions_of(orientation) * (0.7, 0.8, 5.0)
    volume = Volume(np.arange(24).reshape(2, 3, 4), matrix)
    assert volume.orientation == orientation
    ras = volume.reoriented("RAS")
    assert (np.diag(ras.ijk_to_ras) > 0).all()
    back = ras.reoriented(orientation)
    assert back.same_grid_as(volume)
    assert np.array_equal(back.voxels, volume.voxels)


@pytest.mark.parametrize("degrees", [45.0, 135.0, -45.0])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_file_that_rounds_a_matrix_does_not_change_its_orientation(orientation: str, degrees: float) -> None:
    """At exactly 45 degrees two letters are equally near, and a NIfTI file keeps six digits of the directions."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    exact = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ directions_of(orientation)
    rng = np.random.default_rng(0)
    letters = {orientation_of(np.pad(exact + rng.normal(0, 1e-6, (3, 3)), (0, 1))) for _ in range(10)}
    assert letters == {orientation_of(np.pad(exact, (0, 1)))}


@pytest.mark.parametrize("degrees", [45.0, 135.0, -45.0])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_half_way_between_two_letters_reorienting_still_leads_back(orientation: str, degrees: float) -> None:
    """At exactly 45 degrees two letters are equally near; rounding must not choose now one and now the other."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    for turn in (
        [[c, -s, 0], [s, c, 0], [0, 0, 1]],
        [[1, 0, 0], [0, c, -s], [0, s, c]],
        [[c, 0, s], [0, 1, 0], [-s, 0, c]],
    ):
        matrix = np.eye(4)
        matrix[:3, :3] = np.array(turn) @ directions_of(orientation) * (0.7, 0.8, 5.0)
        volume = Volume(np.zeros((2, 3, 4)), matrix)
        assert volume.reoriented("RAS").orientation == "RAS"
        assert volume.reoriented("RAS").reoriented(volume.orientation).same_grid_as(volume)


def test_every_axis_gets_a_letter_of_its_own_also_when_oblique() -> None:
    third = np.full((3, 3), -2 / 3) + np.eye(3)  # a mirror in the plane across (1, 1, 1): 1/3 and -2/3 everywhere
    matrix = np.eye(4)
    matrix[:3, :3] = third
    assert {letter in pair for letter in orientation_of(matrix) for pair in ("LR",)} == {True, False}
    assert len({next(p for p in ("LR", "PA", "IS") if letter in p) for letter in orientation_of(matrix)}) == 3


@pytest.mark.parametrize("wrong", ["", "RA", "RRS", "RAX", "RASL", "ras"])
def test_a_wrong_orientation_is_a_mistake_of_the_caller(wrong: str) -> None:
    with pytest.raises(ValueError, match="not an orientation"):
        Volume(np.zeros((1, 1, 1))).reoriented(wrong)


@given(volumes(), st.data())
def test_a_crop_shows_the_same_voxels_at_the_same_places(volume: Volume, data: st.DataObject) -> None:
    starts = [data.draw(st.integers(0, n - 1)) for n in volume.shape]
    stops = [data.draw(st.integers(a + 1, n)) for a, n in zip(starts, volume.shape, strict=True)]
    part = volume.cropped(tuple(slice(a, b) for a, b in zip(starts, stops, strict=True)))
    assert part.shape == tuple(np.subtract(stops, starts))
    ras = part.to_ras(every_index(part))
    assert value_at(volume, ras).tolist() == part.voxels.ravel().tolist()
    assert np.shares_memory(part.voxels, volume.voxels)


def test_a_crop_counts_from_the_end_as_slices_do() -> None:
    volume = Volume(np.arange(24).reshape(2, 3, 4))
    part = volume.cropped((slice(None), slice(-2, None), slice(1, -1)))
    assert part.ijk_to_ras[:3, 3].tolist() == [1, 1, 0]
    assert part.voxels.tolist() == volume.voxels[:, 1:, 1:3].tolist()


def test_a_crop_with_steps_is_refused_since_the_matrix_would_be_wrong() -> None:
    with pytest.raises(ValueError, match="steps"):
        Volume(np.zeros((4, 4, 4))).cropped((slice(None, None, 2), slice(None), slice(None)))


def test_same_grid_compares_size_and_every_corner() -> None:
    volume = Volume(np.zeros((10, 20, 30)), np.diag([0.7, 0.7, 5.0, 1.0]), name="scan")
    assert volume.same_grid_as(Volume(np.ones((10, 20, 30)), volume.ijk_to_ras, name="labels"))
    assert not volume.same_grid_as(Volume(np.zeros((10, 20, 29)), volume.ijk_to_ras))
    moved, stretched = volume.ijk_to_ras.copy(), volume.ijk_to_ras.copy()
    moved[0, 3] += 2e-3
    stretched[0, 0] += 1e-4  # 3 micrometres at the far side
    assert not volume.same_grid_as(Volume(volume.voxels, moved))
    assert volume.same_grid_as(Volume(volume.voxels, moved), tolerance_mm=5e-3)
    assert not volume.same_grid_as(Volume(volume.voxels, stretched))


def test_other_voxels_on_the_same_grid_must_have_its_size() -> None:
    volume = Volume(np.zeros((2, 3, 4)), np.diag([1.0, 2.0, 3.0, 1.0]), name="scan", modality="CT")
    labels = volume.with_voxels(np.ones((2, 3, 4), np.uint8), name="labels")
    assert labels.same_grid_as(volume)
    assert (labels.name, labels.modality, volume.name) == ("labels", "CT", "scan")
    with pytest.raises(ValueError, match="do not fit the grid of scan"):
        volume.with_voxels(np.ones((2, 3, 5)))


def test_a_volume_keeps_its_own_unchangeable_matrix_and_the_callers_array() -> None:
    voxels, matrix = np.zeros((2, 2, 2)), np.eye(4)
    volume = Volume(voxels, matrix)
    matrix[0, 3] = 100
    assert volume.to_ras((0, 0, 0)).tolist() == [0, 0, 0]
    assert volume.voxels is voxels
    with pytest.raises(ValueError, match="read-only"):
        volume.ijk_to_ras[0, 3] = 1


def slanted(degrees: float) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, 2] = 0, np.sin(np.radians(degrees)), np.cos(np.radians(degrees))
    return matrix


def changed(row: int, column: int, value: float) -> np.ndarray:
    matrix = np.eye(4)
    matrix[row, column] = value
    return matrix


@pytest.mark.parametrize(
    ("shape", "matrix", "fact", "remedy"),
    [
        ((4, 4), np.eye(4), "scan.nrrd has 2 dimensions", "choose one frame"),
        ((2, 4, 4, 4), np.eye(4), "scan.nrrd has 4 dimensions", "choose one frame"),
        ((4, 0, 5), np.eye(4), r"scan.nrrd has no voxels \(its size is \(5, 0, 4\)\)", "choose another file"),
        ((4, 4, 4), changed(1, 1, 0), r"spacing of zero \(1 × 0 × 1 mm\)", "correct the header"),
        ((4, 4, 4), changed(0, 3, np.nan), "no usable position in space", "convert it again"),
        ((4, 4, 4), changed(2, 2, np.inf), "no usable position in space", "convert it again"),
        ((4, 4, 4), changed(3, 0, 0.5), "no usable position in space", "convert it again"),
        ((4, 4, 4), np.eye(3), "no usable position in space", "convert it again"),
        ((4, 4, 4), slanted(12), "sheared axes .12.0 degrees off a right angle", "resample it"),
    ],
)
def test_what_is_no_volume_is_refused_in_one_sentence(
    shape: tuple[int, ...], matrix: np.ndarray, fact: str, remedy: str
) -> None:
    with pytest.raises(InputError, match=fact) as refusal:
        Volume(np.zeros(shape), matrix, name="scan.nrrd")
    sentence = str(refusal.value)
    assert remedy in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence


def test_directions_with_the_few_digits_that_scanners_write_are_not_sheared() -> None:
    c, s = round(np.cos(0.3), 4), round(np.sin(0.3), 4)
    matrix = np.eye(4)
    matrix[:3, :3] = [[c, -s, 0], [s, c, 0], [0, 0, 1]]
    assert Volume(np.zeros((2, 2, 2)), matrix).orientation == "RAS"
