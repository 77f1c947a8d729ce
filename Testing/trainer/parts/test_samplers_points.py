from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from Testing.trainer.methods.tiny import tiny_plan
from Testing.trainer.parts.cases import cases
from trainer.parts.samplers_points import PointedBatches, PointedTwoStreamBatches


def _batches(store: object, **changes: object) -> PointedBatches:
    batches = PointedBatches(tiny_plan(sides=(16, 16, 8)), store, sorted(store), steps=10, seed=0)
    batches.ring_mm, batches.every = (1.0, 2.0), 1
    for name, value in changes.items():
        setattr(batches, name, value)
    return batches


def test_points_of_class_one_lie_in_the_organ_and_the_others_outside() -> None:
    for step in range(4):
        batch = _batches(cases())[step]
        at = (batch["point_image"], torch.zeros_like(batch["point_image"]), *batch["point_place"].T)
        assert ((batch["labels"][at] > 0) == (batch["point_class"] == 1)).all()
        assert {0, 1} == set(batch["point_class"].tolist())
        assert {0, 1, 2, 3} == set(batch["point_image"].tolist())


def test_the_organ_may_be_one_of_the_classes() -> None:
    batch = _batches(cases(), organ=(2,))[0]
    at = (batch["point_image"], torch.zeros_like(batch["point_image"]), *batch["point_place"].T)
    assert ((batch["labels"][at] == 2) == (batch["point_class"] == 1)).all()


def test_a_case_that_does_not_annotate_the_whole_organ_gives_no_points() -> None:
    store = cases()
    store["case1"] = replace(store["case1"], annotated=np.array([True, True, False]))
    batches = _batches(store)
    batch = batches[0]
    partial = [index for index in range(4) if not batch["annotated"][index].all()]
    assert len(partial) == 1
    assert partial[0] not in batch["point_image"].tolist()


def test_patches_without_organ_give_empty_tensors() -> None:
    batch = _batches(cases(radius=-1.0))[0]
    assert batch["point_place"].shape == (0, 3)
    assert batch["point_class"].dtype == torch.int64


def test_unlabelled_patches_come_behind_and_have_no_points() -> None:
    store = cases(5, labelled=2)
    batches = PointedTwoStreamBatches(
        tiny_plan(sides=(16, 16, 8)), store, ["case0", "case1"], ["case2", "case3", "case4"], steps=10, seed=0
    )
    batch = batches[0]
    assert len(batch["image"]) == 4
    assert len(batch["labels"]) == 2
    assert set(batch["point_image"].tolist()) <= {0, 1}


def test_a_step_always_gives_the_same_points() -> None:
    first, again = _batches(cases())[3], _batches(cases())[3]
    assert all(torch.equal(first[key], again[key]) for key in first)
