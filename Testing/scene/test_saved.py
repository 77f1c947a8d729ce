"""Scenes that are saved and loaded: what the user made comes back, what was only looked at does not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.scene.doubt import Doubt
from SSLSegmentationLib.scene.markers import Markers
from SSLSegmentationLib.scene.nodes import nodes_of
from SSLSegmentationLib.scene.preview import Preview
from SSLSegmentationLib.scene.segments import is_locked, lock
from SSLSegmentationLib.scene.views import composites
from SSLSegmentationLib.scene.volumes import volume_of
from SSLSegmentationLib.scene.writer import SegmentWriter
from SSLSegmentationLib.volume import Volume
from Testing.scene.making import bits_of, editor_of, mask, noise, proposal_to, scan_in, segment_in, view_in

TILTED = np.array([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]])


def saved_and_loaded(scene: Any, path: Path) -> None:
    path = path.absolute()  # Slicer reads bundles from absolute paths only
    if path.suffix == ".mrb":
        assert scene.WriteToMRB(str(path))
        scene.Clear(False)
        assert scene.ReadFromMRB(str(path), True)
    else:
        scene.SetURL(str(path))
        for node in nodes_of(scene, "vtkMRMLStorableNode"):
            if node.GetSaveWithScene() and node.GetStorageNode() is None:
                node.AddDefaultStorageNode()
            storage = node.GetStorageNode() if node.GetSaveWithScene() else None
            if storage is not None:
                ending = storage.GetDefaultWriteFileExtension()
                storage.SetFileName(str(path.parent / f"{node.GetID()}.{ending}"))
                assert storage.WriteData(node)
        assert scene.Commit(str(path))
        scene.Clear(False)
        assert scene.Connect()


@pytest.fixture(params=["case.mrb", "case.mrml"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / request.param


def test_prompts_segments_and_locks_come_back_and_nothing_that_was_only_shown(
    application: SimpleNamespace, scene: Any, path: Path
) -> None:
    matrix = np.diag([0.5, 0.5, 2.0, 1.0])
    scan = scan_in(scene, Volume(np.arange(720, dtype=np.int16).reshape(8, 9, 10), matrix, name="CT"))
    editor = editor_of(scene, scan)
    node, writer = editor.GetSegmentationNode(), SegmentWriter(editor)
    liver, spleen = segment_in(node, "liver"), segment_in(node, "spleen")
    writer.accept(proposal_to(node, liver, scan, noise(scan, 1)), liver)
    lock(node, spleen)
    markers = Markers(scan, node)
    view = view_in(scene, "Red", TILTED, at=(2, 2, 6))
    markers.add_point(liver, (2, 2, 6), True, view)
    markers.add_point(liver, (1, 1, 2), False)
    markers.add_box(spleen, (1, 1.2, 6), (3, 3, 6), view)
    wanted = {segment: markers.prompts(segment) for segment in (liver, spleen)}
    doubt, preview = Doubt(scan, volume_of(scan).with_voxels(noise(scan, 2).astype(np.float32))), Preview(scan)
    doubt.show()
    preview.show({}, [(Label(1, "x"), mask(noise(scan, 3)))])
    for each in (writer, markers):
        each.close()
    # A slanted view without a name for its orientation is an error to Slicer itself when it is loaded.
    scene.RemoveNode(view)

    saved_and_loaded(scene, path)

    (scan,) = nodes_of(scene, "vtkMRMLScalarVolumeNode")
    (node,) = nodes_of(scene, "vtkMRMLSegmentationNode")
    assert scan.GetName() == "CT"
    assert node.GetName() == "CT segmentation"
    assert np.array_equal(bits_of(node, liver, scan), noise(scan, 1))
    assert is_locked(node, spleen)
    assert not is_locked(node, liver)
    assert scene.GetNumberOfNodesByClass("vtkMRMLColorTableNode") == 0 or not nodes_named(scene, "Doubt")
    told: list[str] = []
    markers = Markers(scan, node, told.append)
    for segment, prompts in wanted.items():
        found = markers.prompts(segment)
        assert len(found) == len(prompts)
        for old, new in zip(prompts, found, strict=True):
            assert type(new) is type(old)
            assert (new.plane is None) == (old.plane is None)
            if old.plane is not None:
                assert np.allclose(new.plane.pixel_to_ras, old.plane.pixel_to_ras, rtol=0, atol=2e-3)
                assert new.plane.shape == old.plane.shape
    assert np.allclose(markers.prompts(liver)[0].ras, (2, 2, 6), rtol=0, atol=1e-4)
    assert [prompt.positive for prompt in markers.prompts(liver)] == [True, False]
    assert np.allclose(markers.prompts(spleen)[0].corners, wanted[spleen][0].corners, rtol=0, atol=1e-4)
    # They are watched like new ones.
    markers.add_point(liver, (1, 1, 4))
    markers.delete(markers.markers(liver)[0])
    assert told == [liver, liver]
    assert len(markers.markers(liver)) == 2
    markers.close()
    assert all(scene.GetNodeByID(c.GetForegroundVolumeID() or "") in (None, scan) for c in composites(scene))


def test_doubt_is_saved_if_the_user_wants_it(scene: Any, path: Path) -> None:
    scan = scan_in(scene)
    values = np.linspace(0, 1, 720, dtype=np.float32).reshape(8, 9, 10)
    doubt = Doubt(scan, volume_of(scan).with_voxels(values, name="doubt of CT"))
    doubt.keep(True)
    doubt.set_threshold(0.25)
    saved_and_loaded(scene, path)
    (node,) = nodes_named(scene, "doubt of CT")
    assert np.allclose(volume_of(node).voxels, values)
    assert node.GetDisplayNode().GetColorNode().GetName() == "Doubt"
    assert node.GetDisplayNode().GetLowerThreshold() == 0.25


def nodes_named(scene: Any, name: str) -> list[Any]:
    return [node for node in nodes_of(scene, "vtkMRMLNode") if node.GetName() == name]
