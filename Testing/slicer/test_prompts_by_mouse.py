"""Prompts placed, moved and chained by the mouse in straight and slanted views, through Slicer's own interaction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from Testing.standin.driver import Driver


class Desk:
    def __init__(self, app: Driver) -> None:
        import slicer

        from SSLSegmentationLib.scene.markers import Markers
        from SSLSegmentationLib.scene.segments import new_segmentation
        from SSLSegmentationLib.scene.volumes import add_volume
        from SSLSegmentationLib.volume import Volume
        from Testing.scene.making import segment_in

        voxels = np.random.default_rng(0).integers(0, 100, (40, 45, 60)).astype(np.int16)
        self.scan = add_volume(slicer.mrmlScene, Volume(voxels, np.diag([-1.0, -1.0, 2.5, 1.0]), name="scan"))
        slicer.util.setSliceViewerLayers(background=self.scan, fit=True)
        self.node = new_segmentation(self.scan)
        self.liver = segment_in(self.node)
        self.told: list[str] = []
        self.markers = Markers(self.scan, self.node, self.told.append)
        app.turn()


@pytest.fixture
def desk(slicer_app: Driver) -> Iterator[Desk]:
    desk = Desk(slicer_app)
    yield desk
    desk.markers.stop_placing()
    desk.markers.close()


def slanted(app: Driver, name: str) -> Any:
    import vtk

    view = app.view(name)
    turn = vtk.vtkTransform()
    turn.SetMatrix(view.node.GetSliceToRAS())
    turn.RotateX(25)
    turn.RotateY(15)
    view.node.GetSliceToRAS().DeepCopy(turn.GetMatrix())
    view.node.UpdateMatrices()
    app.turn()
    return view


@pytest.mark.parametrize("oblique", [False, True], ids=["straight", "slanted"])
def test_clicks_place_points_on_the_plane_of_their_view(slicer_app: Driver, desk: Desk, oblique: bool) -> None:
    from SSLSegmentationLib.scene.markers import NEGATIVE, POSITIVE
    from SSLSegmentationLib.scene.planes import plane_of
    from SSLSegmentationLib.scene.volumes import volume_of

    view = slanted(slicer_app, "Green") if oblique else slicer_app.view("Red")
    desk.markers.place(desk.liver, POSITIVE)
    view.click(150, 120)
    view.click(160, 130)
    desk.markers.place(desk.liver, NEGATIVE)
    view.click(140, 150)
    assert desk.told == [desk.liver] * 3
    prompts = desk.markers.prompts(desk.liver)
    assert [prompt.positive for prompt in prompts] == [True, True, False]
    plane = plane_of(view.node, volume_of(desk.scan))
    for prompt, pixel in zip(prompts, [(150, 120), (160, 130), (140, 150)], strict=True):
        assert prompt.ras == pytest.approx(view.ras_of(*pixel), abs=1e-6)
        # To the last bit: what a model has seen of the plane is found again.
        assert np.array_equal(prompt.plane.pixel_to_ras, plane.pixel_to_ras)
        assert prompt.plane.shape == plane.shape


@pytest.mark.parametrize("oblique", [False, True], ids=["straight", "slanted"])
def test_one_box_after_the_other_is_drawn_on_the_slice(slicer_app: Driver, desk: Desk, oblique: bool) -> None:
    from SSLSegmentationLib.scene.markers import BOX

    view = slanted(slicer_app, "Green") if oblique else slicer_app.view("Red")
    desk.markers.place(desk.liver, BOX)
    drawn = [((100, 80), (160, 130)), ((180, 150), (220, 190))]
    for corner, opposite in drawn:
        view.click(*corner)
        view.move(*((a + b) / 2 for a, b in zip(corner, opposite, strict=True)))
        view.click(*opposite)
    desk.markers.stop_placing()
    boxes = desk.markers.prompts(desk.liver)
    assert desk.told == [desk.liver] * 2
    for box, pixels in zip(boxes, drawn, strict=True):
        for pixel in pixels:
            assert np.linalg.norm(box.corners - view.ras_of(*pixel), axis=1).min() < 1e-3
        assert len(box.edges) == 2


def test_a_point_that_is_dragged_away_is_told_once_and_lies_there(slicer_app: Driver, desk: Desk) -> None:
    from SSLSegmentationLib.scene.markers import POSITIVE

    view = slicer_app.view("Red")
    desk.markers.place(desk.liver, POSITIVE, again=False)
    view.click(150, 120)
    desk.told.clear()
    view.drag((150, 120), (180, 140))
    assert desk.told == [desk.liver]
    assert desk.markers.prompts(desk.liver)[0].ras == pytest.approx(view.ras_of(180, 140), abs=1e-3)
