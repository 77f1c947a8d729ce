"""The module as a radiologist has it before her, with the synthetic scan, for the tests of this folder."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from SSLSegmentationLib.phantom import abdomen_phantom
from SSLSegmentationLib.volume import Volume

if TYPE_CHECKING:
    from Testing.standin.driver import Driver

ENTRY = Path(__file__).parents[3] / "SSLSegmentation" / "SSLSegmentation.py"
PICTURES = Path(__file__).parents[2] / "output"
LIVER, RIGHT_KIDNEY = 6, 2  # values of the phantom's labels
SHAPE, SPACING = (48, 72, 72), (5.0, 5.0, 5.6)
PATIENCE = 240.0  # seconds; machines of a CI may be slow, and nothing here waits for the full time


@cache
def phantom(seed: int = 7) -> tuple[Volume, Volume]:
    return abdomen_phantom(seed, shape=SHAPE, spacing=SPACING)


def tilted(volume: Volume, degrees: float = 17.0) -> Volume:
    """The same voxels in a scanner that is turned, so that no axis is straight."""
    a, b = np.radians(degrees), np.radians(degrees / 2)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    turn = np.eye(4)
    turn[:3, :3] = about_x @ about_z
    return Volume(volume.voxels, turn @ volume.ijk_to_ras, volume.name, volume.modality)


class Bench:
    def __init__(self, app: Driver, widget: Any) -> None:
        self.app = app
        self.widget = widget
        self.ui = widget.ui
        self.panel = widget.panel
        self.work = widget.logic.work
        self.engine = widget.logic.engine

    @property
    def parameters(self) -> Any:
        return self.widget._parameterNode

    @property
    def segments(self) -> Any:
        return self.parameters.segmentation.GetSegmentation()

    def load(self, volume: Volume, name: str = "CT of the abdomen") -> Any:
        """A scan as if it had been loaded from a file, shown in all views through a window for soft tissue."""
        import slicer

        from SSLSegmentationLib.scene.volumes import add_volume

        node = add_volume(slicer.mrmlScene, volume.with_voxels(volume.voxels.copy(), name=name))
        node.GetDisplayNode().SetAutoWindowLevel(False)
        node.GetDisplayNode().SetWindowLevel(400, 40)
        slicer.util.setSliceViewerLayers(background=node, fit=True, rotateToVolumePlane=True)
        self.app.turn(5)
        return node

    def new_segment(self) -> str:
        """A new, empty segment, made as the user makes it."""
        self.app.click(self.ui.newSegmentButton)
        self.app.turn(5)
        return self.panel.editor.segmentId

    def wait_idle(self) -> None:
        """Until nothing runs; an error that the panel tells fails the test."""
        self.app.wait_until(lambda: not self.work.operation, PATIENCE)
        self.app.turn(5)
        assert not self.work.message.isError, f"{self.work.message.sentence}\n{self.work.message.details}"

    def wait_suggested(self) -> Any:
        """Until something is suggested, and shown."""
        self.app.wait_until(
            lambda: (self.work.suggestion is not None and not self.work.operation) or self.work.message.isError,
            PATIENCE,
        )
        self.wait_idle()
        return self.work.suggestion

    def place(self, view: str, ras: Any, tool: str = "positiveButton") -> None:
        """A prompt placed with the mouse at a place of the patient."""
        self.work.message = type(self.work.message)("")  # so that an error that is told from here on is a new one
        if not getattr(self.ui, tool).checked:
            self.app.click(getattr(self.ui, tool))
        self.app.view(view).jump_to(tuple(ras))
        self.app.view(view).click_ras(tuple(ras))

    def mask(self, segment_id: str, scan: Any = None) -> np.ndarray:
        """The voxels of a segment on the whole grid of the scan."""
        from SSLSegmentationLib.scene.segments import mask_of

        scan = scan or self.parameters.scan
        shape = scan.GetImageData().GetDimensions()[::-1]
        found = mask_of(self.parameters.segmentation, segment_id, scan)
        return found.within(tuple(slice(0, n) for n in shape))

    def picture(self, name: str) -> Path:
        return self.app.screenshot(PICTURES / f"{name}.png")


def middle_of(labels: Volume, value: int) -> np.ndarray:
    """A place well inside an organ: its voxel farthest from every border."""
    from scipy import ndimage

    depth = ndimage.distance_transform_edt(labels.voxels == value)
    return labels.to_ras(np.array(np.unravel_index(depth.argmax(), depth.shape))[::-1])
