"""The views of the stand-in: Slicer's own pictures and Slicer's own reactions to mouse and keyboard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from Testing.standin.driver import Driver


@pytest.fixture
def scan(slicer_app: Driver) -> Any:
    """A bright block in noise, 60×45×40 voxels of 1×1×2.5 mm, shown in all views."""
    import slicer

    voxels = np.random.default_rng(0).integers(0, 100, (40, 45, 60)).astype(np.int16)
    voxels[10:30, 15:30, 20:40] += 300
    node = slicer.util.addVolumeFromArray(voxels, name="scan")
    node.SetSpacing(1, 1, 2.5)
    slicer.util.setSliceViewerLayers(background=node, fit=True)
    slicer_app.turn()
    return node


def start_placing(kind: str) -> Any:
    import slicer

    node = slicer.mrmlScene.AddNewNodeByClass(kind)
    node.CreateDefaultDisplayNodes()
    logic = slicer.app.applicationLogic()
    logic.GetSelectionNode().SetReferenceActivePlaceNodeClassName(kind)
    logic.GetSelectionNode().SetActivePlaceNodeID(node.GetID())
    logic.GetInteractionNode().SetCurrentInteractionMode(logic.GetInteractionNode().Place)
    return node


@pytest.mark.parametrize("name", ["Red", "Yellow", "Green"])
def test_a_click_in_place_mode_puts_a_point_at_exactly_that_place(slicer_app: Driver, scan: Any, name: str) -> None:
    points = start_placing("vtkMRMLMarkupsFiducialNode")
    view = slicer_app.view(name)
    view.click(150, 120)
    assert points.GetNumberOfControlPoints() == 1
    assert points.GetNthControlPointPositionWorld(0) == pytest.approx(view.ras_of(150, 120), abs=1e-9)


def test_a_click_in_an_oblique_view_puts_a_point_on_its_slice(slicer_app: Driver, scan: Any) -> None:
    view = slicer_app.view("Red")
    view.node.SetSliceToRASByNTP(0.3, 0.1, 0.95, 0.95, 0.2, -0.3, 30, 22, 50, 0)
    slicer_app.turn()
    points = start_placing("vtkMRMLMarkupsFiducialNode")
    view.click(200, 140)
    assert points.GetNthControlPointPositionWorld(0) == pytest.approx(view.ras_of(200, 140), abs=1e-9)


def test_the_wheel_moves_the_slice_by_one_voxel(slicer_app: Driver, scan: Any) -> None:
    view = slicer_app.view("Red")
    before = view.offset
    view.wheel(2)
    assert view.offset == pytest.approx(before + 5)
    view.wheel(-1)
    assert view.offset == pytest.approx(before + 2.5)


def test_dragging_a_handle_of_a_box_changes_its_size(slicer_app: Driver, scan: Any) -> None:
    import slicer

    box = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode")
    box.CreateDefaultDisplayNodes()
    box.GetDisplayNode().SetHandlesInteractive(True)
    view = slicer_app.view("Red")
    view.jump_to((30, 22, 50))
    box.SetCenter(30, 22, 50)
    box.SetSize(20, 16, 20)
    slicer_app.render()
    handle = view.place_of((40, 22, 50))
    view.drag(handle, (handle[0] - 40, handle[1]))
    moved = view.ras_of(0, 0)[0] - view.ras_of(40, 0)[0]
    assert abs(box.GetSize()[0] - 20) == pytest.approx(abs(moved), abs=0.01)
    assert box.GetSize()[1:] == pytest.approx((16, 20))


def test_what_is_bright_in_the_scan_is_bright_in_the_picture(slicer_app: Driver, scan: Any) -> None:
    view = slicer_app.view("Red")
    view.offset = 50
    picture = view.picture().mean(axis=2)
    inside, outside = view.place_of((30, 22, 50)), view.place_of((5, 5, 50))
    assert picture[inside[1] - 5 : inside[1] + 5, inside[0] - 5 : inside[0] + 5].mean() > 150
    assert picture[outside[1] - 5 : outside[1] + 5, outside[0] - 5 : outside[0] + 5].mean() < 80


def test_the_views_outlive_the_scene(slicer_app: Driver, scan: Any) -> None:
    import slicer

    slicer.mrmlScene.Clear(False)
    slicer_app.render()
    assert slicer_app.view("Red").picture().max() < 200
    again = slicer.util.addVolumeFromArray(np.full((20, 20, 20), 7, np.int16))
    slicer.util.setSliceViewerLayers(background=again, fit=True)
    points = start_placing("vtkMRMLMarkupsFiducialNode")
    slicer_app.view("Green").click(90, 90)
    assert points.GetNumberOfControlPoints() == 1
