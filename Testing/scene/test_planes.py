from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.plane import cut, put_back
from SSLSegmentationLib.scene.planes import plane_of, plane_through, window_of
from SSLSegmentationLib.scene.volumes import volume_of
from SSLSegmentationLib.volume import Volume
from Testing.scene.making import placed, scan_in, view_in
from Testing.strategies import numbers, rotations


@given(placed(), st.data())
def test_a_view_along_slices_shows_the_nearest_slice(
    application: Any, case: tuple[Volume, np.ndarray | None], data: st.DataObject
) -> None:
    application.scene.Clear(False)
    volume = volume_of(scan_in(application.scene, *case))
    facing = data.draw(st.integers(0, 2))
    index = data.draw(st.integers(0, volume.shape[2 - facing] - 1))
    off = data.draw(numbers(-0.45, 0.45))
    # Any turn about the normal and any place in the slice: pan and zoom must not change what a model sees.
    columns = np.roll(volume.directions, 2 - facing, axis=1)
    turn, pan = data.draw(numbers(-3.0, 3.0)), data.draw(st.tuples(*[numbers(-500.0, 500.0)] * 2))
    right = columns[:, 0] * np.cos(turn) + columns[:, 1] * np.sin(turn)
    up = columns[:, 1] * np.cos(turn) - columns[:, 0] * np.sin(turn)
    axes = np.stack([right, up, columns[:, 2]], axis=1)
    at = np.zeros(3)
    at[facing] = index + off
    view = view_in(application.scene, axes=axes, at=volume.to_ras(at) + right * pan[0] + up * pan[1])
    image = cut(volume, plane_of(view, volume))
    assert np.array_equal(image, np.take(volume.voxels, index, axis=2 - facing))


@given(placed(), rotations(), st.data())
def test_an_oblique_view_covers_all_of_the_scan_that_it_cuts(
    application: Any, case: tuple[Volume, np.ndarray | None], turn: np.ndarray, data: st.DataObject
) -> None:
    application.scene.Clear(False)
    volume = volume_of(scan_in(application.scene, *case))
    at = volume.to_ras([data.draw(numbers(0.0, 1.0)) * (n - 1) for n in volume.shape[::-1]])
    view = np.eye(4)
    view[:3, :3], view[:3, 3] = turn, at
    plane = plane_through(view, volume)
    assert plane is not None
    axes = plane.pixel_to_ras[:3, :3] / np.linalg.norm(plane.pixel_to_ras[:3, :3], axis=0)
    assume(not np.allclose(np.abs(axes.T @ volume.directions).max(axis=0), 1.0))  # along slices: the test above
    assert abs((plane.to_ras(np.zeros(2)) - at) @ turn[:, 2]) < 2e-3
    # What lies on the plane and in the scan lies in a pixel.
    places = volume.to_ras(np.random.default_rng(0).uniform(-0.5, np.array(volume.shape[::-1]) - 0.5, (200, 3)))
    flat = places - ((places - at) @ turn[:, 2])[:, None] * turn[:, 2]
    inside = volume.to_ijk(flat)
    flat = flat[((inside >= -0.5) & (inside <= np.array(volume.shape[::-1]) - 0.5)).all(axis=1)]
    pixels = plane.to_pixel(flat)
    assert (pixels[:, :2] >= -0.5 - 2e-3).all()
    assert (pixels[:, :2] <= np.array(plane.shape[::-1]) - 0.5 + 2e-3).all()
    # Rows run down the screen and columns to the right, as the view shows them.
    assert plane.pixel_to_ras[:3, 0] @ turn[:, 0] > 0
    assert plane.pixel_to_ras[:3, 1] @ turn[:, 1] < 0


def test_a_mask_drawn_on_a_view_comes_back_into_the_slice(scene: Any) -> None:
    scan = scan_in(scene)
    volume = volume_of(scan)
    plane = plane_of(view_in(scene, at=(3.3, 2.2, 5.2)), volume)
    drawn = np.zeros(plane.shape, dtype=bool)
    drawn[2:4, 3:7] = True
    box, bits = put_back(drawn, plane, volume)
    assert box == np.s_[5:6, 2:4, 3:7]
    assert bits.all()


def test_a_view_beside_the_scan_is_told_by_name(scene: Any) -> None:
    volume = volume_of(scan_in(scene))
    with pytest.raises(InputError, match="The view Green shows no part of scan: scroll"):
        plane_of(view_in(scene, "Green", at=(0, 0, 40)), volume)
    tilted = np.array([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]])
    with pytest.raises(InputError, match="The view Blue shows no part of scan"):
        plane_of(view_in(scene, "Blue", tilted, at=(0, 0, 90)), volume)


def test_the_window_is_what_the_user_looks_through(scene: Any) -> None:
    scan = scan_in(scene)
    scan.GetDisplayNode().SetAutoWindowLevel(False)
    scan.GetDisplayNode().SetWindowLevel(350.0, 40.0)
    assert window_of(scan) == (350.0, 40.0)
    scene.RemoveNode(scan.GetDisplayNode())
    assert window_of(scan) is None
