"""How long the event loop stood still, and in which line of Python it did."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from typing import Any

from PySide6 import QtCore

BEAT = 0.002  # seconds between two signs of life
LOOK = 0.005  # seconds between two looks at where a loop that stands still is


class LoopWatch:
    """A heart in the event loop, and a thread beside it that notes the line of Python whenever the heart misses.

    `longest` is the longest time in seconds between two beats, without the pause that a beat makes itself;
    `where` is where the main thread was during that time, as text. The time in which the test itself ran
    code outside the loop counts too: inside a measurement a test does nothing but to wait and to act through the
    driver.
    """

    def __init__(self) -> None:
        self.longest = 0.0
        self.where = ""
        self._timer = QtCore.QTimer()
        self._timer.setTimerType(QtCore.Qt.TimerType.PreciseTimer)
        self._timer.connect("timeout()", self._beat)
        self._last = 0.0
        self._seen: tuple[float, str] = (0.0, "")
        self._stopped = threading.Event()
        self._main = threading.get_ident()

    def start(self) -> None:
        self._last = time.perf_counter()
        self._timer.start(round(BEAT * 1000))
        threading.Thread(target=self._look, daemon=True).start()

    def stop(self) -> None:
        self._beat()
        self._timer.stop()
        self._stopped.set()

    def _beat(self) -> None:
        now = time.perf_counter()
        stood = now - self._last - BEAT
        if stood > self.longest:
            self.longest = stood
            self.where = self._seen[1] if self._seen[0] == self._last else "(outside Python, or too short to be seen)"
        self._last = now

    def _look(self) -> None:
        while not self._stopped.wait(LOOK):
            beat = self._last
            if time.perf_counter() - beat > 2 * LOOK:
                frame: Any = sys._current_frames().get(self._main)
                self._seen = (beat, "".join(traceback.format_stack(frame)[-6:]) if frame else "")
