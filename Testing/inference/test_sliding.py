from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from SSLSegmentationLib.errors import Cancelled
from SSLSegmentationLib.inference.predictors import TorchPredictor
from SSLSegmentationLib.inference.slabs import Slab
from SSLSegmentationLib.inference.sliding import importance, slide, tile_starts
from SSLSegmentationLib.models.package import Sliding
from SSLSegmentationLib.progress import silent
from Testing.inference.networks import Eager, pointwise_network, small_network

PATCH = (8, 6, 10)


def first(logits: list[Tensor]) -> Tensor:
    return logits[0]


def mean(logits: list[Tensor]) -> Tensor:
    return torch.stack(logits).mean(dim=0)


def a_scan(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def assembled(slabs: list[Slab], rows: int) -> Tensor:
    """All scores, after a check that the slabs follow each other without a gap."""
    row = 0
    for slab in slabs:
        assert slab.start == row
        assert slab.scores.shape[1] > 0
        row += slab.scores.shape[1]
    assert row == rows
    return torch.cat([slab.scores for slab in slabs], dim=1)


def run(array: Tensor, network: nn.Module, window: Sliding, combine=first, **options) -> Tensor:
    with torch.inference_mode():
        slabs = list(slide(array, [Eager(network)], window, combine=combine, tick=silent, **options))
    return assembled(slabs, array.shape[0])


def by_monai(array: Tensor, network: nn.Module, window: Sliding) -> Tensor:
    from monai.inferers import SlidingWindowInferer

    inferer = SlidingWindowInferer(window.patch, 1, window.overlap, mode=window.weighting)
    with torch.inference_mode():
        return inferer(array[None, None], network)[0]


@pytest.mark.parametrize("weighting", ["gaussian", "constant"])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.6, 0.75])
@pytest.mark.parametrize(
    "shape",
    [(20, 15, 23), (8, 6, 10), (9, 7, 11), (3, 15, 23), (20, 2, 23), (20, 15, 5), (3, 2, 5), (1, 1, 1), (30, 5, 4)],
)
def test_the_result_is_that_of_monai(shape: tuple[int, int, int], overlap: float, weighting: str):
    array, network, window = a_scan(*shape), small_network(), Sliding(PATCH, overlap, weighting)
    torch.testing.assert_close(run(array, network, window), by_monai(array, network, window), atol=1e-4, rtol=1e-4)


@given(st.tuples(*[st.integers(1, 20)] * 3), st.tuples(*[st.integers(4, 9)] * 3), st.sampled_from([0.0, 0.3, 0.6]))
@settings(max_examples=20)
def test_any_size_of_scan_and_tile_gives_the_result_of_monai(shape, patch, overlap: float):
    array, network, window = a_scan(*shape), small_network(), Sliding(patch, overlap)
    torch.testing.assert_close(run(array, network, window), by_monai(array, network, window), atol=1e-4, rtol=1e-4)


@given(st.integers(1, 200), st.integers(1, 64), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.625, 0.9]))
def test_tiles_cover_the_axis_where_monai_places_them(size: int, patch: int, overlap: float):
    from monai.data.utils import dense_patch_slices
    from monai.inferers.utils import _get_scan_interval

    starts = tile_starts(size, patch, overlap)
    padded = max(size, patch)
    interval = _get_scan_interval((padded,), (patch,), 1, (overlap,))
    assert starts == [part[0].start for part in dense_patch_slices((padded,), (patch,), interval)]
    assert starts[0] == 0
    assert starts[-1] + patch == padded
    assert all(b - a <= patch for a, b in pairwise(starts))


@pytest.mark.parametrize("weighting", ["gaussian", "constant"])
def test_weights_of_a_tile_are_those_of_monai(weighting: str):
    from monai.data.utils import compute_importance_map

    expected = compute_importance_map((12, 7, 32), mode=weighting, sigma_scale=0.125, device="cpu")
    torch.testing.assert_close(importance((12, 7, 32), weighting), expected.clamp(min=1e-3), atol=1e-6, rtol=1e-5)


def test_what_lies_around_a_small_scan_is_its_edge_where_the_package_says_so():
    array = torch.ones(3, 4, 5)
    network = nn.Conv3d(1, 1, 3, padding=1, bias=False)
    nn.init.ones_(network.weight)
    zero = run(array, network, Sliding((9, 9, 9), padding="zero"))
    edge = run(array, network, Sliding((9, 9, 9), padding="edge"))
    assert zero.min() < 27
    torch.testing.assert_close(edge, torch.full_like(edge, 27.0))


@pytest.mark.parametrize("rows", [1, 3, 8, 20, 31])
def test_a_scan_much_thinner_than_a_tile_gives_its_own_rows_and_no_others(rows: int):
    array, network, window = a_scan(rows, 6, 5), small_network(), Sliding((32, 6, 10))
    torch.testing.assert_close(run(array, network, window), by_monai(array, network, window), atol=1e-4, rtol=1e-4)


FILLED = {
    "start": [(0, 10)],
    "middle": [(30, 40)],
    "end": [(54, 64)],
    "start and end": [(0, 4), (60, 64)],
    "nowhere": [],
}


