"""Pictures with something to point at: the same for the same step, and what is pointed at is in them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from SSLSegmentationLib.models.package import IntensityRule, Preprocessing
from Testing.trainer.data.folders import plan_for, write_folder
from trainer.data.cases import find_cases
from trainer.data.store import prepare_all
from trainer.data.targets import Sampling, Targets

LABELS = ("case_00", "case_01")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory):
    folder = write_folder(tmp_path_factory.mktemp("scans"), labelled=2)
    rule = Preprocessing("RAS", None, IntensityRule("percentile", 0.5, 99.5), crop_to_body=False)
    plan = plan_for(folder, preprocessing=rule)
    store = prepare_all(plan, find_cases(folder), folder / "store")

    def targets(**sampling: object) -> Targets:
        return Targets(plan, store, LABELS, batch=6, sampling=Sampling(side=32, **sampling), steps=8, seed=3)

    return targets


def test_a_picture_shows_its_target_and_lies_between_black_and_white(made) -> None:
    batch = made(grey=0.0, ended=0.0)[0]
    assert batch["picture"].shape == (6, 1, 32, 32)
    assert batch["target"].shape == batch["neighbour"].shape == (6, 32, 32)
    assert 0 <= float(batch["picture"].min()) <= float(batch["picture"].max()) <= 1
    assert (batch["target"].flatten(1).sum(1) >= 12).all()


def test_a_target_is_one_region(made) -> None:
    from scipy.ndimage import label

    for step in range(4):
        for target in made()[step]["target"].numpy():
            assert label(target)[1] <= 1


def test_a_step_has_the_same_pictures_whenever_it_is_asked_for(made) -> None:
    one, other, next_step = made()[2], made()[2], made()[3]
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert not torch.equal(one["picture"], next_step["picture"])


def test_targets_come_in_the_sizes_that_were_asked_for(made) -> None:
    sizes = [
        float(target.sum()) ** 0.5
        for step in range(8)
        for target in made(grey=0.0, ended=0.0, sizes=(10.0, 14.0), along_slices=1.0)[step]["target"]
    ]
    assert 7 < np.median(sizes) < 17


def test_beyond_the_end_there_is_nothing_to_find_but_what_was_there_before(made) -> None:
    batch = made(grey=0.0, ended=1.0)[1]
    assert not batch["target"].any()
    assert (batch["neighbour"].flatten(1).sum(1) >= 12).all()
