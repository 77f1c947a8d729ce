"""What the slice views show: their layers, and the place at their centre."""

from __future__ import annotations

from collections.abc import Sequence

import slicer

from SSLSegmentationLib.scene.nodes import nodes_of


def composites(scene: slicer.vtkMRMLScene) -> list[slicer.vtkMRMLSliceCompositeNode]:
    """The nodes that say which volumes each slice view shows."""
    return nodes_of(scene, "vtkMRMLSliceCompositeNode")


def centre_views(scene: slicer.vtkMRMLScene, ras: Sequence[float]) -> None:
    """Bring a place into the middle of every slice view, however it is turned, and put the crosshair on it."""
    for view in nodes_of(scene, "vtkMRMLSliceNode"):
        view.JumpSliceByCentering(*ras)
    for crosshair in nodes_of(scene, "vtkMRMLCrosshairNode"):
        crosshair.SetCrosshairRAS(list(ras))


def view_at(scene: slicer.vtkMRMLScene, ras: Sequence[float]) -> slicer.vtkMRMLSliceNode | None:
    """The slice view in which something was just placed: that under the cursor, else any whose slice holds the place.

    None where it lies on no slice, as when it was placed in a 3D view.
    """
    crosshair = scene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    under = crosshair.GetCursorPositionXYZ([0.0, 0.0, 0.0]) if crosshair is not None else None
    views = [view for view in (under, *nodes_of(scene, "vtkMRMLSliceNode")) if view is not None]
    return next((view for view in views if _holds(view, ras)), None)


def _holds(view: slicer.vtkMRMLSliceNode, ras: Sequence[float]) -> bool:
    matrix = view.GetSliceToRAS()
    normal = [matrix.GetElement(row, 2) for row in range(3)]
    height = sum(
        n * (place - matrix.GetElement(row, 3)) for row, (n, place) in enumerate(zip(normal, ras, strict=True))
    )
    return abs(height) < _ON_SLICE


_ON_SLICE = 0.01  # mm
