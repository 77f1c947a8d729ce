"""A slice view and a 3D view rendered offscreen by the displayable managers of slicer-core. Nothing here knows Qt.

Follows qMRMLSliceView and qMRMLThreeDView with what ctkVTKSliceView and ctkVTKRenderView set up for them. Events enter
through `send`, in pixels from the upper left corner as Qt counts them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy


class RenderedView:
    """A render window, its interactor and a group of displayable managers that draws into it."""

    def __init__(self, style: Any, factory: Any, interactor_style: Any, renderer: Any) -> None:
        self.renderer = renderer
        self.window = vtk.vtkRenderWindow()
        self.window.SetOffScreenRendering(True)
        self.window.SetMultiSamples(0)
        self.window.SetAlphaBitPlanes(True)
        self.window.SetSize(300, 300)
        self.window.AddRenderer(renderer)
        self.interactor = vtk.vtkGenericRenderWindowInteractor()
        self.interactor.SetRenderWindow(self.window)
        self.interactor.EnableRenderOff()  # the view decides when to render
        self.interactor.SetInteractorStyle(interactor_style)
        self.interactor.Initialize()
        self.managers = factory.InstantiateDisplayableManagers(renderer)
        self.style = style
        style.SetDisplayableManagers(self.managers)
        style.SetInteractor(self.interactor)
        self.on_render_requested: Callable[[], None] = lambda: None
        self.managers.AddObserver(vtk.vtkCommand.UpdateEvent, lambda *_: self.on_render_requested())

    def resize(self, width: int, height: int) -> None:
        self.window.SetSize(width, height)
        self.interactor.UpdateSize(width, height)
        self.interactor.InvokeEvent(vtk.vtkCommand.ConfigureEvent)

    def picture(self) -> np.ndarray:
        """The view as it would be on the screen: rows from the top, RGB."""
        self.window.Render()
        width, height = self.window.GetSize()
        pixels = vtk.vtkUnsignedCharArray()
        self.window.GetPixelData(0, 0, width - 1, height - 1, 1, pixels, 0)
        return np.ascontiguousarray(vtk_to_numpy(pixels).reshape(height, width, 3)[::-1])

    def send(
        self,
        event: str,
        x: float,
        y: float,
        *,
        control: bool = False,
        shift: bool = False,
        alt: bool = False,
        key: str = "",
        repeat: int = 0,
    ) -> None:
        """One event of the mouse or keyboard, as QVTKInteractorAdapter hands it on."""
        height = self.window.GetSize()[1]
        code = key if len(key) == 1 else "\0"
        self.interactor.SetEventInformation(round(x), height - 1 - round(y), control, shift, code, repeat, key or None)
        self.interactor.SetAltKey(alt)
        self.interactor.InvokeEvent(event)

    def close(self) -> None:
        self.on_render_requested = lambda: None
        self.managers.SetMRMLDisplayableNode(None)
        self.style.SetInteractor(None)
        self.window.Finalize()


class RenderedSlice(RenderedView):
    """What qMRMLSliceView shows: the blended layers of a slice logic, and what the managers draw over them."""

    def __init__(self) -> None:
        renderer = vtk.vtkRenderer()
        renderer.GetActiveCamera().ParallelProjectionOn()
        super().__init__(
            slicer.vtkMRMLSliceViewInteractorStyle(),
            slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance(),
            vtk.vtkInteractorStyleUser(),
            renderer,
        )
        self._mapper = vtk.vtkImageMapper()
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        self._actor = vtk.vtkActor2D()
        self._actor.SetMapper(self._mapper)
        self._actor.GetProperty().SetDisplayLocationToBackground()
        renderer.AddViewProp(self._actor)
        self.logic: Any = None

    def follow(self, logic: Any) -> None:
        self.logic = logic
        logic.SetDisplayableManagerGroup(self.managers)
        self.style.SetSliceLogic(logic)
        logic.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._connect())
        self.managers.SetMRMLDisplayableNode(logic.GetSliceNode())
        self._connect()

    def _connect(self) -> None:
        """The picture of the slice changes its source whenever a layer gets or loses a volume."""
        source = self.logic.GetImageDataConnection()
        self._mapper.SetInputConnection(source)
        self._actor.SetVisibility(source is not None)
        self.on_render_requested()

    def resize(self, width: int, height: int) -> None:
        super().resize(width, height)
        self.logic.ResizeSliceNode(width, height)


class RenderedThreeD(RenderedView):
    """What qMRMLThreeDView shows."""

    def __init__(self) -> None:
        renderer = vtk.vtkRenderer()
        renderer.SetGradientBackground(True)
        super().__init__(
            slicer.vtkMRMLThreeDViewInteractorStyle(),
            slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance(),
            vtk.vtkInteractorStyle3D(),
            renderer,
        )
        self.logic: Any = None

    def follow(self, logic: Any) -> None:
        self.logic = logic
        logic.SetDisplayableManagerGroup(self.managers)
        self.managers.SetMRMLDisplayableNode(logic.GetViewNode())