@pytest.mark.parametrize("overlap", [0.0, 0.5])
@pytest.mark.parametrize("where", FILLED)
def test_empty_parts_are_left_out_as_certain_background_without_a_gap(where: str, overlap: float):
    array = torch.zeros(64, 24, 24)
    for start, stop in FILLED[where]:
        array[start:stop, 4:9, 4:9] = a_scan(stop - start, 5, 5)
    network, window = small_network(), Sliding((8, 8, 8), overlap)
    predictor = Eager(network)
    slabs = list(slide(array, [predictor], window, combine=first, tick=silent, skip_empty=True, unseen=17.0))
    if not FILLED[where]:
        assert not slabs
        return
    scores = assembled(slabs, 64)
    everything = run(array, network, window)
    corners = [tile_starts(size, 8, overlap) for size in array.shape]
    seen = torch.zeros(array.shape, dtype=torch.bool)
    tiles = 0
    for i in corners[0]:
        for j in corners[1]:
            for k in corners[2]:
                if array[i : i + 8, j : j + 8, k : k + 8].any():
                    seen[i : i + 8, j : j + 8, k : k + 8] = True
                    tiles += 1
    assert predictor.seen == tiles < len(corners[0]) * len(corners[1]) * len(corners[2])
    assert (scores[0][~seen] == 17.0).all()
    assert (scores[1:, ~seen] == 0).all()
    if overlap == 0:
        torch.testing.assert_close(scores[:, seen], everything[:, seen], atol=1e-5, rtol=1e-5)


def test_a_tile_that_is_as_bright_as_can_be_is_not_empty():
    """Contrast agent or metal, clipped by the window, fills whole tiles with one value."""
    array = torch.zeros(24, 8, 8)
    array[8:16] = 1.0
    predictor = Eager(small_network())
    slabs = slide(array, [predictor], Sliding((8, 8, 8), 0.0), combine=first, tick=silent, skip_empty=True)
    assembled(list(slabs), 24)
    assert predictor.seen == 1


ALL_FLIPS = [(), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)]


def test_mirroring_changes_nothing_for_a_network_that_looks_at_single_voxels():
    array, network, window = a_scan(13, 9, 17), pointwise_network(), Sliding(PATCH, 0.5)
    plain = run(array, network, window)
    torch.testing.assert_close(run(array, network, window, mean, flips=ALL_FLIPS), plain, atol=1e-5, rtol=1e-5)


def test_mirrored_passes_are_turned_back_to_where_they_belong():
    array, network, window = a_scan(8, 6, 10), small_network(), Sliding(PATCH)
    for axes in ALL_FLIPS:
        with torch.inference_mode():
            expected = network(array.flip(axes)[None, None])[0].flip([axis + 1 for axis in axes])
        torch.testing.assert_close(run(array, network, window, flips=[axes]), expected, atol=1e-5, rtol=1e-5)


def test_every_predictor_sees_every_tile_as_often_as_was_asked():
    array, window = a_scan(16, 6, 10), Sliding(PATCH, 0.0)
    one, two = Eager(small_network(seed=0)), Eager(small_network(seed=1))
    opinions = []

    def keep(logits: list[Tensor]) -> Tensor:
        opinions.append(len(logits))
        return mean(logits)

    list(slide(array, [one, two], window, combine=keep, tick=silent, flips=[(), (1,)], passes=3))
    assert opinions == [12, 12]
    assert one.seen == two.seen == 12


@pytest.mark.parametrize("at_once", [2, 3, 5, 64])
def test_how_many_tiles_are_in_work_at_once_changes_nothing(at_once: int):
    array, window = a_scan(20, 15, 23), Sliding(PATCH, 0.5)
    predictor = TorchPredictor(small_network(), "cpu")

    def scores(at_once: int) -> Tensor:
        slabs = slide(array, [predictor], window, combine=mean, tick=silent, flips=[(), (2,)], at_once=at_once)
        return assembled(list(slabs), 20)

    torch.testing.assert_close(scores(at_once), scores(1), atol=1e-5, rtol=1e-5)


def test_cancelling_stops_between_two_tiles_and_leaves_the_predictor_usable():
    array, window = a_scan(40, 12, 20), Sliding(PATCH, 0.5)
    predictor = Eager(small_network())
    parts = []

    def tick(stage: str, part: float) -> None:
        parts.append(part)
        if len(parts) == 4:
            raise Cancelled

    with pytest.raises(Cancelled):
        list(slide(array, [predictor], window, combine=first, tick=tick))
    assert predictor.seen == 3
    assert parts == sorted(parts)
    slabs = list(slide(array, [predictor], window, combine=first, tick=silent))
    torch.testing.assert_close(assembled(slabs, 40), by_monai(array, predictor.network, window), atol=1e-4, rtol=1e-4)


def test_progress_goes_from_nothing_to_all():
    parts = []
    list(
        slide(
            a_scan(20, 15, 23),
            [Eager(small_network())],
            Sliding(PATCH, 0.5),
            combine=first,
            tick=lambda stage, part: parts.append((stage, part)),
        )
    )
    assert parts[0] == ("Segmenting", 0.0)
    assert parts[-1] == ("Segmenting", 1.0)
    assert parts == sorted(parts)


def test_only_a_few_rows_are_handed_on_together_and_they_share_no_memory():
    slabs = list(
        slide(a_scan(64, 8, 8), [Eager(small_network())], Sliding((32, 8, 8), 0.5), combine=first, tick=silent)
    )
    assert max(slab.scores.shape[1] for slab in slabs) <= 8
    for slab in slabs:  # whoever takes a slab may write into it
        slab.scores.fill_(0)
    assert len({slab.scores.untyped_storage().data_ptr() for slab in slabs}) == len(slabs)


def test_finished_rows_come_before_tiles_that_do_not_touch_them_are_computed():
    """So the scores of the whole grid never exist together."""
    predictor = Eager(small_network())
    rows_after = {}
    for slab in slide(a_scan(80, 8, 8), [predictor], Sliding((16, 8, 8), 0.5), combine=first, tick=silent):
        rows_after[predictor.seen] = slab.start + slab.scores.shape[1]
    for tiles, rows in list(rows_after.items())[:-1]:
        assert rows == (tiles - 1) * 8  # the tile just computed begins at this row
