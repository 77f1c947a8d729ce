"""The commands as a user meets them: the way from scans to a model, and what is said early when something is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.models.read import read_package
from Testing.trainer.data.folders import write_folder
from Testing.trainer.tiny import QUICK, tiny_plan, tiny_run
from trainer import checks
from trainer.commands import app, main
from trainer.data.plan_file import write_plan
from trainer.run import Run

SETS = [part for change in QUICK for part in ("--set", change)]


def run(*arguments: object) -> str:
    done = CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def refused(*arguments: object) -> str:
    with pytest.raises(InputError) as error:
        CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False, standalone_mode=False)
    return str(error.value)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder with the plan for four cases."""
    folder = tmp_path / "work"
    folder.mkdir()
    write_plan(folder / "plan.yaml", tiny_plan(tmp_path / "data"))
    return folder


def test_the_whole_way_from_scans_to_a_package(tmp_path: Path) -> None:
    work = tmp_path / "work"
    write_folder(tmp_path / "data", labelled=6, shape=(30, 34, 32))
    run("plan", tmp_path / "data", "--out", work, "--budget", "cpu")
    text = (work / "plan.yaml").read_text("utf-8")
    lines = ["  features: [2, 2, 2, 2, 2, 2]" if "features:" in line else line for line in text.splitlines()]
    (work / "plan.yaml").write_text("\n".join(lines), "utf-8")
    run("train", work, "--out", work / "run", *SETS, "--steps", 2, "--folds", 3)
    run("evaluate", work / "run", "--device", "cpu")
    run("package", work / "run", "--out", tmp_path / "model", "--licence", "CC-BY-4.0")
    assert read_package(tmp_path / "model").scores["cases"] == 2
    table = run("report", work / "run", "--out", tmp_path / "table.md")
    assert "| supervised |" in table
    assert (tmp_path / "table.md").read_text("utf-8") in table


def test_a_run_goes_on_by_resume(tmp_path: Path) -> None:
    begun = tiny_run(tmp_path)
    run("resume", begun.folder)
    assert Run(begun.folder).done["steps"] == 6


def test_unlabelled_cases_come_from_asking_for_fewer_labels(work: Path) -> None:
    run("train", work, "--out", work / "run", *SETS, "--steps", 1, "--folds", 4, "--labelled", 1)
    split = Run(work / "run").split
    assert (len(split.labelled), len(split.unlabelled), len(split.validation)) == (1, 2, 1)


def test_another_seed_trains_otherwise_on_the_same_cases(work: Path) -> None:
    for seed in (0, 1):
        run("train", work, "--out", work / f"run{seed}", *SETS, "--steps", 1, "--folds", 4, "--seed", seed)
    one, other = Run(work / "run0"), Run(work / "run1")
    assert (one.recipe.training.seed, other.recipe.training.seed) == (0, 1)
    assert one.split == other.split


def test_pretraining_is_followed_by_training_from_it(work: Path) -> None:
    run("pretrain", work, "--out", work / "before", "--method", "models_genesis", *SETS, "--steps", 1, "--folds", 4)
    run("train", work, "--out", work / "after", "--from", work / "before", *SETS, "--steps", 1, "--folds", 4)
    assert Run(work / "after").recipe.start == str(work / "before")


