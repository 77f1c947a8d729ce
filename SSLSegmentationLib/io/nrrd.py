"""NRRD: reading what Slicer, ITK and others write, and writing as Slicer does.

The format is defined at teem.sourceforge.net/nrrd/format.html.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.io.atomic import replacing
from SSLSegmentationLib.io.stored import LPS_TO_RAS, Layout, by, cut_off, read_voxels

_NAMES = {
    "i1": ("int8", "signed char", "int8_t"),
    "u1": ("unsigned char", "uchar", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("unsigned short", "ushort", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("unsigned int", "uint", "uint32", "uint32_t"),
    "i8": ("long long", "longlong", "long long int", "signed long long", "signed long long int", "int64", "int64_t"),
    "u8": ("unsigned long long", "ulonglong", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
_TYPES = {name: kind for kind, names in _NAMES.items() for name in names}
_WRITTEN = {kind: names[0] for kind, names in _NAMES.items()} | {"i1": "signed char"}
_ENCODINGS = {
    "raw": "raw", "gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2", "ascii": "ascii", "text": "ascii",
    "txt": "ascii",
}  # fmt: skip
_TO_RAS = {
    "right-anterior-superior": np.eye(4), "ras": np.eye(4),
    "left-anterior-superior": np.diag([-1.0, 1.0, 1.0, 1.0]), "las": np.diag([-1.0, 1.0, 1.0, 1.0]),
}  # fmt: skip
_ON_GRID = ("domain", "space")
_LONGEST_HEADER = 1 << 24


@dataclass(frozen=True, eq=False)
class Nrrd:
    """What one file holds: voxels (k, j, i, component), where they lie, and its key := value pairs."""

    voxels: np.ndarray
    ijk_to_ras: np.ndarray
    keys: Mapping[str, str]
    kind: str
    """What its component axis is ("list", "RGB-color", "time"), empty if it has none."""


def read_nrrd(path: Path, name: str, *, most_components: int | None = None) -> Nrrd:
    """Read a .nrrd or .nhdr file; with more components than wanted it is refused before its voxels are read."""
    fields, keys, header_bytes = _read_header(path, name)
    try:
        layout, grid, other, kind = _layout(fields, name, most_components)
        data, skip = _data(path, name, fields, header_bytes)
        matrix = _ijk_to_ras(fields, grid)
        voxels = _in_order(read_voxels(data, layout, name, skip=skip), layout.sizes, grid, other)
        return Nrrd(voxels, matrix, keys, kind)
    except InputError:
        raise
    except (KeyError, ValueError, IndexError, OverflowError) as error:
        raise cut_off(name, f"its header cannot be understood: {error}") from error


def _layout(fields: dict[str, str], name: str, most: int | None) -> tuple[Layout, list[int], int | None, str]:
    sizes = tuple(int(size) for size in fields["sizes"].split())
    if len(sizes) != int(fields["dimension"]):
        raise ValueError(f"{len(sizes)} sizes for {fields['dimension']} dimensions")
    grid, other = _axes(fields, sizes, name)
    kinds = fields.get("kinds", "list " * len(sizes)).split()
    kind = kinds[other] if other is not None else ""
    if most is not None and other is not None and sizes[other] > most:
        raise _too_many(name, sizes[other], kind)
    if fields["type"] not in _TYPES:
        raise InputError(f"{name} stores its voxels as {fields['type']}, which is not supported: save it as float.")
    if fields["encoding"].lower() not in _ENCODINGS:
        raise InputError(f"{name} is encoded as {fields['encoding']}, which is not supported: save it with gzip.")
    order = ">" if fields.get("endian", "little").lower() == "big" else "<"
    dtype = np.dtype(order + _TYPES[fields["type"]])
    layout = Layout(sizes, dtype, _ENCODINGS[fields["encoding"].lower()], int(fields.get("byte skip", "0")))
    return layout, grid, other, kind


def _in_order(voxels: np.ndarray, sizes: tuple[int, ...], grid: list[int], other: int | None) -> np.ndarray:
    """The voxels as (k, j, i, component), whichever axis of the file holds the components; a view."""
    last = len(sizes) - 1
    voxels = voxels.transpose([last - axis for axis in reversed(grid)] + ([] if other is None else [last - other]))
    single = [1] * (3 - len(grid))
    return voxels.reshape((*single, *voxels.shape[: len(grid)], 1 if other is None else sizes[other]))


def write_nrrd(path: Path, voxels: np.ndarray, ijk_to_ras: np.ndarray, keys: Mapping[str, str]) -> None:
    """Write (k, j, i) or (k, j, i, component) voxels in the order of fields and the space that Slicer writes."""
    voxels = voxels.view(np.uint8) if voxels.dtype == bool else voxels
    kind = voxels.dtype.str[1:]
    if kind not in _WRITTEN:
        raise InputError(f"{path.name} cannot hold voxels of {voxels.dtype}: save float32 or whole numbers.")
    listed = voxels.ndim == 4
    sizes = ([voxels.shape[3]] if listed else []) + list(voxels.shape[2::-1])
    lps = LPS_TO_RAS @ ijk_to_ras
    # Two steps of -0.0 and 0.0 would be written differently for the same place.
    vectors = [f"({','.join(repr(float(value) + 0.0) for value in column)})" for column in lps[:3].T]
    lines = [
        "NRRD0004",
        f"type: {_WRITTEN[kind]}",
        f"dimension: {len(sizes)}",
        "space: left-posterior-superior",
        f"sizes: {' '.join(map(str, sizes))}",
        f"space directions: {'none ' if listed else ''}{' '.join(vectors[:3])}",
        f"kinds: {'list ' if listed else ''}domain domain domain",
        *(["endian: little"] if voxels.dtype.itemsize > 1 else []),
        "encoding: gzip",
        f"space origin: {vectors[3]}",
        *(f"{key}:={_escaped(value)}" for key, value in sorted(keys.items())),
    ]
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(("\n".join(lines) + "\n\n").encode())
        packer = zlib.compressobj(1, zlib.DEFLATED, 31)  # level 1, as for NIfTI
        for plane in voxels:
            file.write(packer.compress(np.ascontiguousarray(plane, dtype="<" + kind).data))
        file.write(packer.flush())


def _read_header(path: Path, name: str) -> tuple[dict[str, str], dict[str, str], int]:
    fields: dict[str, str] = {}
    keys: dict[str, str] = {}
    with path.open("rb") as file:
        if not re.match(rb"NRRD000\d\s", file.readline(16)):
            raise InputError(
                f"{name} is not an image: what is in it is no NRRD, whatever its name says; choose the scan."
            )
        while file.tell() < _LONGEST_HEADER:
            line = file.readline(_LONGEST_HEADER)
            text = line.decode("utf-8", errors="replace").rstrip("\r\n")
            if not text:  # an empty line, or the end of a detached header
                return fields, keys, file.tell()
            if text.startswith("#"):
                continue
            if ":=" in text and not re.match(r"[a-z ]+: ", text):
                key, _, value = text.partition(":=")
                keys[_unescaped(key)] = _unescaped(value)
            elif ":" in text:
                field, _, value = text.partition(":")
                field = {"spacings": "spacings", "datafile": "data file", "byteskip": "byte skip"}.get(field, field)
                fields[field.lower()] = value.strip()
                if field.lower() == "data file" and value.strip().upper().startswith("LIST"):
                    break
            else:
                raise cut_off(name, "its header has a line that is neither a field nor a key")
    return fields, keys, 0


def _axes(fields: dict[str, str], sizes: tuple[int, ...], name: str) -> tuple[list[int], int | None]:
    """Which axes are the grid's, fastest first, and which one holds components, if any."""
    if "space directions" in fields:
        on_grid = [vector is not None for vector in _vectors(fields["space directions"])]
    elif "kinds" in fields:
        on_grid = [kind.lower() in (*_ON_GRID, "???", "none") for kind in fields["kinds"].split()]
    else:
        on_grid = [axis < 3 for axis in range(len(sizes))]
    if len(on_grid) != len(sizes):
        raise ValueError(f"{len(on_grid)} axes are described, but there are {len(sizes)}")
    grid = [axis for axis, on in enumerate(on_grid) if on]
    others = [axis for axis, on in enumerate(on_grid) if not on]
    if not 2 <= len(grid) <= 3 or len(others) > 1:
        raise InputError(f"{name} has {len(sizes)} dimensions ({by(sizes)}): save one volume of it with three.")
    return grid, others[0] if others else None


