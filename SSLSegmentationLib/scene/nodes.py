"""Nodes of a scene: finding them, and watching them without leaving an observer behind."""

from __future__ import annotations

from collections.abc import Callable

import slicer
import vtk


def nodes_of(scene: slicer.vtkMRMLScene | None, class_name: str) -> list[slicer.vtkMRMLNode]:
    """All nodes of a class, in a list that stays as it is when nodes are added or removed."""
    if scene is None:
        return []
    return [scene.GetNthNodeByClass(n, class_name) for n in range(scene.GetNumberOfNodesByClass(class_name))]


def remove(node: slicer.vtkMRMLDisplayableNode) -> None:
    """Take a node out of its scene, together with how it is displayed and stored, which Slicer would leave behind."""
    scene = node.GetScene()
    if scene is None:
        return
    with_it = [node.GetNthDisplayNode(n) for n in range(node.GetNumberOfDisplayNodes())]
    with_it += [node.GetNthStorageNode(n) for n in range(node.GetNumberOfStorageNodes())]
    scene.RemoveNode(node)
    for each in with_it:
        if each is not None and each.GetScene() is scene:
            scene.RemoveNode(each)


class Watch:
    """Observers that are removed together, whatever has become of what they watch."""

    def __init__(self) -> None:
        self._kept: list[tuple[vtk.vtkObject, int]] = []

    def on(self, watched: vtk.vtkObject, event: int | str, then: Callable[[], None]) -> None:
        self._kept.append((watched, watched.AddObserver(event, lambda caller, name: then())))

    def on_node(self, watched: vtk.vtkObject, event: int | str, then: Callable[[slicer.vtkMRMLNode], None]) -> None:
        """For events that come with a node, as those of a scene that gains or loses one."""

        def told(caller: vtk.vtkObject, name: str, node: slicer.vtkMRMLNode | None = None) -> None:
            if node is not None:
                then(node)

        told.CallDataType = vtk.VTK_OBJECT
        self._kept.append((watched, watched.AddObserver(event, told)))

    def end(self, watched: vtk.vtkObject | None = None) -> None:
        """Stop watching one thing, or all."""
        for each, tag in self._kept:
            if watched is None or each is watched:
                each.RemoveObserver(tag)
        self._kept = [] if watched is None else [kept for kept in self._kept if kept[0] is not watched]


def hide_from_user(node: slicer.vtkMRMLNode) -> None:
    """What is only there while something is looked at: in no list of the window, and in no saved scene."""
    node.SetHideFromEditors(True)
    node.SetSaveWithScene(False)


def follow(node: slicer.vtkMRMLTransformableNode | None, scan: slicer.vtkMRMLVolumeNode) -> None:
    """Put a node under the transform of a scan, as it is now."""
    if node is not None and node.GetTransformNodeID() != scan.GetTransformNodeID():
        node.SetAndObserveTransformNodeID(scan.GetTransformNodeID())
