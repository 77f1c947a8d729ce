from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn

from SSLSegmentationLib.errors import Cancelled, InputError
from SSLSegmentationLib.inference import segment
from SSLSegmentationLib.inference.predictors import OpenVinoPredictor
from SSLSegmentationLib.inference.segment import Segmentation, Segmenter, Settings
from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.models.package import IntensityRule, ModelPackage, Preprocessing, Sliding, UncertaintyRule
from SSLSegmentationLib.volume import Volume
from Testing.inference.networks import Threshold, small_network
from Testing.strategies import ORIENTATIONS, directions_of, matrices

PLAIN = Settings(device="cpu", backend="torch", precision="f32")


def package(**changes: Any) -> ModelPackage:
    fields: dict[str, Any] = {
        "folder": Path(),
        "id": "bright",
        "title": "Bright things",
        "version": "1.0.0",
        "modality": "",
        "licence": "Apache-2.0",
        "labels": (Label(1, "bright", (0.8, 0.4, 0.3)),),
        "network": {"_target_": "UNet"},
        "weights": (Path("model.safetensors"),),
        "sliding": Sliding((16, 16, 16), 0.25),
        "preprocessing": Preprocessing(crop_to_body=False),
    }
    return ModelPackage(**fields | changes)


def segmented(scan: Volume, network: nn.Module, settings: Settings = PLAIN, **changes: Any) -> Segmentation:
    return Segmenter(package(**changes), settings, load=lambda package, member: network)(scan)


def noise(shape: tuple[int, int, int] = (11, 12, 13), matrix: np.ndarray | None = None, seed: int = 0) -> Volume:
    voxels = np.random.default_rng(seed).integers(0, 200, shape).astype(np.int16)
    return Volume(voxels, np.eye(4) if matrix is None else matrix)


def ellipsoid(orientation: str) -> tuple[Volume, np.ndarray, float]:
    """A bright ellipsoid on an oblique anisotropic grid, its centre in RAS and its volume in millilitres."""
    from scipy.spatial.transform import Rotation

    matrix = np.eye(4)
    axes = Rotation.from_rotvec((0.2, -0.15, 0.1)).as_matrix() @ directions_of(orientation)
    matrix[:3, :3] = axes * (1.1, 1.4, 2.0)
    matrix[:3, 3] = (40.0, -60.0, 25.0)
    empty = Volume(np.zeros((30, 40, 48), dtype=np.int16), matrix)
    centre, radii = empty.to_ras((22.3, 17.8, 14.1)), np.array((17.0, 13.0, 15.0))
    places = empty.to_ras(np.stack(np.meshgrid(*map(np.arange, empty.shape[::-1]), indexing="ij"), axis=-1))
    inside = (((places - centre) / radii) ** 2).sum(axis=-1) <= 1
    voxels = np.where(inside, 100, 0).astype(np.int16).transpose(2, 1, 0)
    return empty.with_voxels(voxels), centre, float(4 / 3 * np.pi * radii.prod() / 1000)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_on_the_scans_own_grid_every_voxel_is_labelled_where_it_lies(orientation: str):
    matrix = np.eye(4)
    matrix[:3, :3] = directions_of(orientation) * (0.8, 1.3, 4.0)
    scan = noise(matrix=matrix)
    for wanted in ("RAS", "LPS"):
        result = segmented(scan, Threshold(99.5), preprocessing=Preprocessing(wanted, crop_to_body=False))
        np.testing.assert_array_equal(result.labels.voxels, scan.voxels > 99)
        assert result.labels.voxels.dtype == np.uint8
        assert result.labels.same_grid_as(scan)
        assert result.uncertainty.same_grid_as(scan)


@given(matrices(oblique=True))
@settings(max_examples=15)
def test_on_an_oblique_grid_as_well(matrix: np.ndarray):
    scan = noise(matrix=matrix)
    result = segmented(scan, Threshold(99.5))
    np.testing.assert_array_equal(result.labels.voxels, scan.voxels > 99)
    np.testing.assert_array_equal(result.labels.ijk_to_ras, matrix)


