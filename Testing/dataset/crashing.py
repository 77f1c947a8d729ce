"""Exports that are killed at every single step they take on the disk, one after the other.

    python -m Testing.dataset.crashing FOLDER

Prints how many steps there were; ends with an error as soon as a dataset is not valid after a kill.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

from SSLSegmentationLib.dataset.dataset import Case, Dataset
from Testing.dataset.cases import CYST, LIVER, SPLEEN, a_case, faults_of

_STEPS = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.truncate"}
_KILLED = 77


def export_and_die(folder: Path, case: Case, at: int) -> bool:
    """Whether the export was killed at this step, and not done before."""
    child = os.fork()
    if child == 0:
        left = at

        def step(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal left
            writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
            if event in _STEPS or writes:
                left -= 1
                if left < 0:
                    os._exit(_KILLED)

        sys.addaudithook(step)
        Dataset(folder).add(case)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code not in (0, _KILLED):
        raise SystemExit(f"step {at}: the export failed with {code}")
    return code == _KILLED


def main(folder: Path) -> None:
    before = folder / "before"
    Dataset(before).add(a_case(0))
    Dataset(before).add(a_case(1))
    for what, case in (("new case", a_case(2, (LIVER, CYST))), ("new revision", a_case(1, (SPLEEN, CYST), change=2))):
        at = 0
        while True:
            here = folder / f"{what} {at}"
            shutil.copytree(before, here)
            killed = export_and_die(here, case, at)
            if faults := faults_of(here):
                raise SystemExit(f"{what}, killed at step {at}: {faults}")
            Dataset(here).settle()
            if faults := faults_of(here):
                raise SystemExit(f"{what}, settled after step {at}: {faults}")
            Dataset(here).add(case)
            if (faults := faults_of(here)) or len(Dataset(here).cases) != (3 if what == "new case" else 2):
                raise SystemExit(f"{what}, exported again after step {at}: {faults}")
            if list(here.glob(".writing-*")):
                raise SystemExit(f"{what}, step {at}: something half-written is left")
            shutil.rmtree(here)
            if not killed:
                break
            at += 1
        print(f"{what}: {at} steps")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
