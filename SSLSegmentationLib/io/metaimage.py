"""MetaImage, .mha and .mhd: a text header of "Key = value" lines, then the voxels or the name of the file with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.io.stored import LPS_TO_RAS, Layout, bad_spacing, cut_off, one_value_each, read_voxels
from SSLSegmentationLib.volume import Volume

# MetaIO's MET_LONG has four bytes on every machine.
TYPES = {
    "CHAR": "i1", "UCHAR": "u1", "SHORT": "i2", "USHORT": "u2", "INT": "i4", "UINT": "u4", "LONG": "i4", "ULONG": "u4",
    "LONG_LONG": "i8", "ULONG_LONG": "u8", "FLOAT": "f4", "DOUBLE": "f8",
}  # fmt: skip

_LONGEST_HEADER = 1 << 20


def read_metaimage(path: Path, name: str) -> Volume:
    fields, header_bytes = _read_header(path, name)
    try:
        return _read(path, name, fields, header_bytes)
    except InputError:
        raise
    except (KeyError, ValueError, IndexError, OverflowError) as error:
        raise cut_off(name, f"its header cannot be understood: {error}") from error


def _read(path: Path, name: str, fields: dict[str, str], header_bytes: int) -> Volume:
    dimensions = int(_values(fields, name, "NDims")[0])
    sizes = tuple(int(size) for size in _values(fields, name, "DimSize"))
    if not 2 <= dimensions <= 4 or len(sizes) != dimensions:
        raise cut_off(name, f"its header gives it {dimensions} dimensions and {len(sizes)} sizes")
    channels = int(fields.get("ElementNumberOfChannels", "1"))
    kind = fields["ElementType"].removeprefix("MET_").removesuffix("_ARRAY")
    if kind not in TYPES:
        raise InputError(
            f"{name} stores its voxels as {fields['ElementType']}, which is not supported: save it as .nrrd."
        )
    if channels > 1:
        raise one_value_each(name, f"{channels} components")
    if dimensions == 4 and sizes[3] > 1:
        raise one_value_each(name, f"{sizes[3]} frames (it is 4D)")
    matrix = _ijk_to_ras(fields, dimensions, name)

    data, skip, text = path, header_bytes, fields["ElementDataFile"]
    if text.upper() not in ("LOCAL", "LOCAL.RAW"):
        if text.upper().startswith("LIST") or "%" in text:
            raise InputError(f"{name} spreads its voxels over several files: save it as one .nrrd or .nii.gz file.")
        data, skip = path.with_name(text), 0
        if not data.is_file():
            raise InputError(f"{name} needs the file {text} beside it, which is missing: put both into one folder.")
    if fields.get("CompressedData", "False").lower() == "true":
        encoding = "zlib"
    else:
        encoding = "raw" if fields.get("BinaryData", "True").lower() == "true" else "ascii"
    big = fields.get("BinaryDataByteOrderMSB", fields.get("ElementByteOrderMSB", "False")).lower() == "true"
    start = int(fields.get("HeaderSize", "0"))
    layout = Layout(sizes, np.dtype((">" if big else "<") + TYPES[kind]), encoding, start)
    voxels = read_voxels(data, layout, name, skip=skip).reshape((*sizes, 1)[2::-1])
    return Volume(voxels, matrix, name, _modality(fields))


def _read_header(path: Path, name: str) -> tuple[dict[str, str], int]:
    fields: dict[str, str] = {}
    with path.open("rb") as file:
        while file.tell() < _LONGEST_HEADER:
            line = file.readline(_LONGEST_HEADER)
            if not line:
                break
            key, separator, value = line.decode("utf-8", errors="replace").partition("=")
            if not separator:
                break
            fields[key.strip()] = value.strip()
            if key.strip() == "ElementDataFile":
                return fields, file.tell()
    if "NDims" in fields:
        raise cut_off(name, "its header ends before it says where the voxels are")
    raise InputError(f"{name} is not an image: what is in it is no MetaImage, whatever its name says; choose the scan.")


def _ijk_to_ras(fields: dict[str, str], dimensions: int, name: str) -> np.ndarray:
    used = min(dimensions, 3)
    matrix = np.eye(4)
    spacing = _values(fields, name, "ElementSpacing", "ElementSize", default=[1.0] * dimensions)
    if not all(np.isfinite(step) and step > 0 for step in spacing[:used]):
        raise bad_spacing(name, spacing[:used])
    identity = list(np.eye(dimensions).ravel())
    axes = np.reshape(
        _values(fields, name, "TransformMatrix", "Rotation", "Orientation", default=identity), (dimensions, dimensions)
    )
    origin = _values(fields, name, "Offset", "Position", "Origin", default=[0.0] * dimensions)
    matrix[:used, :used] = axes[:used, :used].T * spacing[:used]  # a row of the header is an axis
    matrix[:used, 3] = origin[:used]
    return LPS_TO_RAS @ matrix


def _values(fields: dict[str, str], name: str, *keys: str, default: list[float] | None = None) -> list[float]:
    for key in keys:
        if key in fields:
            try:
                values = [float(word) for word in fields[key].split()]
            except ValueError as error:
                raise cut_off(name, f"{key} is not a list of numbers") from error
            wanted = len(default) if default is not None else len(values)
            if len(values) != wanted or not values:
                raise cut_off(name, f"{key} has {len(values)} numbers")
            return values
    if default is None:
        raise cut_off(name, f"its header lacks {keys[0]}")
    return default


def _modality(fields: dict[str, str]) -> str:
    return fields.get("Modality", fields.get("0008|0060", "")).removeprefix("MET_MOD_").replace("UNKNOWN", "").strip()
