"""What the module tests of itself, in the application as well: from a scan to an accepted segmentation and back.

Without the packages of the engine only what needs no engine is tested.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import slicer

from SSLSegmentationUI import SampleScan

PATIENCE_SECONDS = 300.0


def run(test: Any) -> None:
    """`test` is the test case of the entry file."""
    test.delayDisplay("Loading the synthetic scan")
    scan = SampleScan.load()
    slicer.util.selectModule("SSLSegmentation")
    widget = slicer.modules.SSLSegmentationWidget
    panel, parameters = widget.panel, widget._parameterNode
    parameters.scan = scan
    waitUntil(lambda: panel.work.scanNode is scan or parameters.segmentation is None)
    assert parameters.scan is scan
    if panel.lacking:
        test.delayDisplay(f"Without an engine, since these packages are missing: {', '.join(panel.lacking)}")
        assert panel.ui.setupButton.visible
        assert not panel.ui.segmentButton.enabled
        return

    test.delayDisplay("Segmenting")
    parameters.model = "abdomen-ct-fast"
    panel.ui.segmentButton.click()
    waitUntil(lambda: panel.work.suggestion is not None and not panel.work.operation, panel)
    segments = parameters.segmentation.GetSegmentation()
    assert segments.GetNumberOfSegments() == 0, "Nothing may be written before it is accepted"
    panel.ui.acceptButton.click()
    waitUntil(lambda: segments.GetNumberOfSegments() > 8 and not panel.work.operation, panel)

    test.delayDisplay("Undoing and redoing")
    count = segments.GetNumberOfSegments()
    panel.editor.undo()
    assert segments.GetNumberOfSegments() == 0, "One undo step takes back all that was accepted together"
    panel.editor.redo()
    assert segments.GetNumberOfSegments() == count
    test.delayDisplay("Passed")


def waitUntil(condition: Callable[[], Any], panel: Any = None) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        message = panel.work.message if panel is not None else None
        if message is not None and message.isError:
            raise AssertionError(f"{message.sentence}\n{message.details}")
        if time.monotonic() > end:
            raise AssertionError("What was waited for did not happen.")
        slicer.app.processEvents()
        time.sleep(0.01)
