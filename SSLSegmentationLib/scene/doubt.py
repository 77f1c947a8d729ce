"""Doubt: where a model is unsure, laid over the scan in its own colours, and taken off again without a trace."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import slicer

from SSLSegmentationLib.plane import Box
from SSLSegmentationLib.regions import UnsureRegion, finding_regions
from SSLSegmentationLib.scene.nodes import Watch, follow, remove
from SSLSegmentationLib.scene.views import centre_views, composites
from SSLSegmentationLib.scene.volumes import add_volume, volume_of, write_into
from SSLSegmentationLib.steps import Steps
from SSLSegmentationLib.volume import Volume

_STOPS = (
    (0.0, (0.16, 0.05, 0.42)),
    (0.3, (0.52, 0.05, 0.60)),
    (0.6, (0.88, 0.25, 0.38)),
    (0.85, (0.99, 0.62, 0.16)),
    (1.0, (1.0, 0.96, 0.45)),
)
"""From sure to unsure: violet, magenta, orange, yellow. Its brightness rises all the way, so that it can be read
without telling red from green, and none of it is a grey of the scan."""


@dataclass(frozen=True)
class _Layer:
    """What a slice view had in front before."""

    volume_id: str | None
    opacity: float


class Doubt:
    """An uncertainty on the grid of a scan, as a volume of its own in the foreground of all slice views.

    It is not saved with the scene unless the user wants it (`keep`).
    """

    def __init__(self, scan: slicer.vtkMRMLScalarVolumeNode, uncertainty: Volume) -> None:
        self._scan, self._scene = scan, scan.GetScene()
        self._before: dict[str, _Layer] = {}
        self._opacity = 0.5
        self._colors = _color_table(self._scene)
        self.node = add_volume(self._scene, uncertainty, scan, shown=False)
        self._display = slicer.vtkMRMLScalarVolumeDisplayNode()
        self._display.SetAutoWindowLevel(False)
        self._display.SetAndObserveColorNodeID(self._colors.GetID())
        self._scene.AddNode(self._display)
        self.node.SetAndObserveDisplayNodeID(self._display.GetID())
        self.set_window(0.0, 1.0)
        self.set_threshold(0.1)
        self.keep(False)
        self._watch = Watch()
        self._watch.on_node(self._scene, self._scene.NodeAboutToBeRemovedEvent, self._leaving)
        self._watch.on_node(self._scene, self._scene.NodeRemovedEvent, self._removed)
        self._watch.on_node(self._scene, self._scene.NodeAddedEvent, self._added)
        self._watch.on(scan, scan.TransformModifiedEvent, lambda: follow(self.node, scan))

    @property
    def shown(self) -> bool:
        return bool(self._before)

    def show(self, opacity: float | None = None) -> None:
        """Lay it over the scan in all slice views, and remember what they had in front."""
        self._opacity = self._opacity if opacity is None else opacity
        for composite in composites(self._scene):
            self._put_on(composite)

    def hide(self) -> None:
        """Give every view back what it had in front, unless the user has put something else there since."""
        before, self._before = self._before, {}
        for composite in composites(self._scene):
            layer = before.get(composite.GetID())
            if layer is not None and self.node is not None and composite.GetForegroundVolumeID() == self.node.GetID():
                composite.SetForegroundVolumeID(layer.volume_id)
                composite.SetForegroundOpacity(layer.opacity)

    def set_opacity(self, opacity: float) -> None:
        self._opacity = opacity
        for composite in composites(self._scene):
            if self.node is not None and composite.GetForegroundVolumeID() == self.node.GetID():
                composite.SetForegroundOpacity(opacity)

    def set_window(self, low: float, high: float) -> None:
        """The doubt that has the first colour, and that which has the last."""
        self._display.SetWindowLevelMinMax(low, high)

    def set_threshold(self, threshold: float) -> None:
        """The least doubt that is shown."""
        self._display.SetThreshold(threshold, max(1.0, threshold))
        self._display.SetApplyThreshold(True)

    def update(self, box: Box, values: np.ndarray) -> None:
        """What is known now inside a box, as after a correction."""
        if self.node is not None and all(s.start < s.stop for s in box):
            write_into(self.node, box, values)

    def finding(self, threshold: float = 0.5) -> Steps[list[UnsureRegion]]:
        """The regions of doubt, the worst first, in pieces."""
        return finding_regions(volume_of(self.node), threshold)

    def go_to(self, region: UnsureRegion) -> None:
        centre_views(self._scene, region.centre_ras)

    def keep(self, kept: bool) -> None:
        """Whether it is saved with the scene."""
        for node in (self.node, self._display, self._colors):
            node.SetSaveWithScene(kept)

    def close(self) -> None:
        """Take it off and out of the scene."""
        self._watch.end()
        self.hide()
        node, self.node = self.node, None
        if node is not None:
            remove(node)
        for each in (self._display, self._colors):
            if each.GetScene() is self._scene:
                self._scene.RemoveNode(each)

    def _put_on(self, composite: slicer.vtkMRMLSliceCompositeNode) -> None:
        if self.node is None:
            return
        if composite.GetForegroundVolumeID() != self.node.GetID():
            layer = _Layer(composite.GetForegroundVolumeID(), composite.GetForegroundOpacity())
            self._before[composite.GetID()] = layer
            composite.SetForegroundVolumeID(self.node.GetID())
        composite.SetForegroundOpacity(self._opacity)

    def _added(self, node: slicer.vtkMRMLNode) -> None:
        # Another layout brings views of its own.
        if self.shown and node.IsA("vtkMRMLSliceCompositeNode"):
            self._put_on(node)

    def _leaving(self, node: slicer.vtkMRMLNode) -> None:
        if node is self.node:
            self.hide()

    def _removed(self, node: slicer.vtkMRMLNode) -> None:
        if node is self.node:
            self.node = None
        if self.node is None or node is self._scan:
            self.close()


def _color_table(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLColorTableNode:
    table = slicer.vtkMRMLColorTableNode()
    table.SetTypeToUser()
    table.SetName("Doubt")
    table.SetNumberOfColors(256)
    places, colors = [stop for stop, _ in _STOPS], np.array([color for _, color in _STOPS])
    for index in range(256):
        color = [float(np.interp(index / 255, places, channel)) for channel in colors.T]
        table.SetColor(index, f"{index / 255:.2f}", *color, 1.0)
    table.SetHideFromEditors(True)
    return scene.AddNode(table)
