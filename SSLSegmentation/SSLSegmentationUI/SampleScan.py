"""A scan to try the module with. It is synthetic and made on this machine, so that nothing has to be downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

NAME = "SyntheticAbdomen"
SHAPE, SPACING = (104, 160, 160), (2.3, 2.3, 2.6)


def register() -> None:
    import SampleData

    icon = Path(__file__).parents[1] / "Resources" / "Icons" / "SyntheticAbdomen.png"
    SampleData.SampleDataLogic.registerCustomSampleDataCategory("SSLSegmentation", title=_("SSL Segmentation"))
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="SSLSegmentation",
        sampleName=NAME,
        thumbnailFileName=str(icon),
        customDownloader=lambda source=None: load(),
    )


def load() -> Any:
    """Make the scan and show it in all views."""
    from SSLSegmentationLib.phantom import abdomen_phantom
    from SSLSegmentationLib.scene.volumes import add_volume

    scan, _truth = abdomen_phantom(7, shape=SHAPE, spacing=SPACING)
    node = add_volume(slicer.mrmlScene, scan.with_voxels(scan.voxels, name=NAME))
    display = node.GetDisplayNode()
    display.SetAutoWindowLevel(False)
    display.SetWindowLevel(400, 40)
    slicer.util.setSliceViewerLayers(background=node, fit=True)
    return node
