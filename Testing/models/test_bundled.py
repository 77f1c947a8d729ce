"""The packages that come with the program: complete, small, honest about what they are, and able to do it."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from SSLSegmentationLib.inference.segment import Segmentation, Segmenter, Settings
from SSLSegmentationLib.models.package import ModelPackage
from SSLSegmentationLib.models.read import read_package
from SSLSegmentationLib.models.store import installed, kind_of
from SSLSegmentationLib.models.weights import check_weights
from SSLSegmentationLib.phantom import abdomen_phantom
from SSLSegmentationLib.phantom.names import organ_labels
from SSLSegmentationLib.resources import resource
from SSLSegmentationLib.volume import Volume

BUNDLED = sorted(path.name for path in resource("Models").iterdir())


def package(name: str = "abdomen-ct-fast") -> ModelPackage:
    return read_package(resource("Models", name))


@cache
def segmented() -> tuple[Segmentation, Volume]:
    """A phantom that the network was not trained on, and the truth."""
    scan, labels = abdomen_phantom(4, shape=(90, 110, 120), spacing=(3.0, 3.0, 3.0))
    return Segmenter(package(), Settings(device="cpu", backend="torch", precision="f32"))(scan), labels


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_model_is_small_sound_and_says_what_it_is(name: str) -> None:
    found = package(name)
    assert found.id == name
    assert found.licence
    assert found.description
    assert found.training["data"]
    scores = found.scores["scores"]["all"]
    if kind_of(found) == "click":
        assert scores["1 click"]["value"] > 0.6
        assert scores["5 clicks"]["value"] > 0.8
        assert found.scores["judged"] == "test"
    else:
        assert scores["dice"]["value"] > 0.5
        assert "cross-validation" in found.scores["judged"]
    assert (found.folder / "LICENSE").stat().st_size > 100
    assert sum(path.stat().st_size for path in found.weights) <= 8_000_000
    assert check_weights(found)
    [here] = [model for model in installed() if model.id == name]
    assert here.bundled
    assert not here.damage


def test_the_abdomen_has_the_names_and_codes_of_the_organs() -> None:
    assert package().labels == organ_labels()
    assert package().uncertainty.temperature != 1.0


@pytest.mark.parametrize("organ", ["liver", "spleen", "right kidney", "left kidney", "aorta"])
def test_the_organs_of_an_unseen_phantom_are_found(organ: str) -> None:
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
