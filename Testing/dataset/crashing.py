"""Exports that are killed at every single step they take on the disk, one after the other.

    python -m Testing.dataset.crashing FOLDER

Prints how many steps there were; ends with an error as soon as a dataset is not valid after a kill.
"""

from __future__ import annotations

import shutil
import sys
from functools import partial
from pathlib import Path

from SSLSegmentationLib.dataset.dataset import Case, Dataset
from Testing.dataset.cases import CYST, LIVER, SPLEEN, a_case, faults_of
from Testing.killing import killed_at


def _export(folder: Path, case: Case) -> None:
    Dataset(folder).add(case)


def main(folder: Path) -> None:
    before = folder / "before"
    Dataset(before).add(a_case(0))
    Dataset(before).add(a_case(1))
    for what, case in (("new case", a_case(2, (LIVER, CYST))), ("new revision", a_case(1, (SPLEEN, CYST), change=2))):
        at = 0
        while True:
            here = folder / f"{what} {at}"
            shutil.copytree(before, here)
            killed = killed_at(at, partial(_export, here, case))
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
