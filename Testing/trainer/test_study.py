"""A study runs commands one after the other, says what failed, and takes its training along when it ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

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
