"""Nodes of a scene: finding them, and watching them without leaving an observer behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
import vtk


def nodes_of(scene: slicer.vtkMRMLScene | None, class_name: str) -> list[slicer.vtkMRMLNode]:
    """All nodes of a class, in a list that stays as it is when nodes are added or removed."""
    if scene is None:
        return []
    return [scene.GetNthNodeByClass(n, class_name) for n in range(scene.GetNumberOfNodesByClass(class_name))]


class Watch:
    """Observers that are removed together, whatever has become of what they watch."""

    def __init__(self) -> None:
        self._kept: list[tuple[vtk.vtkObject, int]] = []

    def on(self, watched: vtk.vtkObject, event: int | str, then: Callable[..., None]) -> None:
        """Call `then(node or None)` at an event; the node is the event's own, where it has one."""

        def told(caller: vtk.vtkObject, event_name: str, data: Any = None) -> None:
            then(data)

        told.CallDataType = vtk.VTK_OBJECT
        self._kept.append((watched, watched.AddObserver(event, told)))

    def end(self) -> None:
        for watched, tag in self._kept:
            watched.RemoveObserver(tag)
        self._kept.clear()
