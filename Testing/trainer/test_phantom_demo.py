"""Training of the demonstration network: patches, scores, and going on after an interruption."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from SSLSegmentationLib.models.package import Sliding
from SSLSegmentationLib.phantom import abdomen_phantom
from SSLSegmentationLib.phantom.names import organ_labels
from SSLSegmentationLib.volume import Volume
from trainer import phantom_demo

PATCH = (32, 32, 32)


@pytest.fixture(autouse=True)
def small_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phantom_demo, "SLIDING", Sliding(PATCH))


def striped_case(seed: int = 0, index: int = 0) -> phantom_demo.Case:
    """Labels 0 and 2 in slabs, and an image that shows them."""
    truth = np.zeros((40, 36, 44), np.uint8)
    truth[12:28] = 2
    noise = np.random.default_rng([seed, index]).normal(0, 0.02, truth.shape)
    return np.clip(0.3 + 0.2 * truth + noise, 0, 1).astype(np.float16), truth


def test_labels_lie_on_the_grid_of_the_image() -> None:
    scan, labels = abdomen_phantom(2, shape=(30, 48, 48), spacing=(7.6, 7.6, 10.0))
    image, truth = phantom_demo.on_network_grid(scan, labels)
    assert image.shape == truth.shape
    liver, stomach = (truth == 6), (truth == 7)
    assert 0.5 < np.median(image[liver]) < 0.85
    ml = liver.sum() * 27 / 1000
    assert ml == pytest.approx((labels.voxels == 6).sum() * labels.voxel_ml, rel=0.05)
    assert np.argwhere(liver)[:, 0].mean() > np.argwhere(stomach)[:, 0].mean()  # i grows towards the right


def test_a_zoom_makes_the_patient_larger() -> None:
    scan, labels = abdomen_phantom(2, shape=(30, 48, 48), spacing=(7.6, 7.6, 10.0))
    usual, larger = (phantom_demo.on_network_grid(scan, labels, zoom)[1] for zoom in (1.0, 1.2))
    assert (larger == 6).sum() / (usual == 6).sum() == pytest.approx(1.2**3, rel=0.05)


def test_image_and_truth_of_a_patch_belong_together() -> None:
    for seed in range(5):
        image, truth = phantom_demo.batch_of([striped_case()], np.random.default_rng(seed))
        assert image.shape == truth.shape == (2, 1, *PATCH)
        assert image.dtype == np.float32
        assert 0 <= image.min() <= image.max() <= 1
        for one, labels in zip(image, truth, strict=True):
            if 0 < (labels == 2).mean() < 1:
                assert one[labels == 2].mean() > one[labels == 0].mean() + 0.1


def test_patches_of_a_case_that_is_too_small_are_filled_with_zeros() -> None:
    case = tuple(array[:20, :14] for array in striped_case())
    image, truth = phantom_demo.batch_of([case], np.random.default_rng(0))
    assert image.shape == truth.shape == (2, 1, *PATCH)
    assert not truth[:, :, 20:].any()
    assert not truth[:, :, :, 14:].any()


def test_dice_follows_its_definition() -> None:
    truth = np.zeros((4, 4, 4), np.uint8)
    truth[:2], truth[3] = 6, 1
    found = truth.copy()
    found[1] = 0
    scores = phantom_demo.dice_by_organ(found, truth)
    assert scores == {1: 1.0, 6: pytest.approx(2 * 16 / (16 + 32))}


def test_an_interrupted_training_ends_as_a_whole_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    monkeypatch.setattr(phantom_demo, "training_case", striped_case)
    monkeypatch.setattr(phantom_demo, "_SAVE_EVERY", 2)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    expected = phantom_demo.train(4, whole, 1, 3, print).state_dict()

    draw, drawn = phantom_demo.batch_of, []

    def interrupted(*given: object) -> tuple[np.ndarray, np.ndarray]:
        drawn.append(given)
        if len(drawn) == 4:
            raise KeyboardInterrupt
        return draw(*given)

    monkeypatch.setattr(phantom_demo, "batch_of", interrupted)
    with pytest.raises(KeyboardInterrupt):
        phantom_demo.train(4, parts, 1, 3, print)
    monkeypatch.setattr(phantom_demo, "batch_of", draw)
    found = phantom_demo.train(4, parts, 1, 3, print).state_dict()
    assert "going on from step 2" in capsys.readouterr().out
    assert all(torch.allclose(found[name], expected[name], atol=1e-5) for name in expected)


def test_a_checkpoint_of_another_training_is_not_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phantom_demo, "training_case", striped_case)
    phantom_demo.train(1, tmp_path, 1, 2, print)
    with pytest.raises(SystemExit, match="other settings"):
        phantom_demo.train(1, tmp_path, 2, 2, print)


def test_what_is_written_is_a_package_that_loads(tmp_path: Path) -> None:
    import torch

    from SSLSegmentationLib.models.read import read_package
    from SSLSegmentationLib.models.weights import load_network

    network = phantom_demo.make_network()
    folder = phantom_demo.write(network, tmp_path / "phantom-abdomen", {"data": "none"}, {"mean_dice": 0.5}, 1.25)
    package = read_package(folder)
    assert package.labels == organ_labels()
    assert package.uncertainty.temperature == 1.25
    assert "phantom" in package.title
    assert sum(path.stat().st_size for path in package.weights) < 4 * 2**20
    with torch.inference_mode():
        assert load_network(package)(torch.zeros(1, 1, *PATCH)).shape == (1, 14, *PATCH)


def test_the_temperature_makes_too_certain_logits_as_uncertain_as_they_are_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    random = np.random.default_rng(0)
    truth = random.integers(1, 14, (30, 30, 30)).astype(np.uint8)
    shown = np.where(random.random(truth.shape) < 0.7, truth, random.integers(1, 14, truth.shape))
    grid = Volume(np.zeros(truth.shape))
    monkeypatch.setattr(phantom_demo, "abdomen_phantom", lambda seed: (grid, grid))
    monkeypatch.setattr(phantom_demo, "on_network_grid", lambda *_: (np.ones(truth.shape, np.float16), truth))
    logits = torch.nn.functional.one_hot(torch.from_numpy(shown), 14).permute(3, 0, 1, 2).float() * 20
    monkeypatch.setattr(phantom_demo, "logits_of", lambda *_: logits)
    heat = phantom_demo.fitted_temperature(torch.nn.Identity(), range(1))
    right = float((shown == truth).mean())
    sure = float(torch.softmax(logits[:, 0, 0, 0] / heat, 0).max())
    assert sure == pytest.approx(right, abs=0.03)