@pytest.mark.parametrize("orientation", ORIENTATIONS[::5])
@pytest.mark.parametrize("spacing", [(2.5, 2.5, 2.5), (0.9, 1.8, 3.0)])
@pytest.mark.parametrize("crop_to_body", [True, False])
def test_on_another_spacing_an_object_keeps_its_place_and_size(orientation: str, spacing, crop_to_body: bool):
    scan, centre, ml = ellipsoid(orientation)
    rule = Preprocessing("LPS", spacing, IntensityRule("window", 0, 100), crop_to_body=crop_to_body)
    labels = segmented(scan, Threshold(0.5), preprocessing=rule).labels
    found = labels.to_ras(np.argwhere(labels.voxels)[:, ::-1]).mean(axis=0)
    assert np.linalg.norm(found - centre) < 0.5
    assert labels.voxels.sum() * labels.voxel_ml == pytest.approx(ml, rel=0.04)
    truth = scan.voxels > 50
    assert 2 * (truth & (labels.voxels == 1)).sum() / (truth.sum() + labels.voxels.sum()) > 0.96


def test_doubt_is_greatest_where_the_network_cannot_decide():
    scan = noise()
    result = segmented(scan, Threshold(100.0, steepness=0.1))
    doubt = result.uncertainty.voxels
    assert doubt.dtype == np.float32
    np.testing.assert_allclose(doubt[scan.voxels == 100], 1.0, atol=1e-5)
    p = 1 / (1 + np.exp(-0.1 * (scan.voxels - 100.0)))
    expected = -(p * np.log2(np.clip(p, 1e-30, 1)) + (1 - p) * np.log2(np.clip(1 - p, 1e-30, 1)))
    np.testing.assert_allclose(doubt, expected, atol=1e-3)
    hotter = segmented(
        scan, Threshold(100.0, steepness=0.1), uncertainty=UncertaintyRule(temperature=4.0)
    ).uncertainty.voxels
    assert (hotter >= doubt - 1e-6).all()


def test_one_channel_with_a_sigmoid_is_the_same_as_two_with_a_softmax():
    scan = noise()
    two = segmented(scan, Threshold(99.5, 0.1))
    one = segmented(scan, Threshold(99.5, 0.1, channels=1), activation="sigmoid")
    np.testing.assert_array_equal(one.labels.voxels, two.labels.voxels)
    np.testing.assert_allclose(one.uncertainty.voxels, two.uncertainty.voxels, atol=1e-6)
    flipped = Settings(device="cpu", backend="torch", precision="f32", doubt="flips")
    several = segmented(scan, Threshold(99.5, 0.1, channels=1), flipped, activation="sigmoid")
    np.testing.assert_array_equal(several.labels.voxels, two.labels.voxels)


class Dropping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.network = small_network(2)
        self.dropout = nn.Dropout3d(0.5)

    def forward(self, tiles: Tensor) -> Tensor:
        hidden = self.network[1](self.network[0](tiles))
        return self.network[2](self.dropout(hidden))


@pytest.mark.parametrize("doubt", ["entropy", "flips", "dropout", "members"])
def test_every_source_of_doubt_gives_numbers_from_zero_to_one_and_the_same_ones_again(doubt: str):
    scan = noise()
    choice = Settings(device="cpu", backend="torch", precision="f32", doubt=doubt, passes=3)
    rule = Preprocessing(intensity=IntensityRule("zscore"), crop_to_body=False)
    members = [Dropping(), Dropping()]
    torch.nn.init.normal_(members[1].network[0].weight, generator=torch.Generator().manual_seed(1))
    model = package(weights=(Path("a"), Path("b")), preprocessing=rule)
    segmenter = Segmenter(model, choice, load=lambda package, member: members[member])

    first, again = segmenter(scan), segmenter(scan)

    for volume in (first.uncertainty, first.disagreement):
        if volume is not None:
            assert volume.voxels.dtype == np.float32
            assert volume.voxels.min() >= 0
            assert volume.voxels.max() <= 1
            assert volume.voxels.max() > 0
    assert (first.disagreement is None) == (doubt == "entropy")
    np.testing.assert_array_equal(first.labels.voxels, again.labels.voxels)
    np.testing.assert_array_equal(first.uncertainty.voxels, again.uncertainty.voxels)
    if first.disagreement is not None:
        assert (first.disagreement.voxels <= first.uncertainty.voxels + 1e-6).all()


def test_passes_that_agree_have_doubt_but_no_disagreement():
    choice = Settings(device="cpu", backend="torch", precision="f32", doubt="flips")
    result = segmented(noise(), Threshold(99.5, 0.01), choice)
    assert result.uncertainty.voxels.min() > 0.5
    assert result.disagreement.voxels.max() < 1e-5


def test_the_users_random_numbers_are_left_alone():
    choice = Settings(device="cpu", backend="torch", precision="f32", doubt="dropout", passes=2)
    network = Dropping()
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    segmented(noise(), network, choice)
    assert torch.equal(torch.rand(2), expected)


