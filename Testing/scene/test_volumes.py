from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
import vtk
from hypothesis import given

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.io.write import write_volume
from SSLSegmentationLib.scene.arrays import array_of, image_of, matrix_of, voxels_of
from SSLSegmentationLib.scene.volumes import add_volume, frame_note, stamp_of, volume_of, write_into
from SSLSegmentationLib.volume import Volume
from Testing.scene.making import placed, scan_in, transform_in
from Testing.strategies import directions_of


@given(placed())
def test_a_scan_is_where_its_transforms_put_it(application: Any, case: tuple[Volume, np.ndarray | None]) -> None:
    volume, transform = case
    application.scene.Clear(False)
    node = scan_in(application.scene, volume, transform)
    seen = volume_of(node)
    assert np.array_equal(seen.voxels, volume.voxels)
    moved = (np.eye(4) if transform is None else transform) @ volume.ijk_to_ras
    assert np.allclose(seen.ijk_to_ras, moved, rtol=0, atol=1e-9)
    bounds = np.zeros(6)
    node.GetRASBounds(bounds)  # Slicer's own word on where it lies
    corners = seen.to_ras(np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in seen.shape[::-1]])).reshape(3, -1).T)
    assert np.allclose(bounds[::2], corners.min(axis=0), rtol=0, atol=1e-6)
    assert np.allclose(bounds[1::2], corners.max(axis=0), rtol=0, atol=1e-6)


def test_transforms_upon_transforms_are_all_taken(scene: Any) -> None:
    scan = scan_in(scene)
    first, second = np.eye(4), np.diag([-1.0, -1.0, 1.0, 1.0])
    first[:3, 3] = (10, 0, 0)
    inner, outer = transform_in(scene, first), transform_in(scene, second)
    inner.SetAndObserveTransformNodeID(outer.GetID())
    scan.SetAndObserveTransformNodeID(inner.GetID())
    assert np.allclose(volume_of(scan).to_ras(np.zeros(3)), (-10, 0, 0))


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "LAS", "PSR", "SRA"])
def test_a_scan_read_by_slicer_lies_where_the_file_says(scene: Any, tmp_path: Path, orientation: str) -> None:
    matrix = np.eye(4)
    matrix[:3, :3] = directions_of(orientation) * (0.5, 1.25, 4.0)
    written = Volume(np.arange(24, dtype=np.int16).reshape(2, 3, 4), matrix)
    write_volume(written, tmp_path / "scan.nrrd")
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    storage = scene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
    storage.SetFileName(str(tmp_path / "scan.nrrd"))
    assert storage.ReadData(node) == 1
    # Slicer turns the k axis of left-handed grids round: compared by place, every value lies where it lay.
    seen = volume_of(node)
    for value in range(24):
        at = [volume.to_ras(np.argwhere(volume.voxels == value)[0][::-1]) for volume in (written, seen)]
        assert np.allclose(*at, rtol=0, atol=1e-5)


def test_the_voxels_are_those_of_the_node(scene: Any) -> None:
    scan = scan_in(scene)
    assert np.shares_memory(volume_of(scan).voxels, voxels_of(scan.GetImageData()))


def test_a_colour_picture_is_refused_with_the_remedy(scene: Any) -> None:
    node = scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "photo")
    image = vtk.vtkImageData()
    image.SetDimensions(2, 3, 4)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
    node.SetAndObserveImageData(image)
    with pytest.raises(InputError, match=r"photo has 3 values in every voxel.*Vector to Scalar"):
        volume_of(node)


def test_a_volume_without_voxels_is_refused(scene: Any) -> None:
    with pytest.raises(InputError, match="lost has no voxels"):
        volume_of(scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "lost"))


