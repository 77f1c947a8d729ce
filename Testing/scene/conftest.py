"""Slicer's own scene for these tests; an error or a warning of VTK fails the test in which it happens."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

slicer = pytest.importorskip("slicer", reason="needs Slicer's libraries, pip install slicer-core==5.12.4.0")
if not hasattr(slicer, "vtkMRMLSegmentationNode"):
    pytest.skip("the installed package slicer is not 3D Slicer", allow_module_level=True)


@pytest.fixture(scope="session")
def application() -> Iterator[SimpleNamespace]:
    from Testing.scene.boot import VtkErrors, boot

    with VtkErrors() as told:
        application = boot()
        assert not told, "\n".join(told)
    yield application
    application.scene.RemoveAllObservers()


@pytest.fixture(autouse=True)
def no_vtk_errors(application: SimpleNamespace) -> Iterator[None]:
    from Testing.scene.boot import VtkErrors

    with VtkErrors() as told:
        yield
    assert not told, "VTK reported:\n" + "\n".join(told)


@pytest.fixture
def scene(application: SimpleNamespace, no_vtk_errors: None) -> Iterator[slicer.vtkMRMLScene]:
    """The scene, empty at first and emptied afterwards."""
    application.scene.Clear(False)
    yield application.scene
    application.scene.Clear(False)
    # Views outlive a closed scene, in the application too; the next test starts without.
    for class_name in ("vtkMRMLSliceCompositeNode", "vtkMRMLSliceNode"):
        while application.scene.GetNumberOfNodesByClass(class_name):
            application.scene.RemoveNode(application.scene.GetNthNodeByClass(0, class_name))
