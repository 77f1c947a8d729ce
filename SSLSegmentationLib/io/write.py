"""`write_volume`: a Volume into one file that Slicer opens where the scan lies."""

from __future__ import annotations

from pathlib import Path

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.io.nifti import write_nifti
from SSLSegmentationLib.io.nrrd import write_nrrd
from SSLSegmentationLib.volume import Volume


def write_volume(volume: Volume, path: Path | str) -> None:
    """Write .nii.gz, .nii or .nrrd, by the ending of the path; what stood there is replaced once all is written.

    Types and values are kept as they are. NRRD also keeps the modality, and the position in double precision.
    """
    path = Path(path).expanduser()
    ending = path.name.lower()
    if ending.endswith((".nii.gz", ".nii")):
        write_nifti(volume, path)
    elif ending.endswith(".nrrd"):
        keys = {"modality": volume.modality} if volume.modality else {}
        write_nrrd(path, volume.voxels, volume.ijk_to_ras, keys)
    else:
        raise InputError(f"{path.name} does not end in .nii.gz or .nrrd, the formats that can be written: rename it.")
