"""The packages that come with the program: complete, small, honest about what they are, and able to do it."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from SSLSegmentationLib.inference.segment import Segmentation, Segmenter, Settings
from SSLSegmentationLib.models.package import ModelPackage
from SSLSegmentationLib.models.read import read_package
from SSLSegmentationLib.phantom import abdomen_phantom
from SSLSegmentationLib.phantom.names import organ_labels
from SSLSegmentationLib.resources import resource
from SSLSegmentationLib.volume import Volume


def package() -> ModelPackage:
    return read_package(resource("Models", "phantom-abdomen"))


@cache
def segmented() -> tuple[Segmentation, Volume]:
    """A patient whom the network was not trained on, and the truth."""
    scan, labels = abdomen_phantom(4, shape=(90, 110, 120), spacing=(3.0, 3.0, 3.0))
    return Segmenter(package(), Settings(device="cpu", backend="torch", precision="f32"))(scan), labels


def test_the_demonstration_network_says_what_it_is() -> None:
    found = package()
    assert found.id == "phantom-abdomen"
    assert "not for patients" in found.title
    assert found.licence == "Apache-2.0"
    assert found.labels == organ_labels()
    assert found.uncertainty.temperature > 0
    assert set(found.scores["dice"]) == {label.name for label in organ_labels()}
    assert sum(path.stat().st_size for path in found.weights) < 4 * 2**20


@pytest.mark.parametrize("organ", ["liver", "spleen", "right kidney", "left kidney", "aorta", "stomach"])
def test_the_demonstration_network_finds_the_organs_of_an_unseen_phantom(organ: str) -> None:
    found, truth = segmented()
    value = next(label.value for label in organ_labels() if label.name == organ)
    here, there = found.labels.voxels == value, truth.voxels == value
    assert 2 * (here & there).sum() / (here.sum() + there.sum()) > 0.8


def test_its_doubt_is_greater_where_it_is_wrong() -> None:
    found, truth = segmented()
    assert found.uncertainty is not None
    doubt, wrong = found.uncertainty.voxels, found.labels.voxels != truth.voxels
    assert doubt[wrong].mean() > 5 * doubt[~wrong].mean()
    assert np.isfinite(doubt).all()
