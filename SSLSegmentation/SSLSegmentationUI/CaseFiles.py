"""What belongs to a case of the work list, from its files into the scene."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slicer
from SSLSegmentationLib.dataset.worklist import SEGMENTATION, UNCERTAINTY, Item
from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.io.dicom import is_dicom
from SSLSegmentationLib.io.read import read_volume
from SSLSegmentationLib.scene.nodes import remove
from SSLSegmentationLib.scene.segments import new_segmentation
from SSLSegmentationLib.scene.volumes import add_volume, volume_of
from SSLSegmentationLib.volume import Volume


@dataclass(frozen=True, eq=False)
class Case:
    scan: Any
    segmentation: Any
    doubt: Volume | None


@dataclass(frozen=True, eq=False)
class Read:
    """What was read before anything in the scene changes."""

    doubt: Volume | None
    series: Volume | None
    """The scan, if it is a DICOM series; Slicer reads other files by itself."""


def reading(item: Item) -> Generator[None, Any, Read]:
    """In an Errand."""
    yield
    if not item.scan.exists():
        raise InputError(f"{item.scan} is not there any more: restore the scan, or run sslseg batch again.")
    path = item.folder / UNCERTAINTY
    doubt = read_volume(path) if path.exists() else None
    yield
    isSeries = item.series is not None or item.scan.is_dir() or is_dicom(item.scan)
    return Read(doubt, read_volume(item.scan, series=item.series) if isSeries else None)


def loaded(item: Item, read: Read) -> Case:
    """Put it into the scene, or nothing if a part cannot be loaded.

    In one go and in no operation: the module reacts at once to a scan that is loaded, and ends what runs.
    """
    scan = (
        _load(slicer.util.loadVolume, item.scan) if read.series is None else add_volume(slicer.mrmlScene, read.series)
    )
    try:
        scan.SetName(item.name)
        path = item.folder / SEGMENTATION
        segmentation = _load(slicer.util.loadSegmentation, path) if path.exists() else new_segmentation(scan)
        segmentation.SetName(f"{item.name} segmentation")
        segmentation.SetReferenceImageGeometryParameterFromVolumeNode(scan)
        doubt = read.doubt
        if doubt is not None and not doubt.same_grid_as(volume_of(scan), tolerance_mm=0.05):
            doubt = None
    except BaseException:
        remove(scan)
        raise
    slicer.util.setSliceViewerLayers(background=scan, fit=True, rotateToVolumePlane=True)
    return Case(scan, segmentation, doubt)


def _load(load: Any, path: Path) -> Any:
    try:
        return load(str(path))
    except RuntimeError as error:
        raise InputError(f"{path} cannot be loaded: see that it is whole, or run sslseg batch again.") from error
