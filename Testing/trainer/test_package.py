"""A packaged run segments exactly as the trainer does, and says how it was made."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.inference.segment import Segmenter, Settings
from SSLSegmentationLib.io.read import read_volume
from SSLSegmentationLib.models.read import read_package
from Testing.trainer.data.folders import scan_and_labels
from Testing.trainer.tiny import tiny_plan, tiny_run
from trainer.data.augment import Augmentation
from trainer.evaluate.run import evaluate
from trainer.loop import fit
from trainer.package import package_runs
from trainer.predict import Predictor
from trainer.run import Run
from trainer.saving import trained_predictor


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Trained far enough to find both boxes."""
    changes = ("steps=60", "optimiser.lr=0.02", "optimiser.schedule.warm_up=0", "validate_every=60")
    run = tiny_run(tmp_path_factory.mktemp("package"), "run", *changes)
    fit(run)
    return run


@pytest.mark.parametrize("settings", [Settings(device="cpu"), Settings(device="cpu", backend="torch", precision="f32")])
def test_the_package_gives_the_trainers_labels_and_doubt_voxel_for_voxel(
    run: Run, tmp_path: Path, settings: Settings
) -> None:
    package_runs([run], tmp_path / "boxes", licence="Apache-2.0")
    scan = scan_and_labels(9, (13, 24, 22), (0.8, 0.9, 1.3))[0]
    ours = Predictor(trained_predictor(run), run.plan, settings)(scan)
    theirs = Segmenter(read_package(tmp_path / "boxes"), settings)(scan)
    assert theirs.labels.voxels.any(), "the network has to find something for this to mean anything"
    values = np.array([0, 1, 3], np.uint8)  # the plan's values of the classes
    np.testing.assert_array_equal(ours.labels.voxels, values[theirs.labels.voxels])
    np.testing.assert_array_equal(ours.uncertainty.voxels, theirs.uncertainty.voxels)


def test_probabilities_are_those_that_the_labels_come_from(run: Run) -> None:
    scan = scan_and_labels(9, (13, 24, 22), (0.8, 0.9, 1.3))[0]
    settings = Settings(device="cpu", backend="torch", precision="f32", probabilities=True)
    found = Predictor(trained_predictor(run), run.plan, settings)(scan)
    assert found.probabilities.shape == (3, *scan.shape)
    np.testing.assert_allclose(found.probabilities.sum(axis=0), 1, atol=1e-5)
    values = np.array([0, 1, 3], np.uint8)
    np.testing.assert_array_equal(values[found.probabilities.argmax(axis=0)], found.labels.voxels)


def test_a_temperature_changes_the_doubt_and_no_label(run: Run) -> None:
    scan = scan_and_labels(9)[0]
    settings = Settings(device="cpu", backend="torch", precision="f32")
    plain, cooler = (Predictor(trained_predictor(run), run.plan, settings, heat)(scan) for heat in (1.0, 0.5))
    np.testing.assert_array_equal(plain.labels.voxels, cooler.labels.voxels)
    assert cooler.uncertainty.voxels.mean() < plain.uncertainty.voxels.mean()


def test_the_package_says_how_it_was_made_and_what_it_reaches(run: Run, tmp_path: Path) -> None:
    found = evaluate(run.folder, device="cpu")
    package = package_runs(
        [run], tmp_path / "boxes", licence="CC-BY-4.0", title="Boxes", data="boxes made up for a test"
    )
    again = read_package(tmp_path / "boxes")
    assert (again.id, again.title, again.licence) == ("boxes", "Boxes", "CC-BY-4.0")
    assert [(label.value, label.name) for label in again.labels] == [(1, "large"), (2, "small")]
    assert again.training["label_values"] == {"large": 1, "small": 3}
    assert again.training["recipe"]["training"]["steps"] == 60
    assert again.training["plan"]["patch"] == [16, 16, 8]
    assert again.scores["scores"]["all"]["dice"] == found.summary()["scores"]["all"]["dice"]
    assert again.uncertainty.temperature == found.facts["temperature"] != 1.0
    assert "CC-BY-4.0" in (tmp_path / "boxes" / "LICENSE").read_text("utf-8")
    text = (package.folder / "configs" / "metadata.json").read_text("utf-8")
    assert str(tmp_path) not in text, "paths of this machine are nobody's business"
    assert str(run.folder.parent) not in text


