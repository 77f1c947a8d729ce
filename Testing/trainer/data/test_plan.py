"""What is proposed for data of several kinds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.models.package import IntensityRule
from Testing.strategies import numbers
from Testing.trainer.data.folders import write_folder
from trainer.data.fingerprint import CaseFacts, Fingerprint, Intensities, inspect
from trainer.data.plan import propose
from trainer.data.plan_file import check_plan

SIZES, SPACINGS = st.tuples(*[st.integers(1, 600)] * 3), st.tuples(*[numbers(0.2, 8.0)] * 3)
WHOLE = Intensities(-1000.0, -500.0, 900.0, -300.0, 400.0)
ORGANS = Intensities(-59.6, 60.0, 210.2, 70.0, 50.0)


def facts(
    size: tuple[int, int, int], spacing: tuple[float, float, float], *, body: float = 1.0, cut: float = 0.0,
    zeros: float = 0.0,
) -> CaseFacts:  # fmt: skip
    return CaseFacts("case", size, spacing, "RAS", "", body, cut, zeros, {1: 5.0})


def fingerprint(*of: CaseFacts, modality: str = "CT", names: tuple[str, ...] = ("liver",)) -> Fingerprint:
    labels = tuple(Label(value, name) for value, name in enumerate(names, start=1))
    return Fingerprint(Path("/data/set"), (), of, labels, modality, ORGANS, WHOLE)


def test_ct_is_windowed_by_what_the_labelled_voxels_have() -> None:
    plan = propose(fingerprint(facts((100, 100, 100), (1, 1, 1))))
    assert plan.preprocessing.intensity == IntensityRule("window", -60.0, 211.0)


def test_mr_is_standardised_within_each_scan() -> None:
    full, stripped = (facts((100, 100, 100), (1, 1, 1), zeros=zeros) for zeros in (0.1, 0.6))
    assert propose(fingerprint(full, modality="MR")).preprocessing.intensity == IntensityRule("zscore")
    assert propose(fingerprint(stripped, modality="MR")).preprocessing.intensity == IntensityRule(
        "zscore", nonzero=True
    )


def test_the_grid_has_the_middle_spacing() -> None:
    found = fingerprint(*(facts((90, 90, 60), (mm, mm, 1.5 * mm)) for mm in (0.8, 1.0, 1.4)))
    assert propose(found).preprocessing.spacing == (1.0, 1.0, 1.5)


def test_thick_slices_take_a_finer_spacing_of_the_set() -> None:
    found = fingerprint(*(facts((200, 200, 40), (1, 1, mm)) for mm in (3, 4, 5, 5, 5)))
    assert propose(found).preprocessing.spacing == (1.0, 1.0, 3.4)


def test_slices_lie_along_k_however_they_were_acquired() -> None:
    coronal, sagittal = fingerprint(facts((64, 20, 64), (1, 4, 1))), fingerprint(facts((20, 64, 64), (4, 1, 1)))
    assert propose(coronal).preprocessing.orientation == "RSA"
    plan = propose(sagittal, dims=2)
    assert plan.preprocessing.orientation == "ASR"
    assert plan.preprocessing.spacing == (1.0, 1.0, 4.0)
    assert plan.patch == (64, 64, 1)


def test_patches_of_small_scans_are_about_as_large_as_they_are() -> None:
    assert propose(fingerprint(facts((35, 50, 36), (1, 1, 1)))).patch == (32, 48, 32)


def test_scans_far_larger_than_a_patch_get_a_coarser_grid() -> None:
    found = fingerprint(facts((512, 512, 280), (0.7, 0.7, 1.0)))
    for budget, coarser in (("cpu", True), ("gpu", False)):
        spacing = propose(found, budget=budget).preprocessing.spacing
        assert (spacing[0] > 0.75) == coarser
        assert spacing[2] / spacing[0] == pytest.approx(1 / 0.7, rel=1e-3)


def test_the_air_is_left_out_only_where_no_label_goes_with_it() -> None:
    bodies = [facts((99, 99, 99), (1, 1, 1), body=b, cut=c) for b, c in ((0.5, 0.0), (0.95, 0.0), (0.5, 0.01))]
    assert [propose(fingerprint(body)).preprocessing.crop_to_body for body in bodies] == [True, False, False]


def test_names_that_tell_sides_are_not_mirrored() -> None:
    one = facts((64, 64, 64), (1, 1, 1))
    assert propose(fingerprint(one)).augmentation.mirror == (0, 1, 2)
    assert propose(fingerprint(one), dims=2).augmentation.mirror == (0, 1)
    assert propose(fingerprint(one, names=("right kidney", "left kidney"))).augmentation.mirror == ()


def test_labels_that_come_in_pairs_are_not_mirrored_though_nobody_named_their_sides() -> None:
    def kidneys(places: dict, **volumes: float) -> Fingerprint:
        one = facts((64, 64, 64), (1, 1, 1))
        sizes = {1: 150.0, 2: volumes.get("second", 160.0)}
        return fingerprint(*[replace(one, centres=places, volumes=sizes)] * 2, names=("label 1", "label 2"))

    beside = {1: (60.0, -30.0, 5.0), 2: (-65.0, -28.0, 0.0)}
    assert propose(kidneys(beside)).augmentation.mirror == ()
    assert propose(kidneys(beside, second=900.0)).augmentation.mirror == (0, 1, 2)
    before = {1: (2.0, 10.0, 5.0), 2: (-1.0, -12.0, 0.0)}
    assert propose(kidneys(before)).augmentation.mirror == (0, 1, 2)


@settings(deadline=None)
@given(
    st.lists(st.tuples(SIZES, SPACINGS), min_size=1, max_size=4),
    st.sampled_from([2, 3]),
    st.sampled_from(["cpu", "gpu"]),
)  # fmt: skip
def test_every_proposal_can_be_trained_with(scans: list, dims: int, budget: str) -> None:
    plan = propose(fingerprint(*(facts(*scan) for scan in scans), modality="MR"), dims=dims, budget=budget)
    check_plan(plan, "plan")
    assert all(side % 16 == 0 for side in plan.patch[:dims])
    assert np.prod(plan.patch) <= 112 * 112 * 96
    assert (plan.patch[2] == 1) == (dims == 2)
    assert plan.batch >= 2


def test_a_patch_for_very_small_scans_leaves_the_deepest_layer_more_than_a_voxel(tmp_path: Path) -> None:
    write_folder(tmp_path, labelled=2)
    plan = propose(inspect(tmp_path))
    assert sorted(plan.patch) == [16, 16, 32]
