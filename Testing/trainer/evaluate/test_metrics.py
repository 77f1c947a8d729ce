from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.evaluate.metrics import score

SHAPE = (12, 10, 8)


def blob(seed: int, threshold: float = 0.2) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(np.random.default_rng(seed).standard_normal(SHAPE), 1.5)
    return noise > threshold * noise.std()


spacings = st.tuples(*[st.floats(0.4, 4.0)] * 3)


# MONAI passes itself an argument that it has deprecated.
@pytest.mark.filterwarnings("ignore:monai.metrics.utils get_mask_edges:FutureWarning")
@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000), spacing=spacings, tolerance=st.floats(0.5, 4.0))
def test_every_measure_agrees_with_monai(seed: int, spacing: tuple[float, float, float], tolerance: float) -> None:
    import torch
    from monai.metrics.hausdorff_distance import compute_hausdorff_distance
    from monai.metrics.meandice import compute_dice
    from monai.metrics.meaniou import compute_iou
    from monai.metrics.surface_dice import compute_surface_dice
    from monai.metrics.utils import get_edge_surface_distance

    found, truth = blob(seed), blob(seed + 5000)
    ours = score(found, truth, spacing, tolerance)
    a, b = (torch.from_numpy(mask)[None, None].float() for mask in (found, truth))
    assert ours.dice == pytest.approx(compute_dice(a, b).item(), abs=1e-6)
    assert ours.jaccard == pytest.approx(compute_iou(a, b).item(), abs=1e-6)
    _, distances, _ = get_edge_surface_distance(a[0, 0], b[0, 0], spacing=spacing, symmetric=True)
    pooled = torch.cat([each.double() for each in distances]).numpy()
    assert ours.assd_mm == pytest.approx(pooled.mean(), rel=1e-5)
    assert ours.hd95_mm == pytest.approx(np.percentile(pooled, 95), rel=1e-5)
    far = compute_hausdorff_distance(a, b, percentile=95, spacing=spacing).item()
    assert ours.hd95_mm <= far + 1e-4, "pooled distances are never above the worse of the two directions"
    nsd = compute_surface_dice(a, b, [tolerance], include_background=True, spacing=spacing).item()
    assert ours.nsd == pytest.approx(nsd, abs=1e-6)


def test_voxel_units_are_millimetres_on_a_grid_of_one_millimetre() -> None:
    fine, coarse = score(blob(1), blob(2), (1.0, 1.0, 1.0)), score(blob(1), blob(2), (2.0, 2.0, 2.0))
    assert (fine.hd95_voxels, fine.assd_voxels) == (fine.hd95_mm, fine.assd_mm)
    assert (coarse.hd95_voxels, coarse.assd_voxels) == (fine.hd95_mm, fine.assd_mm)
    assert coarse.hd95_mm == pytest.approx(2 * fine.hd95_mm)


def test_a_shifted_cube_has_the_distances_of_the_shift() -> None:
    truth = np.zeros(SHAPE, bool)
    truth[2:6, 2:6, 2:6] = True
    found = np.roll(truth, 1, axis=0)
    ours = score(found, truth, (3.0, 1.0, 1.0), tolerance_mm=2.9)
    assert ours.dice == pytest.approx(0.75)
    assert ours.jaccard == pytest.approx(0.6)
    assert ours.hd95_mm == pytest.approx(3.0)
    assert ours.truth_ml == ours.found_ml == pytest.approx(64 * 3 / 1000)


def test_identical_masks_score_perfectly() -> None:
    ours = score(blob(3), blob(3), (1.0, 2.0, 3.0))
    assert (ours.dice, ours.jaccard, ours.nsd) == (1.0, 1.0, 1.0)
    assert (ours.hd95_mm, ours.assd_mm, ours.hd95_voxels, ours.assd_voxels) == (0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("swapped", [False, True])
def test_what_is_missing_in_one_of_both_scores_worst(swapped: bool) -> None:
    pair = (np.zeros(SHAPE, bool), blob(4))
    ours = score(*(pair[::-1] if swapped else pair), (1.0, 1.0, 2.0))
    assert (ours.dice, ours.jaccard, ours.nsd) == (0.0, 0.0, 0.0)
    assert ours.hd95_mm == ours.assd_mm == pytest.approx(math.hypot(12, 10, 16))
    assert ours.hd95_voxels == pytest.approx(math.hypot(*SHAPE))


def test_what_is_missing_in_both_is_not_scored() -> None:
    empty = np.zeros(SHAPE, bool)
    ours = score(empty, empty, (1.0, 1.0, 1.0))
    assert math.isnan(ours.dice)
    assert math.isnan(ours.hd95_mm)
    assert ours.truth_ml == 0


def test_masks_of_different_grids_are_not_compared() -> None:
    with pytest.raises(ValueError, match="cannot be compared"):
        score(np.ones((2, 2, 2), bool), np.ones((2, 2, 3), bool), (1.0, 1.0, 1.0))


def test_a_mask_that_fills_the_scan_has_the_edge_of_the_scan_as_its_surface() -> None:
    full, smaller = np.ones(SHAPE, bool), np.zeros(SHAPE, bool)
    smaller[1:-1, 1:-1, 1:-1] = True
    assert score(smaller, full, (1.0, 1.0, 1.0)).assd_mm > 0.9
