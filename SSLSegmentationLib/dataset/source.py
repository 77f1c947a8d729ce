"""What a DICOM series says about where it comes from, with or without what tells who the patient is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from SSLSegmentationLib.io.dicom import is_dicom

_OPEN = {"series": "0008|103e", "protocol": "0018|1030", "manufacturer": "0008|0070", "scanner": "0008|1090"}
_IDENTIFYING = {
    "patient_name": "0010|0010",
    "patient_id": "0010|0020",
    "study_date": "0008|0020",
    "study_uid": "0020|000d",
    "series_uid": "0020|000e",
    "accession": "0008|0050",
}
_FREE_TEXT = ("series", "protocol")

_WORDS = """
    2d 3d abd abdo abdomen abdominal adc angio aorta arterial ax axial axiale b0 body bone bones brain breast bravo
    brustkorb cardiac cerebral cervical chest cine contrast cor coronal cranial ct cta cube delayed diffusion dixon dual
    dwi dyn dynamic early ecg enhanced epi excretory fat fiesta flair flash fov fs fse gad gre haste head heart helical
    hip hippocampus hr iso isotropic ivim k kidney knee kv late lava leg lge liver localizer low lumbar lung map mdct
    mediastinum mip mm mpr mprage mr mra mri native neck nephro oblique opposed pancreas parenchym pelvis perfusion pet
    phase pituitary plain portal post pre prostate pv ras recon relaxed renal sag sagittal scout se sense shoulder skull
    slab soft space spgr spine spin spiral spleen stir std stomach suv swi t1 t1w t2 t2w te thick thin thorax thoracic
    tissue tof tr tra trans transversal tse tumor urography vein venous vibe vol w wave whole with without wo
"""
_PROTOCOL_WORDS = frozenset(_WORDS.split())
"""What protocols are made of. Any other word may be a name: who describes a series writes what they like."""
_NUMBER = re.compile(r"\d{1,3}([.,]\d+)?(mm|s|ms|kv|min|t)?")


def source_of(path: Path, *, identifiers: bool = False, anonymise: bool = False) -> dict[str, str]:
    """What is known of a scan's origin. Names of files tell nothing here, because people name them after patients.

    Patient and identifiers are left out unless they are asked for. With `anonymise`, descriptions keep only words that
    protocols are made of.
    """
    image = _one_image(path)
    if image is None:
        return {}
    header = _header(image)
    wanted = _OPEN | (_IDENTIFYING if identifiers else {})
    said = {name: header.get(tag, "").strip(" \0") for name, tag in wanted.items()}
    if anonymise:
        said |= {name: protocol_words(said[name]) for name in _FREE_TEXT}
    return {name: text for name, text in said.items() if text}


def protocol_words(text: str) -> str:
    """The words of a description that describe a protocol, and short numbers."""
    words = re.split(r"[\s_/\\+^,;:()\[\]-]+", text)
    return " ".join(word for word in words if word.lower() in _PROTOCOL_WORDS or _NUMBER.fullmatch(word.lower()))


def _one_image(path: Path) -> Path | None:
    if path.is_file():
        return path if is_dicom(path) else None
    files = (one for one in sorted(path.rglob("*")) if one.is_file())
    return next((one for one in files if is_dicom(one)), None)


def _header(path: Path) -> Mapping[str, str]:
    import SimpleITK

    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    return {
        key: reader.GetMetaData(key).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        for key in reader.GetMetaDataKeys()
    }