def test_several_runs_become_members(run: Run, tmp_path: Path) -> None:
    other = tiny_run(tmp_path, "other", "seed=1", "steps=2")
    fit(other)
    package = package_runs([run, other], tmp_path / "both", licence="Apache-2.0")
    assert len(package.weights) == 2
    assert package.uncertainty.source == "members"
    assert package.training["seeds"] == [0, 1]
    found = Segmenter(package, Settings(device="cpu", backend="torch"))(scan_and_labels(1)[0])
    assert found.disagreement.voxels.max() > 0


def test_what_cannot_be_packaged_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(InputError, match="taken exists already"):
        package_runs([run], tmp_path / "taken", licence="Apache-2.0")
    with pytest.raises(InputError, match=r"needs .* licence"):
        package_runs([run], tmp_path / "new", licence=" ")
    unfinished = tiny_run(tmp_path, "unfinished")
    with pytest.raises(InputError, match=r"not trained to its end.*resume"):
        package_runs([unfinished], tmp_path / "new", licence="Apache-2.0")
    wider = tiny_run(tmp_path, "wider", "steps=1", "settings.network={_target_: SliceUNet, widths: [4, 6]}")
    fit(wider)
    with pytest.raises(InputError, match="wider was trained for other labels, grids or networks"):
        package_runs([run, wider], tmp_path / "new", licence="Apache-2.0")
    assert not (tmp_path / "new").exists()


def test_evaluation_writes_scores_pictures_and_facts(run: Run) -> None:
    found = evaluate(run.folder, device="cpu")
    folder = run.folder / "evaluation"
    for name in ("cases.csv", "dice.png", "reliability.png", "loss.png", "validation.png"):
        assert (folder / name).stat().st_size > 0
    facts = json.loads((folder / "summary.json").read_text("utf-8"))
    assert (facts["method"], facts["labelled"], facts["judged"], facts["cases"]) == ("supervised", 3, "validation", 1)
    assert "judged cases themselves" in facts["temperature_from"]
    assert {row.case for row in found.rows} == set(run.split.validation)
    assert facts["scores"]["labels"]["large"]["dice"]["value"] > 0.5


def test_without_validation_cases_no_calibration_is_claimed(tmp_path: Path) -> None:
    part = tiny_run(tmp_path, "run", "steps=1", split={"folds": 0, "test": 0.3})
    fit(part)
    facts = evaluate(part.folder, device="cpu").facts
    assert facts["temperature_from"] == "nowhere: there are no validation cases"
    assert "temperature" not in facts
    package = package_runs([part], tmp_path / "boxes", licence="Apache-2.0")
    assert package.training["calibration"] == "none"


def test_cases_that_were_seen_without_their_labels_are_told(tmp_path: Path) -> None:
    part = tiny_run(tmp_path, "run", "steps=1", split={"folds": 0, "labelled": 2}, method="mean_teacher")
    fit(part)
    facts = evaluate(part.folder, part.split.unlabelled[:1], device="cpu").facts
    assert facts["judged"] == "named (1 of them trained on without their labels)"


def test_scores_are_those_of_the_predicted_labels(run: Run) -> None:
    found = evaluate(run.folder, device="cpu")
    name = run.split.validation[0]
    truth = read_volume(run.plan.data / "labels" / f"{name}.nii.gz").voxels
    scan = read_volume(run.plan.data / "images" / f"{name}.nii.gz")
    labels = Predictor(trained_predictor(run), run.plan, Settings(device="cpu", doubt="none"))(scan).labels.voxels
    for row in found.rows:
        a, b = labels == row.value, truth == row.value
        assert row.score.dice == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum()))


def test_cases_that_were_trained_on_are_not_judged(run: Run) -> None:
    with pytest.raises(InputError, match="was trained on with its labels"):
        evaluate(run.folder, [run.split.labelled[0]], device="cpu")


def test_cases_that_are_not_there_are_told(run: Run) -> None:
    with pytest.raises(InputError, match='no labels of "nobody"'):
        evaluate(run.folder, ["nobody"], device="cpu")


