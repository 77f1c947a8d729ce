"""A study runs commands one after the other, says what failed, and takes its training along when it ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from trainer.presets import load
from trainer.recipes import left_atrium
from trainer.recipes import study as studies

ROOT = Path(__file__).parents[2]
_PROGRAM = """
from trainer.recipes.study import Clock, trainer

if __name__ == "__main__":
    trainer({arguments}, clock=Clock({minutes}))
"""


def study(folder: Path, arguments: str, minutes: float = 10.0) -> subprocess.CompletedProcess[str]:
    program = folder / "study.py"
    program.write_text(_PROGRAM.format(arguments=arguments, minutes=minutes))
    return subprocess.run(
        [sys.executable, str(program)], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("'--help'", ""),
        ("'evaluate', '/nowhere'", "/nowhere is not the folder of a run"),
    ],
)
def test_a_command_is_run_and_what_it_refuses_is_said(tmp_path: Path, arguments: str, said: str) -> None:
    done = study(tmp_path, arguments)
    assert "$ python -m trainer" in done.stdout
    assert (done.returncode == 0) == (said == "")
    assert said in " ".join(done.stderr.split())


def test_a_plan_that_was_not_changed_to_its_end_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def proposes(_command: str, _data: Path, _out: str, folder: str) -> None:
        (Path(folder) / "plan.yaml").write_text("patch: [8, 8, 8]\nbatch: 4\n")

    def fails(plan: dict) -> None:
        plan["batch"] = 1
        raise KeyboardInterrupt

    monkeypatch.setattr(studies, "trainer", proposes)
    with pytest.raises(KeyboardInterrupt):
        studies.planned(tmp_path / "work", tmp_path, fails)
    work = studies.planned(tmp_path / "work", tmp_path, lambda plan: plan.update(batch=2))
    assert yaml.safe_load((work / "plan.yaml").read_text()) == {"patch": [8, 8, 8], "batch": 2}
    studies.planned(work, tmp_path, fails)  # there is one, which is not touched
    assert yaml.safe_load((work / "plan.yaml").read_text())["batch"] == 2


@pytest.mark.parametrize("ways", [left_atrium.SMALL, left_atrium.PUBLISHED], ids=["small", "published"])
def test_a_report_can_tell_the_ways_of_the_left_atrium_apart(ways: list[studies.Way]) -> None:
    """It goes by method and preset; two ways of the same would judge each case twice."""
    assert len({(way.method, way.preset) for way in ways}) == len(ways)
    for way in ways:
        load(way.method, way.preset, [])
