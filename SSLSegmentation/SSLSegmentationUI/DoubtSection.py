"""Doubt: shown over the scan, and visited region by region, the worst first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
from slicer.i18n import tr as _
from SSLSegmentationLib.proposal import Proposal
from SSLSegmentationLib.scene.doubt import Doubt
from SSLSegmentationLib.scene.volumes import volume_of
from SSLSegmentationLib.volume import Volume

from SSLSegmentationUI.Errand import Errand
from SSLSegmentationUI.Widgets import allow

_FILLED = "SSLSegmentation.Filled"


class Outlines:
    """While doubt is shown, segments are drawn as outlines, or they would hide it; then as the user had them.

    What was filled is noted in the scene: Slicer says nothing before it saves one, and in a scene that was saved
    meanwhile the doubt is gone, but the outlines are not.
    """

    def show(self) -> None:
        for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
            display = node.GetDisplayNode()
            if display is not None and display.GetVisibility2DFill() and not node.GetHideFromEditors():
                display.SetAttribute(_FILLED, "1")
                display.SetVisibility2DFill(False)

    def hide(self) -> None:
        for display in slicer.util.getNodesByClass("vtkMRMLSegmentationDisplayNode"):
            if display.GetAttribute(_FILLED):
                display.SetAttribute(_FILLED, None)
                display.SetVisibility2DFill(True)


class DoubtSection:
    def __init__(self, ui: Any, tell: Callable[[Exception], None]) -> None:
        self._ui = ui
        self._tell = tell
        self._doubt: Doubt | None = None
        self._outlines = Outlines()
        self._regions: list[Any] | None = None
        self._next = 0
        self._errand: Errand | None = None
        self._settings = (False, 0.0, 0.0)
        ui.nextUnsureButton.connect("clicked()", self.goToNext)

    def use(self, scan: Any, uncertainty: Volume) -> None:
        """From now on this is what is known of the doubt about a scan."""
        self.close()
        self._doubt = Doubt(scan, uncertainty)
        self._apply()

    @property
    def volume(self) -> Volume | None:
        """What is known of the doubt about the scan."""
        return volume_of(self._doubt.node) if self._has() else None

    def learn(self, proposals: dict[str, Proposal]) -> None:
        """What corrections say about their part of the scan."""
        if self._doubt is None:
            return
        for proposal in proposals.values():
            if proposal.uncertainty is not None:
                self._doubt.update(proposal.box, proposal.uncertainty)
        self._forgetRegions()

    def close(self) -> None:
        self._forgetRegions()
        self._outlines.hide()
        doubt, self._doubt = self._doubt, None
        if doubt is not None:
            doubt.close()

    def set(self, shown: bool, opacity: float, threshold: float) -> None:
        """What the user has chosen."""
        if threshold != self._settings[2]:
            self._forgetRegions()
        if (shown, opacity, threshold) != self._settings:
            self._settings = (shown, opacity, threshold)
            self._apply()

    def update(self) -> None:
        ui = self._ui
        obstacle = "" if self._has() else _("Nothing is known of doubt yet: press Segment, which finds it out.")
        for control in (ui.showDoubtCheckBox, ui.doubtOpacitySlider, ui.doubtThresholdSlider, ui.nextUnsureButton):
            allow(control, obstacle)

    def goToNext(self) -> None:
        """Centre all views on the next region."""
        if not self._has() or self._errand is not None:
            return
        if self._regions is None:
            self._ui.doubtLabel.text = _("Looking…")
            self._errand = Errand(self._doubt.finding(max(self._settings[2], 0.01)), self._found, self._failed).start()
        elif self._regions:
            number = self._next % len(self._regions)
            self._doubt.go_to(self._regions[number])
            self._next = number + 1
            self._ui.doubtLabel.text = _("{n} of {count}").format(n=number + 1, count=len(self._regions))

    def _found(self, regions: list[Any]) -> None:
        self._errand, self._regions, self._next = None, regions, 0
        if regions:
            self.goToNext()
        else:
            self._ui.doubtLabel.text = _("None above the threshold")

    def _failed(self, error: Exception) -> None:
        self._forgetRegions()
        self._tell(error)

    def _forgetRegions(self) -> None:
        if self._errand is not None:
            self._errand.drop()
        self._errand, self._regions = None, None
        self._ui.doubtLabel.text = ""

    def _has(self) -> bool:
        return self._doubt is not None and self._doubt.node is not None

    def _apply(self) -> None:
        if not self._has():
            return
        shown, opacity, threshold = self._settings
        self._doubt.set_threshold(threshold)
        if shown:
            self._doubt.show(opacity)
            self._outlines.show()
        else:
            self._doubt.hide()
            self._outlines.hide()
