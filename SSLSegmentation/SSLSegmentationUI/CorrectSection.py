"""Correct: the segment that clicks belong to, placing them, and the list of what has been placed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _
from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.scene.markers import BOX, NEGATIVE, POSITIVE, Marker, Markers
from SSLSegmentationLib.scene.segments import add_segment, is_locked, lock, prepare

from SSLSegmentationUI.ModelChoice import ChoiceWidgets, ModelChoice
from SSLSegmentationUI.Models import Models
from SSLSegmentationUI.Widgets import allow

GREY_VALUES = _("Grey values (no model)")
_WORDS = {POSITIVE: _("belongs"), NEGATIVE: _("does not belong"), BOX: _("box")}
# Neither red nor green, in which the preview shows what would change.
_COLORS = (
    (0.95, 0.60, 0.15),
    (0.30, 0.55, 0.95),
    (0.75, 0.45, 0.90),
    (0.95, 0.85, 0.30),
    (0.25, 0.80, 0.85),
    (0.95, 0.50, 0.70),
)
_SOON_MILLISECONDS = 60  # several markers may change at once, as when all are cleared


class CorrectSection:
    def __init__(
        self,
        ui: Any,
        models: Models,
        editor: Any,
        ask: Callable[[str], None],
        chosen: Callable[[str], None],
        begin: Callable[[], None],
    ) -> None:
        """`ask` is called with a segment whose prompts have changed; `begin` makes a segmentation to work in."""
        self._ui = ui
        self._models = models
        self._editor = editor
        self._ask = ask
        self._begin = begin
        self._scan: Any = None
        self._segmentation: Any = None
        self._markers: Markers | None = None
        self._listed: list[Marker] = []
        self._silent = False
        self._changedSegment = ""
        self._placing = ""
        widgets = ChoiceWidgets(
            ui.clickModelSelector, ui.clickModelAboutLabel, ui.getClickModelButton, ui.deleteClickModelButton
        )
        self.choice = ModelChoice(widgets, models, chosen, without=GREY_VALUES)
        self._tools = {POSITIVE: ui.positiveButton, NEGATIVE: ui.negativeButton, BOX: ui.boxButton}
        for kind, button in self._tools.items():
            button.connect("clicked()", lambda kind=kind: self.toggle(kind))
        ui.segmentSelector.connect("activated(int)", self._onSegment)
        ui.newSegmentButton.connect("clicked()", self._onNew)
        ui.lockSegmentButton.connect("clicked()", self._onLock)
        ui.promptList.connect("itemClicked(QListWidgetItem*)", lambda item: self._jump())
        ui.deletePromptButton.connect("clicked()", self._delete)
        ui.clearPromptsButton.connect("clicked()", lambda: self._clear(self.segmentId))
        self._soon = qt.QTimer()
        self._soon.setSingleShot(True)
        self._soon.setInterval(_SOON_MILLISECONDS)
        self._soon.connect("timeout()", self._onSoon)

    @property
    def segmentId(self) -> str:
        return self._editor.segmentId

    def open(self, scan: Any, segmentation: Any) -> None:
        self.close()
        self._scan, self._segmentation = scan, segmentation
        if scan is not None and segmentation is not None:
            self._markers = Markers(scan, segmentation, self._onChanged)
            self._markers.show_only(self.segmentId)

    def close(self) -> None:
        self.stopPlacing()
        self._soon.stop()
        if self._markers is not None:
            self._markers.close()
        self._markers = self._scan = self._segmentation = None

    def prompts(self, segmentId: str) -> list[Any]:
        return self._markers.prompts(segmentId) if self._markers is not None else []

    def forget(self, segmentId: str) -> None:
        """The prompts of a segment have done their work."""
        if self._markers is not None:
            self._silently(lambda: self._clear(segmentId))

    def _clear(self, segmentId: str) -> None:
        self._markers.clear(segmentId)
        if self._placing and segmentId == self.segmentId:  # what was being placed into is gone as well
            self._markers.place(segmentId, self._placing)

    def fill(self, chosen: str) -> None:
        self.choice.fill(self._models.thatTakeClicks, chosen)

    # Placing

    def toggle(self, kind: str) -> None:
        """Begin to place prompts of a kind, or stop if that is what is being done."""
        if not self._tools[kind].enabled:
            return
        if self._placing == kind:
            self.stopPlacing()
            return
        segmentId = self.segmentId or self._newSegment()
        self._editor.stopPainting()
        self._stopMarkers()
        self._placing = kind
        self._markers.place(segmentId, kind)
        self._showTool(kind)

    def stopPlacing(self) -> None:
        self._placing = ""
        self._stopMarkers()
        self._showTool("")

    def followInteraction(self, placing: bool) -> None:
        """Slicer itself has stopped placing, as after a right click."""
        if not placing and self._placing:
            self.stopPlacing()

    def segmentChanged(self) -> None:
        """Another segment is current: its prompts are shown, and the first click on it is a positive one again."""
        if self._markers is None:
            return
        if self._placing:
            segmentId, kind = self.segmentId, POSITIVE if self._placing == NEGATIVE else self._placing
            self.stopPlacing()
            if segmentId:
                self.toggle(kind)
        self._markers.show_only(self.segmentId)

    def _stopMarkers(self) -> None:
        if self._markers is not None:
            self._silently(self._markers.stop_placing)

    def _showTool(self, kind: str) -> None:
        for each, button in self._tools.items():
            button.checked = each == kind

    # What is shown

    def update(self, obstacle: str, busy: str, waiting: str) -> None:
        """`obstacle` keeps prompts from being placed; `busy` keeps models from being fetched; `waiting` is a suggestion
        that has to be answered before segments are changed in another way."""
        ui = self._ui
        self._fillSegments()
        self._fillList()
        segmentId = self.segmentId
        locked = bool(segmentId) and self._segmentation is not None and is_locked(self._segmentation, segmentId)
        ui.lockSegmentButton.checked = locked
        isLocked = _("This segment is locked: press Lock again to change it.") if locked else ""
        none = "" if segmentId else _("Choose a segment, or press New.")
        for button in self._tools.values():
            allow(button, obstacle or isLocked)
        allow(ui.newSegmentButton, obstacle)
        allow(ui.segmentSelector, obstacle)
        allow(ui.lockSegmentButton, obstacle or none)
        nothing = "" if self._listed else _("Nothing is placed for this segment.")
        allow(ui.deletePromptButton, nothing)
        allow(ui.clearPromptsButton, nothing)
        allow(ui.paintedButton, obstacle or none or isLocked or busy)
        allow(ui.splitButton, obstacle or busy or waiting or none or isLocked)
        needs = (
            self.choice.obstacle()
            if self.choice.id
            else _("Refining needs a model that takes clicks: choose one below.")
        )
        allow(ui.refineButton, obstacle or none or isLocked or busy or needs)
        self.choice.update(busy)

    def _fillSegments(self) -> None:
        """The names of the segments; the combo box is only touched when they have changed."""
        selector, found = self._ui.segmentSelector, []
        if self._segmentation is not None:
            segments = self._segmentation.GetSegmentation()
            found = [(segments.GetSegment(one).GetName(), one) for one in segments.GetSegmentIDs()]
        if found != [(selector.itemText(n), str(selector.itemData(n) or "")) for n in range(selector.count)]:
            selector.clear()
            for name, segmentId in found:
                selector.addItem(name, segmentId)
        selector.setCurrentIndex(next((n for n, (_name, one) in enumerate(found) if one == self.segmentId), -1))

    def _fillList(self) -> None:
        placed = self._markers.markers(self.segmentId) if self._markers is not None and self.segmentId else []
        if placed == self._listed:
            return
        self._listed = placed
        prompts = self._ui.promptList
        row = prompts.currentRow
        prompts.clear()
        for marker in placed:
            prompts.addItem(f"{marker.label}   {_WORDS.get(marker.kind, marker.kind)}")
        prompts.setCurrentRow(min(row, len(placed) - 1))

    # What the user does

    def _onSegment(self, index: int) -> None:
        self._editor.select(str(self._ui.segmentSelector.itemData(index) or ""))

    def _onNew(self) -> None:
        self._editor.select(self._newSegment())

    def _newSegment(self) -> str:
        if self._segmentation is None:
            self._begin()
        prepare(self._segmentation, self._scan)
        count = self._segmentation.GetSegmentation().GetNumberOfSegments()
        color = _COLORS[count % len(_COLORS)]
        segmentId = add_segment(self._segmentation, Label(0, _("Segment {n}").format(n=count + 1), color))
        self._editor.select(segmentId)
        return segmentId

    def _onLock(self) -> None:
        if self._segmentation is not None and self.segmentId:
            lock(self._segmentation, self.segmentId, not is_locked(self._segmentation, self.segmentId))
            self._segmentation.Modified()

    def _jump(self) -> None:
        row = self._ui.promptList.currentRow
        if 0 <= row < len(self._listed):
            self._markers.jump(self._listed[row])

    def _delete(self) -> None:
        row = self._ui.promptList.currentRow
        if 0 <= row < len(self._listed):
            self._markers.delete(self._listed[row])

    # What has changed

    def _onChanged(self, segmentId: str) -> None:
        if not self._silent:
            self._changedSegment = segmentId
            self._soon.start()

    def _onSoon(self) -> None:
        self._ask(self._changedSegment)

    def _silently(self, do: Callable[[], None]) -> None:
        self._silent = True
        try:
            do()
        finally:
            self._silent = False


def isPlacing() -> bool:
    node = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLInteractionNode")
    return node is not None and node.GetCurrentInteractionMode() == node.Place
