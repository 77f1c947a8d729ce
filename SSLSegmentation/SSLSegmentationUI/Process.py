"""The engine as a child process of Slicer. It cannot outlive Slicer: the end of its standard input is its own end."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping, Sequence

import qt
from SSLSegmentationLib.engine.calls import EngineError

START_SECONDS = 120  # a cold disk and a virus scanner may take their time to import
STOP_SECONDS = 6

_LAST_WORDS = 20_000


_ending: set[Process] = set()
"""Those that were told to end, until they have."""


class Process:
    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str] | None,
        ready: Callable[[str, str], None],
        ended: Callable[[Exception], None],
    ) -> None:
        """`ready` gets address and token; `ended` is told once, however it ends, unless it was stopped.

        Without an environment the process gets Slicer's own.
        """
        self._ready = ready
        self._ended = ended
        self._token = secrets.token_urlsafe(32)
        self._said = b""
        self._words = ""
        self._stopped = False
        self._isReady = False
        self._program = str(command[0])
        self._process = qt.QProcess()
        if environment is not None:
            variables = qt.QProcessEnvironment()
            for name, value in environment.items():
                variables.insert(name, value)
            self._process.setProcessEnvironment(variables)
        self._process.connect("readyReadStandardOutput()", self._onOutput)
        self._process.connect("readyReadStandardError()", self._onWords)
        self._process.connect("finished(int,QProcess::ExitStatus)", self._onFinished)
        self._process.connect("errorOccurred(QProcess::ProcessError)", self._onError)
        self._patience = qt.QTimer(self._process)
        self._patience.setSingleShot(True)
        self._patience.setInterval(START_SECONDS * 1000)
        self._patience.connect("timeout()", self._onLate)
        self._patience.start()
        self._process.start(self._program, [str(part) for part in command[1:]])
        # The token goes through the pipe: other programs can read command lines and environments.
        self._process.write(qt.QByteArray(json.dumps({"token": self._token, "max_bytes": None}).encode() + b"\n"))

    @property
    def words(self) -> str:
        """The last that it has written to its log."""
        return self._words

    @property
    def pid(self) -> int:
        return int(self._process.processId())

    def stop(self, wait: bool = False) -> None:
        """End it in order, or after a while the hard way. `wait` is for the end of Slicer, when no events come."""
        if self._stopped:
            return
        self._stopped = True
        self._patience.stop()
        self._process.closeWriteChannel()
        if wait and not self._process.waitForFinished(STOP_SECONDS * 1000):
            self._process.kill()
            self._process.waitForFinished(STOP_SECONDS * 1000)
        elif not wait:
            _ending.add(self)
            self._patience.setInterval(STOP_SECONDS * 1000)
            self._patience.start()

    def _onOutput(self) -> None:
        if self._isReady or self._stopped:
            return
        self._said += self._process.readAllStandardOutput().data() or b""
        line, end, _ = self._said.partition(b"\n")
        if not end:
            return
        try:
            url = str(json.loads(line)["url"])
        except (ValueError, KeyError, TypeError):
            self._words += line.decode("utf-8", "replace") + "\n"
            self._said = b""
            return
        self._isReady = True
        self._patience.stop()
        self._ready(url, self._token)

    def _onWords(self) -> None:
        said = (self._process.readAllStandardError().data() or b"").decode("utf-8", "replace")
        self._words = (self._words + said)[-_LAST_WORDS:]

    def _onError(self, error: object) -> None:
        if error == qt.QProcess.FailedToStart:
            self._tell(
                f"{self._program} cannot be started ({self._process.errorString()}): name another under Advanced."
            )

    def _onFinished(self, code: int, status: object) -> None:
        self._patience.stop()
        _ending.discard(self)
        last = (self._words.strip().splitlines() or ["it said nothing"])[-1][:300]
        if self._isReady:
            self._tell("The engine has ended in the middle of its work.")
        else:
            self._tell(f"The engine ended before it was ready ({last}): install what it needs under Advanced.")

    def _onLate(self) -> None:
        if self._stopped:
            self._process.kill()
            return
        self._process.kill()
        self._tell(f"The engine was not ready after {START_SECONDS} s: start it again, or name another Python.")

    def _tell(self, sentence: str) -> None:
        if not self._stopped:
            self._stopped = True
            self._patience.stop()
            self._ended(EngineError(sentence))
