"""DICOM SEG: segmentations as objects of the archive that the scan came from, by highdicom.

Segments carry codes (their terminology entry as Slicer writes it), colours, and a reference to every image they were
drawn on.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from SSLSegmentationLib import __version__
from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.io.atomic import replacing
from SSLSegmentationLib.io.dicom import series_files
from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.placing import placed_on
from SSLSegmentationLib.volume import Volume

if TYPE_CHECKING:
    from pydicom import Dataset

SEG_CLASSES = frozenset({"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"})
"""Segmentation Storage, and Label Map Segmentation Storage."""

_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_TISSUE = ("SCT", "85756007", "Tissue")
_MAKER = "SSLSegmentation"


def write_dicom_seg(
    path: Path,
    series: Path,
    labelmap: Volume,
    labels: Sequence[Label],
    *,
    made: Literal["AUTOMATIC", "SEMIAUTOMATIC", "MANUAL"] = "SEMIAUTOMATIC",
    model: str = "",
    creator: str = "",
    series_uid: str | None = None,
) -> None:
    """Write a label map as a DICOM SEG that refers to the series it was drawn on.

    Labels without a voxel are left out, as the standard wants it. `model` names what made the segments.
    """
    import highdicom
    from pydicom import dcmread
    from pydicom.sr.codedict import codes

    files, scan = series_files(series, series_uid)
    images = [dcmread(file, stop_before_pixels=True) for file in files]
    voxels = placed_on(labelmap, scan).voxels
    found = [label for label in labels if (voxels == label.value).any()]
    if not found:
        raise InputError(f"{labelmap.name} holds no segment, and a DICOM SEG must have one: segment something first.")
    numbers = np.zeros(max(label.value for label in found) + 1, np.uint16)
    for number, label in enumerate(found, start=1):
        numbers[label.value] = number
    known = np.where(voxels < len(numbers), voxels, 0).astype(np.intp)
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=model or _MAKER, family=codes.DCM.ArtificialIntelligence, version=__version__, source=_MAKER
    )
    with _told_in_one_sentence(series):
        segmentation = highdicom.seg.Segmentation(
            source_images=images,
            pixel_array=numbers[known],
            segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[
                _description(number, label, made, None if made == "MANUAL" else algorithm)
                for number, label in enumerate(found, start=1)
            ],
            series_instance_uid=highdicom.UID(),
            series_number=int(getattr(images[0], "SeriesNumber", None) or 0) + 900,
            sop_instance_uid=highdicom.UID(),
            instance_number=1,
            manufacturer=_MAKER,
            manufacturer_model_name=_MAKER,
            software_versions=__version__,
            device_serial_number="0",
            content_description="Segmentation for research",
            content_creator_name=creator or None,
            series_description="Segmentation",
        )
    with replacing(path) as temporary:
        segmentation.save_as(temporary)


def read_dicom_seg(path: Path) -> tuple[tuple[Label, ...], tuple[Volume, ...], tuple[int, ...]]:
    """Labels, layers, and for every label the layer it is in. Layers are cut to the slices that have a segment."""
    import highdicom
    from pydicom import dcmread

    try:
        seg = highdicom.seg.Segmentation.from_dataset(dcmread(path), copy=False)
        volume = seg.get_volume(combine_segments=False, rescale_fractional=True)
    except Exception as error:
        raise InputError(
            f"{path.name} cannot be used as a DICOM SEG ({' '.join(str(error).split())[:200]}): save it again."
        ) from error
    numbers = [int(number) for number in seg.segment_numbers]
    # highdicom counts (slice, row, column) and gives millimetres of LPS.
    ijk_to_ras = _LPS @ volume.affine[:, [2, 1, 0, 3]]
    masks = np.moveaxis(volume.array, -1, 0) >= 0.5
    labels, layers = [], [np.zeros(masks.shape[1:], np.uint16)]
    layer_of = []
    for value, (number, mask) in enumerate(zip(numbers, masks, strict=True), start=1):
        layer = next((at for at, voxels in enumerate(layers) if not voxels[mask].any()), len(layers))
        if layer == len(layers):
            layers.append(np.zeros_like(layers[0]))
        layers[layer][mask] = value
        labels.append(_label(value, seg.get_segment_description(number)))
        layer_of.append(layer)
    return tuple(labels), tuple(Volume(voxels, ijk_to_ras, path.stem, "SEG") for voxels in layers), tuple(layer_of)


def is_dicom_seg(path: Path) -> bool:
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        return str(dcmread(path, specific_tags=["SOPClassUID"], stop_before_pixels=True).SOPClassUID) in SEG_CLASSES
    except (InvalidDicomError, AttributeError, OSError):
        return False


@contextmanager
def _told_in_one_sentence(series: Path) -> Iterator[None]:
    """What highdicom finds wrong with the images, or only odd, which nobody can mend here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except (AttributeError, ValueError, TypeError) as error:
            raise InputError(
                f"The images in {series} do not carry what a DICOM SEG needs ({' '.join(str(error).split())[:200]}): "
                "export them from the archive again, or save the segmentation as .seg.nrrd."
            ) from error


def _description(number: int, label: Label, made: str, algorithm: Any) -> Any:
    import highdicom

    category, kind, modifier = _codes(label.terminology)
    description = highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=label.name[:64],
        segmented_property_category=_concept(category),
        segmented_property_type=_concept(kind),
        algorithm_type=made,
        algorithm_identification=algorithm,
        tracking_uid=highdicom.UID(),
        tracking_id=label.name[:64],
        display_color=highdicom.color.CIELabColor.from_rgb(*(round(255 * part) for part in label.color)),
    )
    if modifier is not None:
        description.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [
            _concept(modifier)
        ]
    return description


Code = tuple[str, str, str]
"""Scheme, value, meaning."""


def _codes(terminology: str) -> tuple[Code, Code, Code | None]:
    """Category, type and modifier of a terminology entry; tissue, as in Slicer, where there is none."""
    parts = terminology.split("~")
    found = [tuple(part.split("^")) for part in parts[1:4]]
    if len(found) < 3 or any(len(code) != 3 for code in found) or not all(found[0]) or not all(found[1]):
        return _TISSUE, _TISSUE, None
    return found[0], found[1], found[2] if all(found[2]) else None


def _concept(code: Code) -> Any:
    import highdicom

    scheme, value, meaning = code
    return highdicom.sr.CodedConcept(value, scheme, meaning)


def _label(value: int, description: Dataset) -> Label:
    category, kind = (
        description.SegmentedPropertyCategoryCodeSequence[0],
        description.SegmentedPropertyTypeCodeSequence[0],
    )
    modifiers = kind.get("SegmentedPropertyTypeModifierCodeSequence") or [None]
    text = "~".join(
        ["Segmentation category and type - DICOM master list", _said(category), _said(kind), _said(modifiers[0])]
    )
    name = str(description.get("SegmentLabel", "") or f"Segment_{value}")
    return Label(value, name, _rgb(description), f"{text}~Anatomic codes - DICOM master list~^^~^^")


def _said(code: Dataset | None) -> str:
    return "^^" if code is None else f"{code.CodingSchemeDesignator}^{code.CodeValue}^{code.CodeMeaning}"


def _rgb(description: Dataset) -> tuple[float, float, float]:
    import highdicom

    stored = description.get("RecommendedDisplayCIELabValue")
    if stored is None:
        return Label(0, "").color
    color = highdicom.color.CIELabColor.from_dicom_value([int(part) for part in stored])
    red, green, blue = (float(np.clip(part, 0, 255)) / 255 for part in color.to_rgb())
    return red, green, blue