def test_pretraining_hides_the_same_labels_as_training(work: Path) -> None:
    same = (*SETS, "--steps", 1, "--folds", 4, "--labelled", 2)
    run("pretrain", work, "--out", work / "before", "--method", "models_genesis", *same)
    run("train", work, "--out", work / "after", "--from", work / "before", "--preset", "finetune", *same)
    before, after = Run(work / "before").split, Run(work / "after").split
    assert len(before.labelled) == 2
    assert before == after


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--method", "magic"], 'no method "magic"'),
        (["--preset", "fast"], 'no preset "fast"'),
        (["--set", "speed=1"], "changes nothing that supervised knows"),
        (["--labelled", "9", "--folds", "4"], "9 labelled cases were asked for"),
        (["--fold", "7"], "fold 7 of 5 does not exist"),
        (["--method", "mean_teacher", "--folds", "4"], "needs 1 unlabelled cases"),
        (["--method", "models_genesis", "--folds", "4"], "use `python -m trainer pretrain`"),
        (["--device", "cuda:9", "--folds", "4"], "not available"),
        (["--precision", "f16", "--folds", "4", "--device", "cpu"], "cannot train in f16"),
        (["--from", "nowhere", "--folds", "4"], "nowhere is neither a run"),
        (["--set", "start_share=0.5", "--folds", "4"], "give --from as well"),
    ],
)
def test_what_is_wrong_is_said_before_anything_long_begins(work: Path, arguments: list[str], told: str) -> None:
    assert told in refused("train", work, "--out", work / "run", *arguments)
    assert not (work / "run").exists()
    assert not (work / "prepared").exists(), "no case was prepared for nothing"


def test_weights_that_do_not_fit_are_told_before_cases_are_prepared(tmp_path: Path) -> None:
    other = tiny_run(tmp_path, "other", "steps=1", "settings.network={_target_: SliceUNet, widths: [5, 9]}")
    run("resume", other.folder)
    work = tmp_path / "work"
    work.mkdir()
    write_plan(work / "plan.yaml", other.plan)
    assert "of the weights fit" in refused("train", work, "--out", work / "run", "--folds", 4, "--from", other.folder)
    assert not (work / "prepared").exists()


def test_a_patch_that_does_not_go_through_the_network_is_told_with_what_would(tmp_path: Path) -> None:
    write_plan(tmp_path / "plan.yaml", tiny_plan(tmp_path / "data", patch=(15, 16, 8)))
    told = refused("train", tmp_path, "--out", tmp_path / "run", "--folds", 4)
    assert "15 × 16 × 8 voxels does not go through SliceUNet" in told
    assert "multiples of 2 × 2 × 1" in told


def test_a_network_for_another_number_of_classes_is_refused(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path / "data")
    settings = checks.method_class("supervised").Settings()
    wrong = tiny_plan(tmp_path / "data", network={**plan.network, "out_channels": 4})
    with pytest.raises(InputError, match=r"gives 4 classes.*the plan has 3"):
        checks.check_network("supervised", wrong, settings)


def test_a_full_disk_is_told_beforehand(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda place: type("Disk", (), {"free": 1000})())
    assert "but the disk has" in refused("train", work, "--out", work / "run", "--folds", 4)


def test_a_run_is_not_overwritten(tmp_path: Path) -> None:
    begun = tiny_run(tmp_path)
    write_plan(tmp_path / "plan.yaml", begun.plan)
    assert "resume" in refused("train", tmp_path, "--out", begun.folder)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    assert "not an empty folder" in refused("train", tmp_path, "--out", tmp_path / "mine")
    assert "exists already" in refused("package", begun.folder, "--out", tmp_path / "mine", "--licence", "MIT")


def test_what_is_no_run_is_told(tmp_path: Path) -> None:
    for command in (["resume", tmp_path], ["evaluate", tmp_path]):
        assert "is not the folder of a run" in refused(*command)


def test_a_mistake_ends_with_one_sentence_and_code_2(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as ending:
        main(["resume", str(tmp_path / "nothing")])
    assert ending.value.code == 2
    shown = capsys.readouterr().err
    assert shown.startswith("trainer:")
    assert "Traceback" not in shown


def test_the_help_comes_without_loading_torch() -> None:
    code = "import sys; import trainer.commands; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_settings_are_written_as_they_were_used(tmp_path: Path) -> None:
    begun = tiny_run(tmp_path, "run", "optimiser.lr=0.005", "optimiser.schedule.milestones=[1, 2]")
    again = Run(begun.folder).recipe
    assert again == begun.recipe
    assert again.settings.optimiser.schedule.milestones == (1, 2)
    assert json.loads((begun.folder / "split.json").read_text())["folds"] == 4
