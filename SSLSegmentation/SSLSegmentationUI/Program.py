"""A program that does one thing and ends, as something to wait for in an Errand."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import qt
from SSLSegmentationLib.errors import InputError

from SSLSegmentationUI.Errand import GiveUp, Waiting

_running: set[Any] = set()
"""Qt would kill a process whose object nobody holds."""


def running(function: str, module: str, arguments: Sequence[str]) -> Waiting:
    """To wait for: what a function of the library prints, in a Python of its own; given up, it is killed.

    The function prints one line of JSON, and an "error" in it is raised as what the user has to know.
    """
    import SSLSegmentationLib

    library = str(Path(SSLSegmentationLib.__file__).parents[1])
    python = shutil.which("PythonSlicer") or sys.executable
    program = f"import sys; sys.path.append(sys.argv.pop(1)); from {module} import {function}; {function}()"

    def begin(done: Callable[[Any], None], failed: Callable[[Exception], None]) -> GiveUp:
        process = qt.QProcess()
        _running.add(process)

        def finished(code: int, status: object) -> None:
            _running.discard(process)
            said = (process.readAllStandardOutput().data() or b"").decode("utf-8", "replace")
            words = (process.readAllStandardError().data() or b"").decode("utf-8", "replace")
            try:
                answer = json.loads(said)
                error = answer.get("error")
            except (ValueError, AttributeError):
                failed(RuntimeError(f"{module} ended with code {code}:\n{said}\n{words}"))
                return
            if error:
                failed(InputError(str(error)))
            else:
                done(answer)

        def broken(error: object) -> None:
            if error == qt.QProcess.FailedToStart:
                _running.discard(process)
                failed(InputError(f"{python} cannot be started ({process.errorString()}): reinstall Slicer."))

        process.connect("finished(int,QProcess::ExitStatus)", finished)
        process.connect("errorOccurred(QProcess::ProcessError)", broken)
        process.start(python, ["-P", "-c", program, library, *arguments])
        return process.kill

    return begin
