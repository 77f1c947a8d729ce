"""Work that is killed at a chosen step on the disk, in a forked process: what a crash at that moment leaves."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

_STEPS = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.truncate"}
_KILLED = 77


def killed_at(step: int, work: Callable[[], None]) -> bool:
    """Whether the work was killed at this step, and not done before."""
    child = os.fork()
    if child == 0:
        left = step

        def watch(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal left
            writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
            if event in _STEPS or writes:
                left -= 1
                if left < 0:
                    os._exit(_KILLED)

        sys.addaudithook(watch)
        work()  # an error ends the child with its traceback
        os._exit(0)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code not in (0, _KILLED):
        raise SystemExit(f"step {step}: the work failed with {code}")
    return code == _KILLED
