"""NIfTI-1 and NIfTI-2 in a single file: voxels as stored, and the position that ITK and Slicer would give them.

The places of the header's fields are those of nifti1.h and nifti2.h (nifti.nimh.nih.gov).
"""

from __future__ import annotations

import gzip
import logging
import struct
import zlib
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.io.atomic import replacing
from SSLSegmentationLib.io.stored import (
    Layout,
    bad_spacing,
    by,
    check_room,
    cut_off,
    mm,
    one_value_each,
    read_voxels,
    rescaled,
)
from SSLSegmentationLib.volume import Volume, check_matrix

TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}

_NOT_SCALAR = {32: "complex numbers", 1792: "complex numbers", 128: "3 components", 2304: "4 components"}
_MILLIMETRES = {1: 1000.0, 3: 0.001}  # metres and micrometres; what does not say is taken as millimetres
_SCANNER, _ALIGNED = 1, 2  # an sform of a higher code leads into a template, not to the scanner
_ORTHONORMAL = 1e-4  # how far from a right angle ITK still takes an sform
_SAME_SPACING = 0.01

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Header:
    dim: tuple[int, ...]
    datatype: int
    pixdim: tuple[float, ...]
    start: int
    slope: float
    intercept: float
    units: int
    qform_code: int
    sform_code: int
    quaternion: tuple[float, ...]
    """b, c, d and the offset x, y, z"""
    sform: tuple[float, ...]
    order: str


def read_nifti(path: Path, name: str) -> Volume:
    zipped = is_gzip(path)
    header = _read_header(path, name, zipped)
    sizes = (*header.dim[1 : header.dim[0] + 1], 1, 1, 1)[: max(3, header.dim[0])]
    code = header.datatype
    if code in _NOT_SCALAR:
        raise one_value_each(name, _NOT_SCALAR[code])
    if code not in TYPES:
        raise InputError(f"{name} stores its voxels as NIfTI type {code}, which is not supported: save it as float32.")
    layout = Layout(sizes, np.dtype(header.order + TYPES[code]), "gzip" if zipped else "raw", header.start)
    check_room(path, layout, name)
    for axis, what in ((4, "components in each voxel"), (3, "frames (it is 4D)")):
        if len(sizes) > axis and np.prod(sizes[axis:]) > 1:
            raise one_value_each(name, f"{np.prod(sizes[axis:])} {what}")
    matrix = _ijk_to_ras(header, name)
    voxels = read_voxels(path, layout, name).reshape(sizes[2::-1])
    return Volume(rescaled(voxels, *_scale(header)), matrix, name)


def write_nifti(volume: Volume, path: Path) -> None:
    """A single .nii.gz (or .nii) file whose qform and sform both say where the volume lies."""
    voxels = volume.voxels.view(np.uint8) if volume.voxels.dtype == bool else volume.voxels
    kind = voxels.dtype.str[1:]
    codes = {name: code for code, name in TYPES.items()}
    if kind not in codes or max(volume.shape) > 32767:
        raise InputError(f"{path.name} cannot hold {by(volume.shape[::-1])} voxels of {voxels.dtype}: write .nrrd.")
    header = bytearray(352)  # 348 bytes, and four that say that no extension follows
    matrix = volume.ijk_to_ras
    quaternion, qfac = _quaternion(volume.directions)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, *volume.shape[::-1], 1, 1, 1, 1)
    struct.pack_into("<hh", header, 70, codes[kind], voxels.dtype.itemsize * 8)
    struct.pack_into("<8f", header, 76, qfac, *volume.spacing, 1, 1, 1, 1)
    struct.pack_into("<3f", header, 108, len(header), 1.0, 0.0)
    header[123] = 2  # millimetres
    struct.pack_into("<hh", header, 252, _SCANNER, _SCANNER)
    struct.pack_into("<6f", header, 256, *quaternion, *matrix[:3, 3])
    struct.pack_into("<12f", header, 280, *matrix[:3].ravel())
    header[344:348] = b"n+1\0"
    zipped = path.name.lower().endswith(".gz")
    with (
        replacing(path) as temporary,
        temporary.open("wb") as file,
        _packed(file) if zipped else nullcontext(file) as out,
    ):
        out.write(header)
        for plane in voxels:
            out.write(np.ascontiguousarray(plane, dtype="<" + kind).data)


def _packed(file: BinaryIO) -> gzip.GzipFile:
    """No name and no time inside, so that the same volume gives the same bytes.

    Level 1 takes a sixth to two thirds of the time of the usual level 6, and scans grow by about 6 %.
    """
    return gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0)


def is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _read_header(path: Path, name: str, zipped: bool) -> _Header:
    try:
        with gzip.open(path) if zipped else path.open("rb") as file:
            data = file.read(540)
    except (EOFError, OSError, zlib.error) as error:
        raise cut_off(name, f"its compressed data cannot be read: {error}") from error
    for order in "<>":
        if data[:4] == struct.pack(order + "i", 348):
            return _first_version(data, order, name)
        if data[:4] == struct.pack(order + "i", 540):
            return _second_version(data, order, name)
    raise InputError(
        f"{name} is not an image: what is in it is no NIfTI file, whatever its name says; choose the scan."
    )


