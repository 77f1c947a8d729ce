from __future__ import annotations

import numpy as np
import pytest

from SSLSegmentationLib.inference.body import body_box, body_mask
from SSLSegmentationLib.volume import Volume

SPACING = (3.0, 3.0, 5.0)
AIR, FAT, WATER, TABLE = -1000, -90, 40, -150


def ellipse(shape: tuple[int, int], centre: tuple[float, float], radii: tuple[float, float]) -> np.ndarray:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return ((rows - centre[0]) / radii[0]) ** 2 + ((columns - centre[1]) / radii[1]) ** 2 <= 1


def patient(slices: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """HU of a trunk with two arms and a lung, above a table; and where the body is."""
    plane = np.full((120, 150), AIR, dtype=np.int16)
    body = ellipse(plane.shape, (55, 75), (28, 40))
    arms = ellipse(plane.shape, (60, 22), (9, 9)) | ellipse(plane.shape, (60, 128), (9, 9))
    plane[body | arms] = FAT
    plane[ellipse(plane.shape, (55, 75), (24, 36))] = WATER
    plane[ellipse(plane.shape, (52, 60), (10, 10))] = AIR
    plane[88:90, 15:135] = TABLE
    voxels = np.repeat(plane[None], slices, axis=0)
    inside = np.repeat((body | arms)[None], slices, axis=0)
    voxels[:6], inside[:6] = AIR, False  # above the head
    voxels[:6, 88:90, 15:135] = TABLE
    return voxels, inside


def scan(voxels: np.ndarray, modality: str = "CT", spacing: tuple[float, float, float] = SPACING) -> Volume:
    return Volume(voxels, np.diag([*spacing, 1.0]), modality=modality)


def holds(box: tuple[slice, ...], inside: np.ndarray) -> bool:
    rest = inside.copy()
    rest[box] = False
    return not rest.any()


def part_of(box: tuple[slice, ...], shape: tuple[int, ...]) -> float:
    return float(np.prod([b.stop - b.start for b in box]) / np.prod(shape))


def test_the_box_holds_every_voxel_of_trunk_and_arms_and_leaves_out_table_and_air():
    voxels, inside = patient()
    box = body_box(scan(voxels))
    assert holds(box, inside)
    assert part_of(box, voxels.shape) < 0.5
    assert box[1].stop < 96  # the table's far side with the margin would be beyond
    assert box[0].start > 0


@pytest.mark.parametrize("floor", [-1024, -500, -200, -150])
def test_hounsfield_units_cut_off_below_give_the_same_body(floor: int):
    voxels, inside = patient()
    box = body_box(scan(np.maximum(voxels, floor)))
    assert holds(box, inside)
    assert part_of(box, voxels.shape) < 0.6


def test_padding_far_below_air_outside_the_circle_of_the_scanner_is_not_body():
    voxels, inside = patient()
    voxels[:, ~ellipse(voxels.shape[1:], (60, 75), (59, 74))] = -2000
    box = body_box(scan(voxels))
    assert holds(box, inside)
    assert part_of(box, voxels.shape) < 0.5


@pytest.mark.parametrize("seed", range(3))
def test_the_noise_of_an_mr_scan_is_not_body(seed: int):
    _, inside = patient()
    random = np.random.default_rng(seed)
    real, imaginary = random.normal(0, 18, (2, *inside.shape))
    voxels = np.hypot(np.where(inside, 600.0, 0.0) + real, imaginary).astype(np.uint16)
    box = body_box(scan(voxels, "MR"))
    assert holds(box, inside)
    assert part_of(box, voxels.shape) < 0.6


@pytest.mark.parametrize("modality", ["CT", "MR", ""])
@pytest.mark.parametrize("value", [-1000, 0, 40])
def test_a_volume_of_one_value_is_kept_whole(modality: str, value: int):
    voxels = np.full((5, 30, 40), value, dtype=np.int16)
    assert body_box(scan(voxels, modality)) == (slice(0, 5), slice(0, 30), slice(0, 40))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_volume_of_one_slice_is_cropped_to_the_body_in_it(axis: int):
    voxels, inside = patient()
    voxels, inside = (np.moveaxis(array[12:13], 0, axis) for array in (voxels, inside))
    box = body_box(Volume(voxels, np.diag([*SPACING, 1.0]), modality="CT"))
    assert holds(box, inside)
    assert box[axis] == slice(0, 1)
    assert part_of(box, voxels.shape) < 0.6


def test_a_body_that_fills_the_scan_is_kept_whole():
    voxels = np.random.default_rng(0).integers(-100, 200, (6, 40, 40)).astype(np.int16)
    voxels[0, 0, 0] = AIR
    assert body_box(scan(voxels)) == (slice(0, 6), slice(0, 40), slice(0, 40))


def test_a_body_at_the_edge_of_the_scan_is_kept_to_the_edge():
    voxels = np.full((10, 60, 60), AIR, dtype=np.int16)
    voxels[:, :30, 20:] = WATER
    box = body_box(scan(voxels))
    assert box[1].start == 0
    assert box[2].stop == 60
    assert holds(box, voxels == WATER)


@pytest.mark.parametrize("dtype", [">i2", "<f8", "<f4"])
def test_the_kind_of_number_does_not_matter(dtype: str):
    voxels, _ = patient()
    assert body_box(scan(voxels.astype(dtype))) == body_box(scan(voxels))


def test_the_mask_says_at_which_distance_it_was_taken():
    voxels, _ = patient()
    mask, stride = body_mask(scan(voxels, spacing=(0.9, 1.0, 5.0)))
    assert stride == (1, 4, 4)
    assert mask.shape == tuple(len(range(s // 2, n, s)) for n, s in zip(voxels.shape, stride, strict=True))
