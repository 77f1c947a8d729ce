"""The loop: corrected cases are exported, the model is trained on with them, and the better one is there to choose.

With SSLSEG_HIPPOCAMPUS naming a folder of images/ and labels/ (the Medical Segmentation Decathlon's Task04), it runs on
real cases as well, in some minutes; without, on boxes in noise, in seconds.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from SSLSegmentationLib import cli
from SSLSegmentationLib.dataset.dataset import Case, Dataset
from SSLSegmentationLib.dataset.provenance import Model, Provenance, Step
from SSLSegmentationLib.inference.segment import Segmenter, Settings
from SSLSegmentationLib.io.read import read_volume
from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.models.package import ModelPackage
from SSLSegmentationLib.models.read import package_hash, read_package
from SSLSegmentationLib.volume import Volume
from Testing.trainer.data.folders import scan_and_labels
from trainer.commands import app as trainer

REAL = "SSLSEG_HIPPOCAMPUS"


@dataclass(frozen=True)
class World:
    """Scans with the labels that a reader would draw."""

    names: tuple[Label, ...]
    cases: Sequence[tuple[Volume, Volume]]
    before: int
    """Steps of the first, hasty training, on two cases; the next is of the second, on the corrected ones."""
    after: int
    plan: Callable[[Path], None] = lambda path: None
    """Changes the first plan, as a user would in an editor."""


def boxes() -> World:
    found = [scan_and_labels(seed, (16, 18, 20)) for seed in range(14)]
    cases = [(replace(scan, modality="MR", name=f"box {n}"), labels) for n, (scan, labels) in enumerate(found)]

    def small(path: Path) -> None:
        import yaml

        said = yaml.safe_load(path.read_text("utf-8"))
        said["network"] = {
            "_target_": "BasicUNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 3,
            "features": [8, 8, 8, 16, 16, 8],
        }  # fmt: skip
        said["batch"] = 2
        path.write_text(yaml.safe_dump(said), "utf-8")

    return World((Label(1, "large"), Label(3, "small")), cases, before=4, after=60, plan=small)


def hippocampi(folder: Path) -> World:
    cases = []
    for path in sorted((folder / "images").glob("*.nii.gz"))[:14]:
        scan = replace(read_volume(path), modality="MR")
        cases.append((scan, read_volume(folder / "labels" / path.name)))
    return World((Label(1, "anterior"), Label(2, "posterior")), cases, before=60, after=250)


def run(*arguments: object) -> str:
    done = CliRunner().invoke(trainer, [str(one) for one in arguments])
    assert done.exit_code == 0, f"{done.output}\n{done.exception!r}"
    return done.output


def export(
    world: World, cases: Sequence[tuple[Volume, Volume]], folder: Path, package: ModelPackage | None = None
) -> None:
    used = None if package is None else Model(package.id, package.version, package_hash(package))
    for scan, labels in cases:
        history = (Step("segment", "accepted", model=used), Step("paint", "accepted"))
        Dataset(folder).add(
            Case(scan, labels, world.names, Provenance(model=used, history=history, by="reader")),
            () if package is None else package.labels,
        )


def dice(package: ModelPackage, world: World, cases: Sequence[tuple[Volume, Volume]]) -> float:
    segment = Segmenter(package, Settings(device="cpu", doubt="none"))
    scores = []
    for scan, truth in cases:
        found = segment(scan).labels.voxels
        for label in world.names:
            value = next(one.value for one in package.labels if one.name == label.name)
            ours, theirs = found == value, truth.voxels == label.value
            scores.append(2 * float((ours & theirs).sum()) / max(1, int(ours.sum() + theirs.sum())))
    return float(np.mean(scores))


def go_round(world: World, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[float, float]:
    """Mean Dice before and after on the corrected cases."""
    monkeypatch.setenv("SSLSEG_MODELS", str(folder / "models"))
    export(world, world.cases[:2], folder / "first")
    run("plan", folder / "first", "--out", folder / "work1", "--budget", "cpu")
    world.plan(folder / "work1" / "plan.yaml")
    run("train", folder / "work1", "--out", folder / "run1", "--folds", 0, "--device", "cpu", "--steps", world.before)
    run("package", folder / "run1", "--out", folder / "hasty", "--licence", "Apache-2.0")
    hasty = read_package(folder / "hasty")

    corrected = world.cases[2:12]
    export(world, corrected, folder / "corrected", hasty)
    assert len(Dataset(folder / "corrected").cases) == 10
    run("plan", folder / "corrected", "--out", folder / "work2", "--budget", "cpu", "--like", folder / "hasty")
    said = run(
        "train", folder / "work2", "--out", folder / "run2", "--from", folder / "hasty", "--folds", 0,
        "--device", "cpu", "--steps", world.after,
    )  # fmt: skip
    assert "nothing is new" in said
    run("package", folder / "run2", "--out", folder / "better", "--licence", "Apache-2.0")

    done = CliRunner().invoke(cli.app, ["models", "add", str(folder / "better")])
    assert done.exit_code == 0, done.output
    listed = CliRunner().invoke(cli.app, ["models", "list", "--json"])
    assert '"better"' in listed.stdout, "the better model is there to choose"
    return dice(hasty, world, corrected), dice(read_package(folder / "better"), world, corrected)


def test_what_readers_corrected_makes_the_model_better(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = go_round(boxes(), tmp_path, monkeypatch)
    assert after > before + 0.1


@pytest.mark.skipif(REAL not in os.environ, reason=f"{REAL} names no folder of real cases")
def test_the_loop_on_real_hippocampi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = go_round(hippocampi(Path(os.environ[REAL])), tmp_path, monkeypatch)
    print(f"mean Dice of the corrected cases: {before:.3f} before, {after:.3f} after")
    assert after > before + 0.02
    assert after > 0.7
