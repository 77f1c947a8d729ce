"""Between VTK and numpy: matrices, voxels without a copy, and cropped images with a place of their own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import get_vtk_array_type, vtk_to_numpy

from SSLSegmentationLib.plane import Box
from SSLSegmentationLib.volume import Volume


def array_of(fill: Callable[[vtk.vtkMatrix4x4], object]) -> np.ndarray:
    """The 4×4 array that a method of VTK writes into a matrix, as in `array_of(node.GetIJKToRASMatrix)`."""
    matrix = vtk.vtkMatrix4x4()
    fill(matrix)
    return np.array(matrix.GetData()).reshape(4, 4)


def matrix_of(values: np.ndarray) -> vtk.vtkMatrix4x4:
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(np.asarray(values, dtype=np.float64).ravel().tolist())
    return matrix


def voxels_of(image: vtk.vtkImageData) -> np.ndarray:
    """The (k, j, i) voxels of an image with one component; what is written into them is in the image."""
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])


def box_of_extent(image: vtk.vtkImageData) -> Box:
    """The (k, j, i) box that an image fills of its lattice."""
    extent = image.GetExtent()
    return tuple(slice(extent[2 * axis], extent[2 * axis + 1] + 1) for axis in (2, 1, 0))


def extent_of(box: Box) -> tuple[int, ...]:
    return tuple(n for s in reversed(box) for n in (s.start, s.stop - 1))


def image_of(voxels: np.ndarray) -> vtk.vtkImageData:
    """A copy of (k, j, i) voxels as an image of VTK, without a place."""
    image = vtk.vtkImageData()
    image.SetDimensions(*voxels.shape[::-1])
    image.AllocateScalars(get_vtk_array_type(voxels.dtype), 1)
    voxels_of(image)[...] = voxels
    return image


def oriented_image(bits: np.ndarray, box: Box, ijk_to_ras: np.ndarray) -> slicer.vtkOrientedImageData:
    """The bits inside a box of a lattice, as segments are made of: 8-bit zeros and ones."""
    image = slicer.vtkOrientedImageData()
    image.SetExtent(*extent_of(box))
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    voxels_of(image)[...] = bits
    image.SetGeometryFromImageToWorldMatrix(matrix_of(ijk_to_ras))
    return image


def corners_of(volume: Volume) -> np.ndarray:
    """RAS of the eight outer corners of a volume: those of its voxels, not their centres."""
    sides = [(-0.5, n - 0.5) for n in volume.shape[::-1]]
    return volume.to_ras(np.array(np.meshgrid(*sides, indexing="ij")).reshape(3, -1).T)