def _first_version(data: bytes, order: str, name: str) -> _Header:
    if len(data) < 348:
        raise cut_off(name, "its header is incomplete")
    if data[344:347] != b"n+1":
        raise InputError(
            f"{name} is an Analyze image or one half of a pair of .hdr and .img: save it as one .nii.gz file."
        )
    get = lambda places, at: struct.unpack_from(order + places, data, at)  # noqa: E731
    return _checked(
        _Header(
            dim=get("8h", 40), datatype=get("h", 70)[0], pixdim=get("8f", 76), start=_start(get("f", 108)[0], 352),
            slope=get("f", 112)[0], intercept=get("f", 116)[0], units=data[123], qform_code=get("h", 252)[0],
            sform_code=get("h", 254)[0], quaternion=get("6f", 256), sform=get("12f", 280), order=order,
        ),
        name,
    )  # fmt: skip


def _second_version(data: bytes, order: str, name: str) -> _Header:
    if len(data) < 540:
        raise cut_off(name, "its header is incomplete")
    get = lambda places, at: struct.unpack_from(order + places, data, at)  # noqa: E731
    return _checked(
        _Header(
            dim=get("8q", 16), datatype=get("h", 12)[0], pixdim=get("8d", 104), start=_start(get("q", 168)[0], 544),
            slope=get("d", 176)[0], intercept=get("d", 184)[0], units=get("i", 500)[0], qform_code=get("i", 344)[0],
            sform_code=get("i", 348)[0], quaternion=get("6d", 352), sform=get("12d", 400), order=order,
        ),
        name,
    )  # fmt: skip


def _start(offset: float, least: int) -> int:
    return int(offset) if np.isfinite(offset) and offset > least else least


def _checked(header: _Header, name: str) -> _Header:
    if not 1 <= header.dim[0] <= 7:
        raise cut_off(name, f"its header gives it {header.dim[0]} dimensions")
    spacing = header.pixdim[1 : min(header.dim[0], 3) + 1]
    if not all(np.isfinite(step) and step > 0 for step in spacing):
        raise bad_spacing(name, spacing)
    return header


def _scale(header: _Header) -> tuple[float, float]:
    slope = header.slope if np.isfinite(header.slope) and header.slope != 0 else 1.0
    return slope, header.intercept if np.isfinite(header.intercept) else 0.0


def _ijk_to_ras(header: _Header, name: str) -> np.ndarray:
    """The matrix by ITK's rules (itkNiftiImageIO.cxx), so that a scan lies here where Slicer shows it.

    The sform counts if it belongs to the scanner, if there is no qform, or if both say the same; else the qform counts.
    Lengths come from the spacing and not from the columns of the sform.
    """
    scale = _MILLIMETRES.get(header.units & 7, 1.0)
    spacing = np.array([*header.pixdim[1 : min(header.dim[0], 3) + 1], 1.0, 1.0][:3], dtype=np.float64)
    spacing[header.dim[0] :] = 1.0 / scale
    sform, qform = np.eye(4), _qform(header, spacing)
    sform[:3] = np.reshape(header.sform, (3, 4))
    if header.sform_code > 0 and _counts(sform, qform, header, name):
        lengths = np.linalg.norm(sform[:3, :3], axis=0)
        if (np.abs(lengths / spacing - 1) > _SAME_SPACING)[: header.dim[0]].any():
            raise InputError(
                f"{name} contradicts itself: its spacing is {mm(spacing * scale)} but its sform matrix says "
                f"{mm(lengths * scale)}; convert it again from the original scan."
            )
        sform[:3, :3] *= spacing / lengths
        chosen = sform
    elif header.qform_code > 0:
        chosen = qform
    else:
        log.warning("%s does not say how it lies in the patient; left and right may be exchanged.", name)
        chosen = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])  # what ITK and Slicer assume
    chosen[:3] *= scale
    return chosen


def _counts(sform: np.ndarray, qform: np.ndarray, header: _Header, name: str) -> bool:
    if not np.isfinite(sform).all() or (np.linalg.norm(sform[:3, :3], axis=0) == 0).any():
        if header.qform_code > 0:
            return False
        check_matrix(sform, name)
    if header.qform_code <= 0:
        check_matrix(sform, name)
        return True
    axes = sform[:3, :3] / np.linalg.norm(sform[:3, :3], axis=0)
    if np.abs(axes @ axes.T - np.eye(3)).max() > _ORTHONORMAL:
        if header.sform_code == _SCANNER:
            check_matrix(sform, name)  # the scan itself is sheared, and the qform only hides it
        return False
    return header.sform_code == _SCANNER or bool(np.allclose(sform, qform, rtol=0, atol=_ORTHONORMAL))


def _qform(header: _Header, spacing: np.ndarray) -> np.ndarray:
    b, c, d = (float(value) for value in header.quaternion[:3])
    if not np.isfinite(header.quaternion).all():
        return np.full((4, 4), np.nan)  # refused by the Volume, if it comes to count
    a = 1.0 - (b * b + c * c + d * d)
    if a < 1e-7:  # half a turn: only the axis is left, to be made of length one again
        length = np.sqrt(b * b + c * c + d * d)
        a, b, c, d = 0.0, b / length, c / length, d / length
    else:
        a = np.sqrt(a)
    matrix = np.eye(4)
    matrix[:3, :3] = [
        [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
        [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
        [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
    ]
    matrix[:3, :3] *= spacing * (1, 1, -1 if header.pixdim[0] < 0 else 1)
    matrix[:3, 3] = header.quaternion[3:]
    return matrix


def _quaternion(directions: np.ndarray) -> tuple[np.ndarray, float]:
    """b, c, d of the nearest rotation, and -1 as qfac where the k axis has to be turned round first."""
    from scipy.spatial.transform import Rotation

    qfac = 1.0 if np.linalg.det(directions) > 0 else -1.0
    rotation = Rotation.from_matrix(directions * (1, 1, qfac))
    *vector, real = rotation.as_quat()
    return np.array(vector) * (-1.0 if real < 0 else 1.0), qfac
