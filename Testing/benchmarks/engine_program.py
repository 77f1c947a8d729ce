"""The engine of the benchmarks: started like any other, but its prompts need no model and answer what they are told.

python -m Testing.benchmarks.engine_program FOLDER     (by a client, which holds its standard input)
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from SSLSegmentationLib.engine.keeper import Keeper
from SSLSegmentationLib.engine.launch import LocalEngine
from SSLSegmentationLib.engine.requests import PromptRequest
from SSLSegmentationLib.engine.serve import with_parent
from SSLSegmentationLib.engine.session import Session
from SSLSegmentationLib.progress import Tick
from SSLSegmentationLib.proposal import Proposal, propose
from Testing.benchmarks.engine_peers import masks_in

NOTHING = "nothing"
"""The segment for which a prompt changes one voxel only."""


def program(folder: Path) -> LocalEngine:
    return LocalEngine(command=[sys.executable, "-m", "Testing.benchmarks.engine_program", str(folder)])


def main(folder: Path) -> None:
    masks = masks_in(folder)
    voxel = tuple(slice(0, 1) for _ in range(3))
    masks[NOTHING] = np.ones((1, 1, 1), np.uint8), voxel

    def prompt(session: Session, request: PromptRequest, tick: Tick) -> Proposal:
        # An operation looks at a window of the scan; cropping that to what changes is a part of what is measured.
        whole, box = masks[request.segment]
        after = whole[box].view(bool)
        return propose(box, np.zeros_like(after), after, score=1.0, segment=request.segment)

    def make_keeper(said: dict[str, Any]) -> Keeper:
        return Keeper(operations={"prompt": prompt}, max_bytes=said["max_bytes"])

    with_parent(make_keeper)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
