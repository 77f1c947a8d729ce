from __future__ import annotations

import pytest
import torch

from trainer.parts.restoration import dilated, restoration_error, spoil, uncertain_region


def test_the_error_is_over_spoilt_voxels_alone() -> None:
    clean, restored = torch.zeros(1, 1, 4, 4, 4), torch.full((1, 1, 4, 4, 4), 100.0)
    touched = torch.zeros_like(clean, dtype=torch.bool)
    touched[0, 0, 1, :2, 0] = True
    restored[0, 0, 1, 0, 0], restored[0, 0, 1, 1, 0] = 1.0, 3.0
    restored.requires_grad_()
    error = restoration_error(restored, clean, touched)
    error.backward()
    assert error.item() == pytest.approx((1 + 9) / 2)
    assert (restored.grad[~touched] == 0).all()
    assert (restored.grad[touched] != 0).all()


def test_nothing_spoilt_costs_nothing_and_gives_no_nan() -> None:
    restored = torch.randn(1, 1, 4, 4, 4, requires_grad=True)
    error = restoration_error(restored, torch.zeros_like(restored), torch.zeros_like(restored, dtype=torch.bool))
    error.backward()
    assert error.item() == 0
    assert (restored.grad == 0).all()


@pytest.mark.parametrize("sides", [(16, 16, 16), (24, 24, 1)])
def test_doubt_is_near_the_boundary_or_of_high_entropy_in_the_region_of_interest(sides: tuple[int, int, int]) -> None:
    organ = torch.zeros(1, 1, *sides)
    organ[:, :, 4:8, 4:8] = 1
    p = torch.cat([0.99 - 0.98 * organ, 0.01 + 0.98 * organ], 1)
    p[:, :, 12, 12], p[:, :, 14, 1] = 0.5, 0.5  # inside and outside of what is of interest
    roi = torch.zeros(1, 1, *sides, dtype=torch.bool)
    roi[:, :, 10:15, 10:15] = True
    region = uncertain_region(p, roi, top=0.05, boundary=2)
    doubtful = region[0, 0, 10:].nonzero() + torch.tensor([10, 0, 0])
    assert len(doubtful)
    assert ((doubtful[:, :2] - 12).abs() <= 1).all()  # the doubt is smoothed
    assert region[0, 0, 2:4, 4:8].all()
    assert region[0, 0, 4:6, 4:8].all()
    assert not region[0, 0, 1, 4:8].any()


def test_without_a_region_of_interest_the_whole_patch_is() -> None:
    p = torch.full((1, 2, 6, 6, 6), 0.5)
    assert uncertain_region(p, torch.zeros(1, 1, 6, 6, 6, dtype=torch.bool)).any()


def test_dilation_reaches_so_many_voxels_along_each_axis() -> None:
    mask = torch.zeros(1, 1, 9, 9, 1, dtype=torch.bool)
    mask[0, 0, 4, 4] = True
    assert dilated(mask, 2).sum() == 25


def test_spoiling_stays_within_its_cubes_and_follows_its_seed() -> None:
    image = torch.randn(2, 1, 20, 20, 20)
    region = torch.zeros(2, 1, 20, 20, 20, dtype=torch.bool)
    region[0, 0, 5, 5, 5] = True
    spoilt, touched = spoil(image, region, cubes=(3, 5), sides=(4, 6), seed=1)
    assert torch.equal(spoilt[~touched], image[~touched])
    assert not torch.equal(spoilt, image)
    assert touched[0, 0, 3:7, 3:7, 3:7].all()
    assert touched[0].sum() <= 6**3
    assert not touched[1].any()
    again = spoil(image, region, cubes=(3, 5), sides=(4, 6), seed=1)
    assert torch.equal(again[0], spoilt)