def test_a_cross_validation_lends_scores_and_temperature_to_the_run_on_all_cases(tmp_path: Path) -> None:
    parts = []
    for fold in range(2):
        part = tiny_run(tmp_path, f"fold{fold}", "steps=4", split={"folds": 2, "fold": fold})
        fit(part)
        evaluate(part.folder, device="cpu")
        parts.append(part)
    whole = tiny_run(tmp_path, "whole", "steps=4", split={"folds": 0})
    fit(whole)
    package = package_runs([whole], tmp_path / "boxes", licence="Apache-2.0", judges=parts)
    assert package.scores["judged"] == "cross-validation of the same training, 2 of 2 parts"
    assert package.scores["cases"] == 4, "every case once"
    heats = [json.loads((part.folder / "evaluation/summary.json").read_text())["temperature"] for part in parts]
    assert package.uncertainty.temperature == pytest.approx(float(np.sqrt(np.prod(heats))), abs=1e-3)
    with pytest.raises(InputError, match="is judged by two of the runs"):
        package_runs([whole], tmp_path / "twice", licence="Apache-2.0", judges=[parts[0], parts[0]])
    with pytest.raises(InputError, match="whole was not evaluated"):
        package_runs([whole], tmp_path / "never", licence="Apache-2.0", judges=[whole])


def test_half_the_digits_make_half_the_file_and_nearly_the_same_labels(run: Run, tmp_path: Path) -> None:
    whole = package_runs([run], tmp_path / "whole", licence="Apache-2.0")
    half = package_runs([run], tmp_path / "half", licence="Apache-2.0", half=True)
    sizes = [package.weights[0].stat().st_size for package in (half, whole)]
    assert sizes[0] < 0.75 * sizes[1]  # names and shapes take their part of so small a file
    scan = scan_and_labels(9, (13, 24, 22), (0.8, 0.9, 1.3))[0]
    settings = Settings(device="cpu", backend="torch", precision="f32")
    one, other = (Segmenter(package, settings)(scan).labels.voxels for package in (half, whole))
    assert (one != other).mean() < 0.01


def test_what_is_judged_mirrored_is_packaged_to_look_mirrored(tmp_path: Path) -> None:
    part = tiny_run(tmp_path, "run", "steps=4")
    fit(part)
    found = evaluate(part.folder, device="cpu", flips=True)
    assert found.facts["flip_axes"] == [0]
    package = package_runs([part], tmp_path / "boxes", licence="Apache-2.0")
    assert (package.uncertainty.source, package.uncertainty.flip_axes) == ("flips", (0,))
    unmirrored = tiny_run(tmp_path / "other", "run", "steps=1", plan={"augmentation": Augmentation(mirror=())})
    fit(unmirrored)
    with pytest.raises(InputError, match="never saw a mirrored patch"):
        evaluate(unmirrored.folder, device="cpu", flips=True)


def test_only_the_largest_part_of_a_label_counts_where_the_plan_says_so(tmp_path: Path) -> None:
    from trainer.predict import as_package

    plan = tiny_plan(tmp_path / "data", keep_surest=(3,))
    assert as_package(plan, plan.network).keep_surest == (2,), "by the number of the class, not by the user's value"


def test_a_network_that_answers_clicks_becomes_a_package_of_its_kind(tmp_path: Path) -> None:
    from SSLSegmentationLib.models.store import kind_of
    from SSLSegmentationLib.prompting.click import load_click
    from SSLSegmentationLib.prompting.protocol import PixelPrompts

    changes = ("steps=2", "sampling.side=16", "widths=[4, 8]", "batch=2")
    part = tiny_run(tmp_path, "run", *changes, method="clicks")
    fit(part)
    judged = evaluate(part.folder, device="cpu").summary()["scores"]
    package = package_runs([part], tmp_path / "clicks", licence="Apache-2.0", half=True)
    assert package.scores["scores"] == judged
    assert kind_of(package) == "click"
    model = load_click(package.weights[0], "clicks")
    answer = model.decode(
        model.encode(np.zeros((20, 30), np.uint8)), [PixelPrompts(np.array([[4.0, 5.0]]), np.array([True]))]
    )[0]
    assert answer.logits.shape == (20, 30)
    with pytest.raises(InputError, match="answers prompts, and does not segment a scan alone"):
        trained_predictor(part)
    with pytest.raises(InputError, match="made of one run"):
        package_runs([part, part], tmp_path / "both", licence="Apache-2.0")