def test_a_bent_transform_is_refused_with_its_name(scene: Any) -> None:
    scan = scan_in(scene)
    bent = scene.AddNewNodeByClass("vtkMRMLTransformNode", "warp")
    spline = vtk.vtkThinPlateSplineTransform()
    points = [vtk.vtkPoints(), vtk.vtkPoints()]
    for number, corner in enumerate(np.ndindex(2, 2, 2)):
        points[0].InsertNextPoint(*(10.0 * np.array(corner)))
        points[1].InsertNextPoint(*(10.0 * np.array(corner) + (number == 7)))
    spline.SetSourceLandmarks(points[0])
    spline.SetTargetLandmarks(points[1])
    spline.SetBasisToR()
    bent.SetAndObserveTransformToParent(spline)
    scan.SetAndObserveTransformNodeID(bent.GetID())
    with pytest.raises(InputError, match=r"scan lies under a transform that bends space \(warp\)"):
        volume_of(scan)


def test_a_sheared_scan_is_refused(scene: Any) -> None:
    shear = np.eye(4)
    shear[0, 2] = 0.3
    with pytest.raises(InputError, match="scan has sheared axes"):
        volume_of(scan_in(scene, transform=shear))


def test_the_frame_of_a_sequence_that_is_shown_is_told(scene: Any) -> None:
    assert frame_note(scan_in(scene)) == ""
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "heart")
    for frame in range(3):
        volume = slicer.vtkMRMLScalarVolumeNode()
        volume.SetAndObserveImageData(image_of(np.full((2, 3, 4), frame, dtype=np.int16)))
        sequence.SetDataNodeAtValue(volume, str(frame))
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    proxy = scan_in(scene, Volume(np.zeros((2, 3, 4), dtype=np.int16), name="heart"))
    browser.AddProxyNode(proxy, sequence, False)
    browser.SetSelectedItemNumber(1)
    assert frame_note(proxy) == "heart is a sequence: the frame that is shown is used, 2 of 3."


def test_the_stamp_changes_with_voxels_and_place_and_with_nothing_else(scene: Any) -> None:
    scan = scan_in(scene)
    first = stamp_of(scan)
    scan.SetName("other name")
    scan.GetDisplayNode().SetWindowLevel(100, 10)
    assert stamp_of(scan) == first
    write_into(scan, np.s_[0:1, 0:1, 0:1], np.ones((1, 1, 1), dtype=np.int16))
    second = stamp_of(scan)
    assert second != first
    scan.SetAndObserveTransformNodeID(transform_in(scene, np.diag([1.0, 1.0, 2.0, 1.0])).GetID())
    assert stamp_of(scan) != second


def test_a_volume_on_the_grid_of_a_scan_goes_along_with_it(scene: Any) -> None:
    matrix = np.diag([2.0, 3.0, 4.0, 1.0])
    shift = np.eye(4)
    shift[:3, 3] = (5, 6, 7)
    scan = scan_in(scene, Volume(np.zeros((3, 4, 5), dtype=np.int16), matrix), shift)
    volume = volume_of(scan).with_voxels(np.full((3, 4, 5), 0.5, dtype=np.float32), name="doubt")
    node = add_volume(scene, volume, scan)
    assert volume_of(node).same_grid_as(volume_of(scan))
    assert np.allclose(array_of(node.GetIJKToRASMatrix), matrix)
    scan.GetParentTransformNode().SetMatrixTransformToParent(matrix_of(np.eye(4)))
    assert volume_of(node).same_grid_as(volume_of(scan))


def test_a_volume_that_does_not_fit_the_scan_leaves_no_node(scene: Any) -> None:
    scan = scan_in(scene)
    count = scene.GetNumberOfNodes()
    with pytest.raises(ValueError, match="does not lie on the grid of scan"):
        add_volume(scene, Volume(np.zeros((2, 2, 2), dtype=np.int16)), scan)
    assert scene.GetNumberOfNodes() == count


def test_the_modality_comes_from_the_series_or_from_hounsfield_units(scene: Any) -> None:
    scan = scan_in(scene)
    assert volume_of(scan).modality == ""
    units = slicer.vtkCodedEntry()
    units.SetValueSchemeMeaning("[hnsf'U]", "UCUM", "Hounsfield unit")
    scan.SetVoxelValueUnits(units)
    assert volume_of(scan).modality == "CT"
    hierarchy = scene.GetSubjectHierarchyNode()
    hierarchy.SetItemAttribute(hierarchy.GetItemByDataNode(scan), "DICOM.Modality", "PT")
    assert volume_of(scan).modality == "PT"
