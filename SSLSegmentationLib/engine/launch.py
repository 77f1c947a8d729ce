"""Launching: an engine as a child process that cannot outlive its parent."""

from __future__ import annotations

import json
import os
import queue
import secrets
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from SSLSegmentationLib.errors import InputError

_START_SECONDS = 120.0  # a cold disk and a virus scanner may take their time to import
_STOP_SECONDS = 6.0
# -P leaves out the working folder, where anybody may have put a torch.py. The library is looked for last, so that what
# lies beside it cannot stand in for other packages.
_PROGRAM = (
    "import sys; sys.path.append(sys.argv[1]); from SSLSegmentationLib.engine.serve import with_parent; with_parent()"
)


class LocalEngine:
    def __init__(
        self,
        python: str | None = None,
        *,
        max_bytes: int | None = None,
        environment: Mapping[str, str] | None = None,
        command: Sequence[str] | None = None,
    ) -> None:
        """`environment` replaces this process's own, as another interpreter than Slicer's needs it. `command` replaces
        everything: any program that speaks like `serve.with_parent` does, such as one behind ssh."""
        library = str(Path(__file__).parents[2])
        self._command = list(command or [python or sys.executable, "-P", "-c", _PROGRAM, library])
        self._environment = None if environment is None else dict(environment)
        self._max_bytes = max_bytes
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""
        self.token = ""

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    def has_ended(self, within: float) -> bool:
        """Whether the process is gone, after waiting for that at most so many seconds."""
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(within)
        return not self.running

    def start(self) -> None:
        """Start it, and return when it takes connections."""
        self.stop()
        self.token = secrets.token_urlsafe(32)
        # A group of its own, so that Ctrl-C in a terminal reaches the client, which then stops the engine in order.
        apart: dict[str, Any] = {"start_new_session": True}
        if os.name == "nt":
            apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
        # The log has no name: it is gone with the engine, however it ends.
        with tempfile.TemporaryFile(prefix="sslseg-engine-") as log:
            try:
                self._process = subprocess.Popen(  # noqa: S603 - the interpreter that the user named
                    self._command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env=self._environment,
                    **apart,
                )
            except OSError as error:
                raise InputError(
                    f"{self._command[0]} cannot be started ({error.strerror}): name another Python."
                ) from error
            try:
                said = json.dumps({"token": self.token, "max_bytes": self._max_bytes})
                self._process.stdin.write(said.encode() + b"\n")
                self._process.stdin.flush()
                self.url = self._ready_line(log)["url"]
            except BaseException:
                self.stop()
                raise

    def stop(self) -> None:
        """End it; its standard input is what holds it."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(OSError):  # it has ended already, with something unread in the pipe
                process.stdin.close()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()

    def _ready_line(self, log: Any) -> dict[str, Any]:
        process, lines = self._process, queue.SimpleQueue()
        threading.Thread(target=lambda: lines.put(process.stdout.readline()), name="ready", daemon=True).start()
        try:
            line = lines.get(timeout=_START_SECONDS)
        except queue.Empty:
            process.kill()
            raise InputError(f"The engine was not ready after {_START_SECONDS:.0f} s: try another Python.") from None
        try:
            return json.loads(line)
        except ValueError:
            process.wait(_STOP_SECONDS)
            log.seek(0)
            said = log.read().decode(errors="replace").strip().splitlines() or ["it said nothing"]
            raise InputError(
                f"The engine ended before it was ready ({said[-1][:300]}): check that torch, fastapi and uvicorn are "
                f"installed for {self._command[0]}."
            ) from None
