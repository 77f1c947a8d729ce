"""The synthetic abdomen: the same for a seed, with every organ in its place and as bright as on a CT."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from SSLSegmentationLib.phantom import abdomen_phantom
from SSLSegmentationLib.phantom.names import organ_labels
from SSLSegmentationLib.volume import Volume

COARSE = {"shape": (75, 96, 96), "spacing": (3.8, 3.8, 4.0)}
SPLEEN, RIGHT_KIDNEY, LEFT_KIDNEY, GALLBLADDER, OESOPHAGUS, LIVER, STOMACH = range(1, 8)
AORTA, VENA_CAVA, PORTAL_VEIN, PANCREAS, RIGHT_ADRENAL, LEFT_ADRENAL = range(8, 14)
SEEDS = [0, 1, 5]


@cache
def phantom(seed: int, with_contrast: bool = True) -> tuple[Volume, Volume]:
    return abdomen_phantom(seed, **COARSE, with_contrast=with_contrast)


def centre(labels: Volume, value: int) -> np.ndarray:
    """Mean RAS position of an organ."""
    return labels.to_ras(np.argwhere(labels.voxels == value)[:, ::-1].mean(axis=0))


def hounsfield(seed: int, value: int, with_contrast: bool = True) -> float:
    scan, labels = phantom(seed, with_contrast)
    return float(np.median(scan.voxels[labels.voxels == value]))


def test_a_seed_always_gives_the_same_patient() -> None:
    scan, labels = abdomen_phantom(3, shape=(12, 20, 24), spacing=(15.0, 15.0, 20.0))
    again, labels_again = abdomen_phantom(3, shape=(12, 20, 24), spacing=(15.0, 15.0, 20.0))
    assert np.array_equal(scan.voxels, again.voxels)
    assert np.array_equal(labels.voxels, labels_again.voxels)
    assert scan.same_grid_as(again)


def test_another_seed_gives_another_patient() -> None:
    assert (phantom(0)[1].voxels != phantom(1)[1].voxels).mean() > 0.02


def test_scan_and_labels_share_a_grid_and_say_what_they_are() -> None:
    scan, labels = abdomen_phantom(0, shape=(10, 14, 16), spacing=(20.0, 21.0, 25.0))
    assert scan.shape == labels.shape == (10, 14, 16)
    assert np.allclose(scan.spacing, (20.0, 21.0, 25.0))
    assert scan.orientation == "LPS"
    assert scan.same_grid_as(labels)
    assert (scan.voxels.dtype, labels.voxels.dtype, scan.modality) == (np.int16, np.uint8, "CT")


def test_the_patient_does_not_depend_on_the_grid() -> None:
    labels, finer = phantom(0)[1], abdomen_phantom(0, shape=(100, 128, 128), spacing=(2.85, 2.85, 3.0))[1]
    for value in (SPLEEN, LIVER, RIGHT_KIDNEY):
        assert np.linalg.norm(centre(labels, value) - centre(finer, value)) < 2.0
        ml, finer_ml = ((v.voxels == value).sum() * v.voxel_ml for v in (labels, finer))
        assert ml == pytest.approx(finer_ml, rel=0.05)


@pytest.mark.parametrize("seed", SEEDS)
def test_all_thirteen_organs_are_there(seed: int) -> None:
    assert set(np.unique(phantom(seed)[1].voxels)) == set(range(14))


def test_some_patients_have_no_gallbladder() -> None:
    _, labels = abdomen_phantom(18, shape=(30, 40, 40), spacing=(9.0, 9.0, 10.0))
    assert set(range(1, 14)) - set(np.unique(labels.voxels)) == {GALLBLADDER}


@pytest.mark.parametrize("seed", SEEDS)
def test_left_and_right_are_those_of_the_patient(seed: int) -> None:
    labels = phantom(seed)[1]
    right = {value: centre(labels, value)[0] for value in range(1, 14)}
    assert right[LIVER] > 25 > -25 > right[SPLEEN]
    assert right[RIGHT_KIDNEY] > 35
    assert right[LEFT_KIDNEY] < -35
    assert right[STOMACH] < 0 < right[GALLBLADDER]
    assert right[VENA_CAVA] > right[AORTA] + 15
    assert right[RIGHT_ADRENAL] > 10 > -10 > right[LEFT_ADRENAL]


@pytest.mark.parametrize("seed", SEEDS)
def test_front_and_back_head_and_foot_are_those_of_the_patient(seed: int) -> None:
    labels = phantom(seed)[1]
    _, front, up = np.array([centre(labels, value) for value in range(1, 14)]).T
    assert front[STOMACH - 1] > front[AORTA - 1] > front[RIGHT_KIDNEY - 1]
    assert front[PANCREAS - 1] > front[AORTA - 1]
    assert up[SPLEEN - 1] > up[LEFT_KIDNEY - 1] > up[RIGHT_KIDNEY - 1]
    assert up[RIGHT_ADRENAL - 1] > up[RIGHT_KIDNEY - 1]
    assert up[OESOPHAGUS - 1] == up.max()


@pytest.mark.parametrize("seed", SEEDS)
def test_organs_have_the_volumes_of_adults(seed: int) -> None:
    labels = phantom(seed)[1]
    ml = np.bincount(labels.voxels.ravel(), minlength=14) * labels.voxel_ml
    assert 700 < ml[LIVER] < 2500
    assert 60 < ml[SPLEEN] < 400
    assert 70 < ml[RIGHT_KIDNEY] < 260
    assert 25 < ml[PANCREAS] < 140
    assert 1 < ml[LEFT_ADRENAL] < 8


@pytest.mark.parametrize("seed", SEEDS)
def test_tissues_are_as_bright_as_in_a_portal_venous_phase(seed: int) -> None:
    scan, _ = phantom(seed)
    assert -1024 <= scan.voxels.min() <= -950
    assert scan.voxels.max() > 500  # cortical bone
    assert 70 < hounsfield(seed, LIVER) < 170
    assert 70 < hounsfield(seed, SPLEEN) < 190
    assert hounsfield(seed, AORTA) > hounsfield(seed, LIVER)
    assert hounsfield(seed, RIGHT_KIDNEY) > hounsfield(seed, PANCREAS)


def test_without_contrast_vessels_are_no_brighter_than_the_liver() -> None:
    assert hounsfield(0, AORTA, with_contrast=False) < 65
    assert 35 < hounsfield(0, LIVER, with_contrast=False) < 75
    assert np.array_equal(phantom(0)[1].voxels, phantom(0, with_contrast=False)[1].voxels)


def test_air_and_a_table_lie_around_the_patient() -> None:
    scan, labels = phantom(0)
    assert (scan.voxels < -900).mean() > 0.3
    back_row = np.flatnonzero((labels.voxels > 0).any(axis=(0, 2))).max()
    behind = scan.voxels[:, back_row + 16 :].max(axis=(0, 2))  # 60 mm behind the last organ
    assert (behind > -700).any()


def test_the_table_of_organs_has_the_codes_that_slicer_writes() -> None:
    labels = organ_labels()
    assert [label.value for label in labels] == list(range(1, 14))
    liver, right_kidney = labels[LIVER - 1], labels[RIGHT_KIDNEY - 1]
    assert liver.terminology == (
        "Segmentation category and type - 3D Slicer General Anatomy list~SCT^123037004^Anatomical Structure"
        "~SCT^10200004^Liver~^^~Anatomic codes - DICOM master list~^^~^^"
    )
    assert liver.color == pytest.approx((221 / 255, 130 / 255, 101 / 255))
    assert "~SCT^64033007^Kidney~SCT^24028007^Right~" in right_kidney.terminology
    assert len({label.terminology for label in labels}) == 13
    assert all(label.terminology.count("~") == 6 and label.terminology.count("^") == 10 for label in labels)
