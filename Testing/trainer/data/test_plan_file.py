"""A plan as a file that people edit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.models.package import IntensityRule, Preprocessing
from Testing.trainer.data.folders import plan_for
from trainer.data.augment import Augmentation
from trainer.data.plan import Plan
from trainer.data.plan_file import read_plan, write_plan

CHANGED = {
    "as it is": {},
    "names that YAML would misread": {"name": "no", "labels": (Label(1, "null: #1"), Label(3, "Öl, 1e3"))},
    "several rules": {
        "preprocessing": Preprocessing(
            "LPS", None, IntensityRule("percentile", 0.0, 99.0, clip=False, then=IntensityRule("zscore", nonzero=True))
        )
    },
    "all the rest": {
        "augmentation": Augmentation((), True, scale=(0.7, 1.0)),
        "patch": (32, 16, 1),
        "dims": 2,
        "padding": "edge",
        "background": (2, 7),
        "network": {"_target_": "BasicUNet", "features": [1, 2], "norm": ["group", {"num_groups": 2}]},
    },
}  # fmt: skip


@pytest.mark.parametrize("changes", CHANGED.values(), ids=CHANGED)
def test_a_plan_comes_back_as_it_was_written(tmp_path: Path, changes: dict) -> None:
    plan = plan_for(tmp_path, **changes)
    write_plan(tmp_path / "plan.yaml", plan, ["195 cases"])
    assert read_plan(tmp_path / "plan.yaml") == plan


def test_the_file_explains_every_key(tmp_path: Path) -> None:
    write_plan(tmp_path / "plan.yaml", plan_for(tmp_path), ["195 cases: all of them"])
    lines = (tmp_path / "plan.yaml").read_text().splitlines()
    assert "#   195 cases: all of them" in lines
    keys = [number for number, line in enumerate(lines) if line and line[0].isalpha()]
    assert len(keys) >= 14
    assert all(lines[number - 1].startswith("# ") for number in keys)
    assert max(map(len, lines)) <= 120


def test_the_data_folder_may_be_named_from_where_the_plan_lies(tmp_path: Path) -> None:
    write_plan(tmp_path / "plan.yaml", plan_for(tmp_path / "scans"))
    edit(tmp_path, f"data: {(tmp_path / 'scans').as_posix()}", "data: scans")
    assert read_plan(tmp_path / "plan.yaml").data == tmp_path / "scans"


def edit(folder: Path, before: str, after: str) -> None:
    text = (folder / "plan.yaml").read_text()
    assert text.count(before) == 1
    (folder / "plan.yaml").write_text(text.replace(before, after))


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("batch: 4", "bacth: 4", 'has no key "bacth"'),
        ("batch: 4", "", 'lacks "batch"'),
        ("batch: 4", "batch: many", "batch is 'many': it has to be a whole number"),
        ("batch: 4", "batch: 0", '"batch" cannot be used: it needs a number from 1'),
        ("batch: 4", "batch: [4", "plan.yaml cannot be understood"),
        ("patch: [8, 8, 8]", "patch: [8, 8]", "patch is [8, 8]: it has to be a list of 3"),
        ("patch: [8, 8, 8]", "patch: [8, 8, 1]", "more than one voxel along each axis, because dims is 3"),
        ("\ndims: 3", "\ndims: 2", "1 as its last side, because dims is 2"),
        ("\ndims: 3", "\ndims: 4", "it has to be one of 2, 3"),
        ("kind: zscore", "kind: z-score", "it has to be one of window, percentile, zscore, none"),
        ("kind: zscore", "kind: window, low: 4, high: 4", "low below high"),
        ("orientation: RAS", "orientation: RAR", "letters such as RAS"),
        ("spacing: [1.0, 1.0, 1.0]", "spacing: [1, 1, 0]", "0.01 to 100 millimetres"),
        ("mirror: []", "mirror: [3]", "axes 0, 1 and 2"),
        ("gamma: 0.0", "gamma: 1.5", '"augmentation.gamma" cannot be used'),
        ("swelling: [0.4, 2.5]", "swelling: [1.4, 2.5]", '"augmentation.swelling" cannot be used'),
        ("gamma: 0.0", "gama: 0.0", "no key 'gama'"),
        ("value: 3", "value: 1", "different values and names"),
        ("out_channels: 3", "out_channels: 4", '"out_channels" 3: one for each label'),
        ("_target_: BasicUNet", "_target_: os.system", 'asks for the network "os.system", which is not one of'),
        ("background: []", "background: [1]", "values that are not among the labels"),
        ("format: 1", "format: 2", "of format 2"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_place(tmp_path: Path, before: str, after: str, told: str) -> None:
    write_plan(tmp_path / "plan.yaml", plan_for(tmp_path))
    edit(tmp_path, before, after)
    with pytest.raises(InputError) as refusal:
        read_plan(tmp_path / "plan.yaml")
    assert told in str(refusal.value)
    assert str(refusal.value).startswith("plan.yaml")


def test_swelling_is_refused_for_slices(tmp_path: Path) -> None:
    flat = plan_for(tmp_path, dims=2, patch=(8, 8, 1), augmentation=replace(Augmentation(), swell=0.4))
    write_plan(tmp_path / "plan.yaml", flat)
    with pytest.raises(InputError, match=r'"augmentation.swell" cannot be used: it needs 0, because dims is 2'):
        read_plan(tmp_path / "plan.yaml")


def test_a_plan_that_is_not_there_is_refused_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.yaml does not exist"):
        read_plan(tmp_path / "nothing.yaml")


def test_a_plan_knows_its_classes_and_its_window(tmp_path: Path) -> None:
    plan: Plan = replace(plan_for(tmp_path), padding="edge", overlap=0.25)
    assert plan.classes == 3
    assert (plan.sliding.patch, plan.sliding.padding, plan.sliding.overlap) == ((8, 8, 8), "edge", 0.25)