def _ijk_to_ras(fields: dict[str, str], grid: list[int]) -> np.ndarray:
    matrix = np.eye(4)
    if "space directions" in fields:
        vectors = [vector for vector in _vectors(fields["space directions"]) if vector is not None]
    else:
        spacings = fields.get("spacings", "").split()
        steps = [float(spacings[axis]) if spacings else 1.0 for axis in grid]
        vectors = [list(step * np.eye(len(grid))[axis]) for axis, step in enumerate(steps)]
    for axis, vector in enumerate(vectors):
        matrix[: len(vector), axis] = vector
    if len(vectors) == 2:  # a single slice: one millimetre thick
        normal = np.cross(matrix[:3, 0], matrix[:3, 1])
        matrix[:3, 2] = normal / (np.linalg.norm(normal) or 1.0)
    origin = _vectors(fields.get("space origin", ""))
    if origin and origin[0] is not None:
        matrix[: len(origin[0]), 3] = origin[0]
    space = fields.get("space", "left-posterior-superior").lower().removesuffix("-time")
    return _TO_RAS.get(space, LPS_TO_RAS) @ matrix


def _vectors(text: str) -> list[list[float] | None]:
    found = re.findall(r"none|\([^)]*\)", text)
    return [None if word == "none" else [float(number) for number in word[1:-1].split(",")] for word in found]


def _data(path: Path, name: str, fields: dict[str, str], header_bytes: int) -> tuple[Path, int]:
    """The file with the voxels and how many bytes of it come before them."""
    data, skip = path, header_bytes
    if "data file" in fields:
        text = fields["data file"]
        if text.upper().startswith("LIST") or "%" in text:
            raise InputError(f"{name} spreads its voxels over several files: save it as one .nrrd file.")
        data, skip = path.parent / text, 0
        if not data.is_file():
            raise InputError(f"{name} needs the file {text} beside it, which is missing: put both into one folder.")
    with data.open("rb") as file:
        file.seek(skip)
        for _ in range(int(fields.get("line skip", "0"))):
            file.readline()
        return data, file.tell()


def _too_many(name: str, components: int, kind: str) -> InputError:
    if kind.lower() == "time":
        what = f"{components} frames (it is 4D)"
    elif kind.lower() == "complex":
        what = "complex numbers"
    else:
        what = f"{components} components in each voxel"
    return InputError(
        f"{name} has {what}, but a volume has one number in each voxel: save the part you need as a volume of its own."
    )


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n")


def _unescaped(value: str) -> str:
    return re.sub(r"\\(\\|n)", lambda found: "\n" if found[1] == "n" else "\\", value)