def test_doubt_can_be_left_out():
    result = segmented(noise(), Threshold(99.5), Settings(device="cpu", backend="torch", doubt="none"))
    assert result.uncertainty is None
    assert result.disagreement is None


def test_doubt_from_members_needs_several():
    with pytest.raises(InputError, match="Bright things has a single member"):
        Segmenter(package(), Settings(doubt="members"))


def test_doubt_from_dropout_needs_a_network_that_has_some():
    choice = Settings(device="cpu", doubt="dropout")
    with pytest.raises(InputError, match='Bright things has no dropout: choose the doubt "entropy" or "flips"'):
        segmented(noise(), Threshold(99.5), choice)


@pytest.mark.parametrize("device", ["cuda:99", "mps:7", "tpu", "", "cuda:x", "cuda:", "cuda:-1", "cpu:1"])
def test_a_device_that_is_not_there_is_refused_with_those_that_are(device: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(InputError, match=f'The device "{device}" is not available: choose one of cuda, .*cpu'):
        Segmenter(package(), Settings(device=device))


def test_cancelling_leaves_the_segmenter_usable():
    scan = noise((40, 20, 20))
    for backend in ("torch", "openvino"):
        choice = Settings(device="cpu", backend=backend, precision="f32")
        segmenter = Segmenter(package(), choice, load=lambda package, member: Threshold(99.5))
        for stop in (0.0, 0.4, 1.0):

            def tick(stage: str, part: float, stop: float = stop) -> None:
                if stage == "Segmenting" and part >= stop:
                    raise Cancelled

            with pytest.raises(Cancelled):
                segmenter(scan, tick)
        np.testing.assert_array_equal(segmenter(scan).labels.voxels, scan.voxels > 99)


class Hungry(Threshold):
    """Runs out of memory where it is shown more than so many voxels at a time."""

    def __init__(self, most: int) -> None:
        super().__init__(99.5)
        self.most = most

    def forward(self, tiles: Tensor) -> Tensor:
        if tiles.numel() > self.most:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 64 bytes.")
        return super().forward(tiles)


def test_a_network_that_runs_out_of_memory_is_given_smaller_tiles(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(segment, "free_bytes", lambda device: 10**12)
    scan = noise((70, 20, 100))
    result = segmented(scan, Hungry(64**3), sliding=Sliding((96, 96, 96)))
    np.testing.assert_array_equal(result.labels.voxels, scan.voxels > 99)
    assert result.ladder[-1] == "smaller tiles of 64 × 64 × 64 voxels"
    assert result.plan.patch == (64, 64, 64)
    with pytest.raises(InputError, match="not enough memory"):
        segmented(scan, Hungry(10), sliding=Sliding((96, 96, 96)))


def test_a_network_that_cannot_be_compiled_for_lack_of_memory_is_given_smaller_tiles(monkeypatch: pytest.MonkeyPatch):
    def compiled(network: nn.Module, patch: tuple[int, int, int], precision: str, at_once: int) -> OpenVinoPredictor:
        if patch[0] > 64:
            raise RuntimeError("Exception from src/core/src/runtime/allocator.cpp:79:\nstd::bad_alloc\n")
        return OpenVinoPredictor(network, patch, precision, at_once)

    monkeypatch.setattr(segment, "OpenVinoPredictor", compiled)
    monkeypatch.setattr(segment, "free_bytes", lambda device: 10**12)
    scan = noise((70, 20, 20))
    choice = Settings("cpu", "openvino", "f32")
    result = segmented(scan, Threshold(99.5), choice, sliding=Sliding((96, 32, 32)))
    np.testing.assert_array_equal(result.labels.voxels, scan.voxels > 99)
    assert result.plan.patch == (64, 32, 32)
    assert result.plan.backend == "openvino"


@pytest.mark.parametrize("value", [-1000, 0, 100])
@pytest.mark.parametrize("crop_to_body", [True, False])
@pytest.mark.parametrize("kind", ["window", "zscore", "percentile"])
def test_a_scan_of_one_value_gives_a_result_without_noise(kind: str, crop_to_body: bool, value: int):
    scan = Volume(np.full((9, 10, 11), value, dtype=np.int16), modality="CT")
    rule = Preprocessing("RAS", (1.5, 1.5, 1.5), IntensityRule(kind, 0, 100), crop_to_body=crop_to_body)
    result = segmented(scan, small_network(2), preprocessing=rule)
    assert np.isfinite(result.uncertainty.voxels).all()
    if crop_to_body and kind == "window" and value <= 0:  # air, or nothing at all
        assert not result.labels.voxels.any()
        assert not result.uncertainty.voxels.any()


def test_outside_the_body_everything_is_background_without_doubt():
    voxels = np.zeros((20, 60, 60), dtype=np.int16)
    voxels[5:15, 20:40, 20:40] = 100
    scan = Volume(voxels, np.diag([3.0, 3.0, 5.0, 1.0]), modality="MR")
    undecided = Threshold(50.0, steepness=0.0)
    rule = Preprocessing("RAS", (3.0, 3.0, 5.0))
    doubt = segmented(scan, undecided, preprocessing=rule).uncertainty.voxels
    assert (doubt[5:15, 20:40, 20:40] > 0.99).all()
    assert not doubt[:, :10].any()
    everywhere = Settings(device="cpu", backend="torch", precision="f32", crop_to_body=False)
    assert (segmented(scan, undecided, everywhere, preprocessing=rule).uncertainty.voxels > 0.99).all()


@pytest.mark.parametrize("dtype", ["<i2", ">i2", "u1", "<f4", ">f4", "<f8", ">f8", "<u2", "<i4"])
@pytest.mark.parametrize("order", ["C", "F", "reversed"])
def test_every_kind_of_array_is_segmented_alike_and_left_as_it_was(dtype: str, order: str):
    scan = noise()
    voxels = np.asarray(scan.voxels, dtype=dtype, order="F" if order == "F" else "C")
    voxels = voxels[::-1, :, ::-1][::-1, :, ::-1] if order == "reversed" else voxels
    before = voxels.copy()
    voxels.setflags(write=False)
    for orientation in ("RAS", "SAR"):
        rule = Preprocessing(orientation, intensity=IntensityRule("window", 0, 199), crop_to_body=False)
        result = segmented(Volume(voxels), Threshold(99.5 / 199), preprocessing=rule)
        np.testing.assert_array_equal(result.labels.voxels, scan.voxels > 99)
    np.testing.assert_array_equal(voxels, before)


def test_only_the_largest_piece_is_kept_where_the_package_asks():
    voxels = np.zeros((10, 10, 10), dtype=np.int16)
    voxels[1:5, 1:5, 1:5] = voxels[7, 7, 7] = 100
    assert segmented(Volume(voxels), Threshold(50.0)).labels.voxels.sum() == 65
    assert segmented(Volume(voxels), Threshold(50.0), keep_largest=(1,)).labels.voxels.sum() == 64


@pytest.mark.parametrize("doubt", ["none", "entropy"])
def test_the_surest_pieces_are_kept_whether_or_not_the_doubt_is_asked_for(doubt: str):
    voxels = np.zeros((12, 12, 12), dtype=np.int16)
    voxels[1:4, 1:4, 1:4] = 100  # surely
    voxels[6:10, 6:10, 6:10] = 51  # larger, but only just
    result = segmented(Volume(voxels), Threshold(50.0), Settings("cpu", doubt=doubt), keep_surest=(1,))
    assert result.labels.voxels.sum() == 27
    assert result.labels.voxels[2, 2, 2] == 1
    assert (result.uncertainty is None) == (doubt == "none")


def test_openvino_and_torch_agree():
    scan = noise((20, 21, 22))
    rule = Preprocessing(intensity=IntensityRule("zscore"), crop_to_body=False)
    torchs, openvinos = (
        segmented(scan, small_network(2), Settings("cpu", backend, "f32"), preprocessing=rule)
        for backend in ("torch", "openvino")
    )
    assert openvinos.plan.backend == "openvino"
    assert (torchs.labels.voxels != openvinos.labels.voxels).mean() < 1e-3
    np.testing.assert_allclose(torchs.uncertainty.voxels, openvinos.uncertainty.voxels, atol=1e-3)


def test_openvino_is_refused_where_it_cannot_be_used():
    with pytest.raises(InputError, match="choose the backend torch"):
        segmented(noise(), Dropping(), Settings("cpu", "openvino", doubt="dropout"))


def test_networks_stay_loaded_between_scans():
    loads = []
    segmenter = Segmenter(package(), PLAIN, load=lambda package, member: loads.append(member) or Threshold(99.5))
    segmenter(noise(seed=1))
    segmenter(noise(seed=2))
    assert loads == [0]


@pytest.mark.parametrize("overlap", [1.0, -0.1, float("nan")])
def test_an_overlap_that_leaves_no_step_is_refused(overlap: float):
    with pytest.raises(InputError, match="overlap of tiles"):
        segmented(noise(), Threshold(100), Settings(device="cpu", overlap=overlap))
