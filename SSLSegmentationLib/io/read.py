"""`read_volume`: from whatever a user names to a Volume, or to one sentence that says why not."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.io.dicom import read_series
from SSLSegmentationLib.io.metaimage import read_metaimage
from SSLSegmentationLib.io.nifti import read_nifti
from SSLSegmentationLib.io.nrrd import read_nrrd
from SSLSegmentationLib.volume import Volume

ENDINGS = (".nii.gz", ".seg.nrrd", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".dcm")

_STRANGERS = {
    b"\x89PNG": "a PNG picture", b"\xff\xd8\xff": "a JPEG picture", b"GIF8": "a GIF picture", b"BM": "a BMP picture",
    b"II*\0": "a TIFF picture", b"MM\0*": "a TIFF picture", b"%PDF": "a PDF document", b"PK\x03\x04": "a ZIP archive",
    b"7z\xbc\xaf": "a 7z archive", b"Rar!": "a RAR archive", b"\x89HDF": "an HDF5 file",
}  # fmt: skip
_KNOWN = "NIfTI, NRRD, MetaImage or DICOM"

log = logging.getLogger(__name__)


def read_volume(path: Path | str, *, series: str | None = None, replace_nonfinite: bool = False) -> Volume:
    """Read a NIfTI, NRRD or MetaImage file, a folder with a DICOM series, or the series of one DICOM file.

    The array has the type that is stored, or a float where the file scales its values. A single slice is a volume one
    slice thick. With `replace_nonfinite`, voxels that are no finite number take the smallest finite value of the scan,
    which is said in a warning of this module's logger; without it they are refused.
    """
    path = Path(path).expanduser()
    try:
        volume = _read(path, series)
    except MemoryError as error:
        raise InputError(f"{path.name} does not fit into memory: close other programs, or crop the scan.") from error
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror or error}): check the path and its rights."
        ) from error
    return finite(volume, path.name, replace_nonfinite)


def name_of(path: Path) -> str:
    """The file's name without the ending that tells the format."""
    for ending in ENDINGS:
        if path.name.lower().endswith(ending) and len(path.name) > len(ending):
            return path.name[: -len(ending)]
    return path.stem or path.name


def finite(volume: Volume, file_name: str, replace_them: bool) -> Volume:
    """The volume, if all its voxels are finite numbers or may be made so."""
    if volume.voxels.dtype.kind != "f":
        return volume
    good = [np.isfinite(plane) for plane in volume.voxels]
    count = volume.voxels.size - sum(int(plane.sum()) for plane in good)
    if count == 0:
        return volume
    if count == volume.voxels.size:
        raise InputError(f"{file_name} has not a single voxel that is a finite number: export it again.")
    what = "voxel that is not a finite number" if count == 1 else "voxels that are not finite numbers"
    if not replace_them:
        raise InputError(
            f"{file_name} has {count} {what}: mend the file, or give --replace-nonfinite to set them to "
            "its smallest value."
        )
    least = min(plane[finite].min() for plane, finite in zip(volume.voxels, good, strict=True) if finite.any())
    for plane, finite in zip(volume.voxels, good, strict=True):
        plane[~finite] = least
    log.warning("%s had %d %s; set to %g, its smallest value.", file_name, count, what, least)
    return volume


def _read(path: Path, series: str | None) -> Volume:
    if not path.exists():
        raise InputError(f"{path} does not exist: check the path.")
    if path.is_dir():
        return read_series(path, series)
    with path.open("rb") as file:
        start = file.read(512)
    if not start:
        raise InputError(f"{path.name} is empty (0 bytes): copy or export it again.")
    if start[128:132] == b"DICM" or path.suffix.lower() in (".dcm", ".ima", ".dicom"):
        return read_series(path, series)
    if series is not None:
        raise InputError(f"{path.name} is not DICOM, so that there is no series to choose: leave --series out.")
    for mark, kind in _STRANGERS.items():
        if start.startswith(mark):
            raise InputError(f"{path.name} is {kind}, not a scan: choose a {_KNOWN} file or a DICOM folder.")
    return replace(_read_file(path, start), name=name_of(path))


def _read_file(path: Path, start: bytes) -> Volume:
    """Read what the first bytes say, or what the name promises if they say nothing."""
    ending = path.name.lower()
    if start.startswith(b"NRRD") or ending.endswith((".nrrd", ".nhdr")):
        image = read_nrrd(path, path.name, most_components=1)
        modality = image.keys.get("modality", image.keys.get("0008|0060", ""))
        return Volume(image.voxels[..., 0], image.ijk_to_ras, path.name, modality.strip())
    if ending.endswith((".mha", ".mhd")) or b"NDims" in start:
        return read_metaimage(path, path.name)
    sized = start[:4] in [size.to_bytes(4, order) for size in (348, 540) for order in ("little", "big")]
    if sized or start.startswith(b"\x1f\x8b") or ending.endswith((".nii", ".nii.gz")):
        return read_nifti(path, path.name)
    raise InputError(f"{path.name} is not an image in a known format: choose a {_KNOWN} file or a DICOM folder.")
