"""Which slices a sheet shows, and that left is left."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from SSLSegmentationLib.report.layout import SOFT_TISSUE, VIEWED, Panel, panels, scale_bar_mm, shown_window
from SSLSegmentationLib.volume import Volume
from Testing.strategies import matrices, numbers, orientations


def marked() -> tuple[Volume, Volume]:
    """A scan with one bright voxel far to the right, the front and the head, and a label on it."""
    matrix = np.diag([2.0, 3.0, 4.0, 1.0])
    voxels = np.zeros((10, 12, 14))
    voxels[8, 10, 12] = 1
    scan = Volume(voxels, matrix)
    return scan, scan.with_voxels(voxels.astype(np.uint8))


@settings(deadline=None, max_examples=48)
@given(orientations())
def test_planes_are_hung_as_radiologists_hang_them(orientation: str) -> None:
    found = panels(*(volume.reoriented(orientation) for volume in marked()))
    assert [panel.name for panel in found] == ["Axial", "Coronal", "Sagittal"]
    edges = [panel.left + panel.right + panel.top + panel.bottom for panel in found]
    assert edges == ["RLAP", "RLSI", "APSI"]


@settings(deadline=None, max_examples=48)
@given(orientations())
def test_what_lies_right_front_and_up_is_shown_there(orientation: str) -> None:
    scan, labels = (volume.reoriented(orientation) for volume in marked())
    viewed = scan.reoriented(VIEWED)
    axial, coronal, sagittal = (np.argwhere(panel.of(viewed) == 1).tolist() for panel in panels(scan, labels))
    assert axial == [[1, 1]]  # near the top, which is the front, and near the left, which is the patient's right
    assert coronal == [[1, 1]]
    assert sagittal == [[1, 1]]


@settings(deadline=None, max_examples=25)
@given(matrices(), st.tuples(*[st.integers(2, 9)] * 3))
def test_panels_have_the_size_of_the_scan_in_millimetres(matrix: np.ndarray, shape: tuple[int, int, int]) -> None:
    volume = Volume(np.zeros(shape), matrix)
    viewed = volume.reoriented(VIEWED)
    width, depth, height = viewed.spacing * viewed.shape[::-1]
    sizes = [panel.size_mm for panel in panels(volume, None)]
    assert np.allclose(sizes, [(width, depth), (width, height), (depth, height)])


def test_without_labels_the_middle_is_shown() -> None:
    assert [panel.index for panel in panels(Volume(np.zeros((5, 7, 9))), None)] == [2, 3, 4]
    empty = Volume(np.zeros((5, 7, 9), np.uint8))
    assert [panel.index for panel in panels(empty, empty)] == [2, 3, 4]


def test_the_slice_with_more_organs_wins_over_the_one_with_a_larger_organ() -> None:
    labels = np.zeros((6, 20, 20), np.uint8)
    labels[1, :10, :10] = 1
    for value in range(1, 5):
        labels[4, 5 * value - 5 : 5 * value, :9] = value
    volume = Volume(labels).reoriented("RAS")
    axial = panels(volume, volume)[0]
    assert axial.of(volume.reoriented(VIEWED)).max() == 4


def test_a_single_labelled_voxel_in_a_large_scan_is_found() -> None:
    labels = np.zeros((400, 330, 350), np.uint8)
    labels[301, 7, 11] = 1
    volume = Volume(labels)
    assert all(panel.of(volume.reoriented(VIEWED)).any() for panel in panels(volume, volume))


def test_a_scan_of_one_slice_is_shown_once() -> None:
    volume = Volume(np.zeros((1, 8, 9)))
    assert [panel.name for panel in panels(volume, None)] == ["Axial"]
    assert len(panels(Volume(np.zeros((1, 1, 1))), None)) == 3


def test_pixels_of_a_panel_are_not_copied() -> None:
    volume = Volume(np.zeros((5, 6, 7)))
    panel = panels(volume, None)[1]
    assert isinstance(panel, Panel)
    assert np.shares_memory(panel.of(volume.reoriented(VIEWED)), volume.voxels)


def test_ct_is_shown_as_soft_tissue_also_where_the_file_does_not_say_ct() -> None:
    air_and_tissue = np.concatenate([np.full(500, -1000), np.full(499, 50), [900]]).reshape(20, 50)
    assert shown_window([air_and_tissue], "CT") == SOFT_TISSUE
    assert shown_window([air_and_tissue], "") == SOFT_TISSUE
    assert shown_window([air_and_tissue], "MR") != SOFT_TISSUE


def test_other_scans_are_shown_between_their_percentiles() -> None:
    low, high = shown_window([np.arange(1001.0).reshape(7, 143)], "MR")
    assert (low, high) == pytest.approx((10, 990), abs=1)


@pytest.mark.parametrize("value", [0.0, -3.5, np.nan])
def test_a_scan_of_one_value_still_has_a_window(value: float) -> None:
    low, high = shown_window([np.full((4, 5), value)], "")
    assert low < high


@settings(deadline=None, max_examples=40)
@given(numbers(0.5, 5000.0))
def test_the_scale_bar_is_a_round_number_and_fits(width: float) -> None:
    bar = scale_bar_mm(width)
    assert width / 8 < bar <= width / 3 * 1.0001
    assert f"{bar:.0e}"[0] in "125"
