"""A DICOM series: found in its folder, put in order by where its slices lie, and refused if they form no grid."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.io.stored import LPS_TO_RAS, by, check_memory, cut_off, one_value_each
from SSLSegmentationLib.volume import Volume

log = logging.getLogger(__name__)

_SAME_PLACE = 0.01  # mm
_SAME_DIRECTION = 1e-4
_ROUNDED = 0.05  # mm: positions are often written with one decimal
_UNEVEN = 0.02  # of the distance between slices
_TILTED = 1e-3  # radians

_LOOKED_AT = 2000  # files, in search of a better folder to name: an archive must not be walked to its end

# The ends of the SOP class UIDs of CT, MR, PET and NM images, plain and enhanced.
_SLICE_CLASSES = {b"2", b"2.1", b"2.2", b"4", b"4.1", b"4.4", b"128", b"128.1", b"130", b"20"}

# Tags by their DICOM numbers, as SimpleITK names them.
_INSTANCE, _MODALITY, _DESCRIPTION = "0008|0018", "0008|0060", "0008|103e"
_THICKNESS, _SERIES, _NUMBER = "0018|0050", "0020|000e", "0020|0011"
_POSITION, _ORIENTATION = "0020|0032", "0020|0037"
_SAMPLES, _FRAMES, _SPACING = "0028|0002", "0028|0008", "0028|0030"


@dataclass(frozen=True, eq=False)
class Slice:
    """The header of one file: what is needed to find its series and its place."""

    path: Path
    instance: str
    series: str
    number: str
    description: str
    modality: str
    size: tuple[int, int]
    """(columns, rows)"""
    dtype: np.dtype
    samples: int
    frames: int
    position: np.ndarray
    """LPS millimetres of the first pixel; empty where the file does not say."""
    orientation: np.ndarray
    """Unit vectors in LPS along a row and along a column, as six numbers."""
    spacing: np.ndarray
    """Millimetres between columns and between rows."""
    thickness: float


def read_series(path: Path, series: str | None = None) -> Volume:
    """The volume of a folder of DICOM files, or of the series that one file belongs to.

    `series` is the UID or the number of the series where a folder holds several.
    """
    with _itk_quiet():
        ordered, matrix, title = _series(path, series)
        return Volume(_voxels(ordered, title), matrix, _name(ordered[0], path), ordered[0].modality)


def series_files(path: Path, series: str | None = None) -> tuple[list[Path], Volume]:
    """The files of a series in the order of their slices, and its grid: a volume whose voxels were not read."""
    with _itk_quiet():
        ordered, matrix, _ = _series(path, series)
    columns, rows = ordered[0].size
    nothing = np.broadcast_to(np.uint8(0), (len(ordered), rows, columns))
    return [one.path for one in ordered], Volume(nothing, matrix, _name(ordered[0], path), ordered[0].modality)


def series_in(folder: Path) -> dict[str, list[Path]]:
    """The series of images in a folder, and the files of each."""
    found: dict[str, list[Path]] = {}
    with _itk_quiet():
        for one in _slices_in(folder):
            found.setdefault(one.series, []).append(one.path)
    return found


def _series(path: Path, series: str | None) -> tuple[list[Slice], np.ndarray, str]:
    """The slices of one series in their order, the matrix of its grid, and what to call it in messages."""
    folder = path if path.is_dir() else path.parent
    slices = _slices_in(folder)
    if path.is_file() and series is None:
        own = [one.series for one in slices if one.path == path]
        if not own:
            raise cut_off(path.name, "it holds no DICOM image that can be read")
        series = own[0]
    chosen = _choose(slices, series, folder)
    title = f'{folder.name} ("{_name(chosen[0], folder)}")'
    ordered, matrix = _grid(chosen, title)
    return ordered, LPS_TO_RAS @ matrix, title


def is_dicom(path: Path) -> bool:
    """Whether the file has the mark that DICOM files carry after 128 free bytes."""
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def _slices_in(folder: Path) -> list[Slice]:
    """The image headers of the folder, each image once; reports, plans and the like are passed over."""
    slices: dict[str, Slice] = {}
    for path in sorted(folder.iterdir()):
        marked = path.is_file() and path.name.upper() != "DICOMDIR" and is_dicom(path)
        # Old files lack the mark; they are tried only under a name that DICOM files have.
        if not marked and not (path.is_file() and path.suffix.lower() in (".dcm", ".ima", ".dicom")):
            continue
        try:
            one = _header(path)
        except RuntimeError as error:
            if not marked or _promises_slice(path):
                raise cut_off(path.name, f"it should be a DICOM image in {folder}, but cannot be read") from error
            log.info("%s holds no image and was passed over.", path)
            continue
        slices.setdefault(one.instance or str(path), one)  # a copy of a file ("IMG1 (1).dcm") is the same image
    return list(slices.values())


def _promises_slice(path: Path) -> bool:
    """Whether the first lines of a file say that it is a slice, so that it must not be missing from its series."""
    with path.open("rb") as file:
        found = re.search(rb"1\.2\.840\.10008\.5\.1\.4\.1\.1\.([0-9.]+)", file.read(1024))
    return found is not None and found[1].rstrip(b".") in _SLICE_CLASSES


def _header(path: Path) -> Slice:
    import SimpleITK

    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    reader.ReadImageInformation()

    def text(tag: str) -> str:
        value = reader.GetMetaData(tag) if reader.HasMetaDataKey(tag) else ""
        raw = value.encode("utf-8", "surrogateescape")
        try:
            return raw.decode("utf-8").strip(" \0")
        except UnicodeDecodeError:  # only descriptions are ever written otherwise, most often in Latin-1
            return raw.decode("latin-1").strip(" \0")

    def numbers(tag: str, count: int) -> np.ndarray:
        try:
            found = np.array([float(word) for word in text(tag).split("\\")])
        except ValueError:
            return np.empty(0)
        return found if len(found) == count and np.isfinite(found).all() else np.empty(0)

    def number(tag: str, default: float) -> float:
        return float(next(iter(numbers(tag, 1)), default))

    dtype = SimpleITK.GetArrayViewFromImage(SimpleITK.Image([1, 1], _scalar(reader.GetPixelID()))).dtype
    return Slice(
        path=path,
        instance=text(_INSTANCE),
        series=text(_SERIES),
        number=text(_NUMBER),
        description=text(_DESCRIPTION),
        modality=text(_MODALITY),
        size=tuple(reader.GetSize()[:2]),
        dtype=dtype,
        samples=int(number(_SAMPLES, 1)),
        frames=int(number(_FRAMES, 1)),
        position=numbers(_POSITION, 3),
        orientation=numbers(_ORIENTATION, 6),
        spacing=numbers(_SPACING, 2)[::-1],
        thickness=number(_THICKNESS, 1.0),
    )


def _scalar(pixel: int) -> int:
    """The scalar type of a pixel type; colour has a vector of them, and is refused later."""
    import SimpleITK

    return SimpleITK.sitkUInt8 if pixel >= SimpleITK.sitkComplexFloat32 else pixel


def _choose(slices: Sequence[Slice], series: str | None, folder: Path) -> list[Slice]:
    if not slices:
        raise InputError(_nothing_in(folder))
    groups: dict[str, list[Slice]] = {}
    for one in slices:
        groups.setdefault(one.series, []).append(one)
    if series is None and len(groups) == 1:
        return list(slices)
    listed = "; ".join(
        f"{uid} (number {group[0].number or '?'}, {group[0].modality} {group[0].description!r}, {len(group)} "
        f"{'slice' if len(group) == 1 else 'slices'})"
        for uid, group in groups.items()
    )
    if series is None:
        raise InputError(f"{folder} holds {len(groups)} series, choose one with --series UID: {listed}.")
    if series in groups:
        return groups[series]
    numbered = [group for group in groups.values() if group[0].number == series]
    if len(numbered) != 1:
        found = "no series" if not numbered else f"{len(numbered)} series with the number"
        raise InputError(f"{folder} holds {found} {series}, choose one of these UIDs with --series: {listed}.")
    return numbered[0]


def _nothing_in(folder: Path) -> str:
    deeper = (Path(place, name) for place, _, names in os.walk(folder) for name in names if Path(place) != folder)
    for path in islice(deeper, _LOOKED_AT):
        if path.is_file() and is_dicom(path):
            return f"{folder} holds no DICOM images itself: choose the folder of one series, such as {path.parent}."
    return f"{folder} holds no DICOM images: choose a folder with one DICOM series, or a single file."


def _grid(slices: list[Slice], title: str) -> tuple[list[Slice], np.ndarray]:
    """The slices in the order of their places, and the matrix from (i, j, k) to LPS millimetres."""
    first = slices[0]
    _check_alike(slices, title)
    row, column = first.orientation[:3], first.orientation[3:]
    normal = np.cross(row, column)
    places = np.array([one.position @ normal for one in slices])
    order = np.argsort(places, kind="stable")
    ordered, places = [slices[index] for index in order], places[order]
    step = _step(ordered, places, title)

    drift = ordered[-1].position - ordered[0].position - normal * (places[-1] - places[0])
    way = places[-1] - places[0]
    if np.linalg.norm(drift) > max(_ROUNDED, _TILTED * way):
        degrees = np.degrees(np.arctan2(np.linalg.norm(drift), way))
        raise InputError(
            f"{title} was scanned with a tilted gantry ({degrees:.1f} degrees), so that its slices are shifted against "
            "each other: load it in Slicer with the acquisition transform of the DICOM module, and save the straight "
            "volume."
        )
    matrix = np.eye(4)
    matrix[:3, 0] = row * first.spacing[0]
    matrix[:3, 1] = column * first.spacing[1]
    matrix[:3, 2] = normal * step
    matrix[:3, 3] = ordered[0].position
    return ordered, matrix


def _check_alike(slices: Sequence[Slice], title: str) -> None:
    first = slices[0]
    frames = max(one.frames for one in slices)
    if frames > 1:
        raise InputError(
            f"{title} keeps {frames} slices in one file (enhanced or multi-frame DICOM), whose places cannot be "
            "verified here: load it in Slicer and save it as .nrrd."
        )
    if max(one.samples for one in slices) > 1:
        raise one_value_each(title, f"{max(one.samples for one in slices)} components (colour)")
    if any(not (one.position.size and one.orientation.size and one.spacing.size) for one in slices):
        raise InputError(
            f"{title} does not say where its images lie in the patient, as projections and screen captures do not: "
            "choose a series of CT, MR or PET slices."
        )
    if (np.array([one.spacing for one in slices]) <= 0).any():
        raise InputError(f"{title} has a pixel spacing of zero or less: export the series again.")
    if len({one.size for one in slices}) > 1:
        sizes = sorted({one.size for one in slices})
        raise InputError(
            f"{title} mixes images of {' and '.join(by(size) for size in sizes)} pixels: keep those of one size in a "
            "folder of their own."
        )
    turned = max(np.abs(one.orientation - first.orientation).max() for one in slices)
    scaled = max(np.abs(one.spacing - first.spacing).max() for one in slices)
    if turned > _SAME_DIRECTION or scaled > _SAME_DIRECTION:
        what = "directions" if turned > _SAME_DIRECTION else "pixel spacings"
        raise InputError(
            f"{title} mixes slices of different {what}, such as a localizer: keep those of one stack in a folder of "
            "their own."
        )


def _step(slices: Sequence[Slice], places: np.ndarray, title: str) -> float:
    """Millimetres from slice to slice, if it is the same all the way."""
    if len(slices) == 1:
        return slices[0].thickness if slices[0].thickness > 0 else 1.0
    gaps = np.diff(places)
    same = np.flatnonzero(gaps < _SAME_PLACE)
    if len(same):
        many = "1 image at a place" if len(same) == 1 else f"{len(same)} images at places"
        raise InputError(
            f"{title} has {many} taken already ({'first ' if len(same) > 1 else ''}at {places[same[0]]:g} mm, in "
            f"{slices[same[0]].path.name} and {slices[same[0] + 1].path.name}), as several phases, echoes or b-values "
            "do: keep the images of one in a folder of their own."
        )
    usual = float(np.median(gaps))
    tolerance = max(_ROUNDED, _UNEVEN * usual)
    steps = np.rint(gaps / usual)
    wrong = np.abs(gaps - usual) > tolerance
    if wrong.any() and (steps[wrong] >= 2).all() and (np.abs(gaps - steps * usual)[wrong] <= 2 * tolerance).all():
        missing = int((steps[wrong] - 1).sum())
        where = ", ".join(f"{places[i]:g} and {places[i + 1]:g} mm" for i in np.flatnonzero(wrong)[:3])
        raise InputError(
            f"{title} lacks {missing} {'slice' if missing == 1 else 'slices'} (between {where}; they are {usual:g} mm "
            "apart elsewhere): export the whole series again."
        )
    step = float(places[-1] - places[0]) / (len(places) - 1)
    off = np.abs(places - places[0] - step * np.arange(len(places))).max()
    if wrong.any() or off > tolerance:
        raise InputError(
            f"{title} has uneven slices, {gaps.min():g} to {gaps.max():g} mm apart: load it in Slicer with the "
            "acquisition transform of the DICOM module and save the regular volume."
        )
    return step


def _voxels(slices: Sequence[Slice], title: str) -> np.ndarray:
    import SimpleITK

    dtype = np.result_type(*(one.dtype for one in slices))
    if dtype.kind == "f":
        dtype = np.dtype(np.float32)  # ITK rescales to double, but no scanner measures that finely
    columns, rows = slices[0].size
    check_memory(dtype.itemsize * columns * rows * len(slices), (columns, rows, len(slices)), title)
    # ITK widens 16 bits to 32 as soon as there is an intercept, although CT numbers hardly ever need them.
    voxels = np.empty((len(slices), rows, columns), dtype=np.int16 if dtype == np.int32 else dtype)
    for k, one in enumerate(slices):
        try:
            image = SimpleITK.ReadImage(str(one.path), imageIO="GDCMImageIO")
        except RuntimeError as error:
            raise cut_off(one.path.name, f"its pixels cannot be read; it is a slice of {title}") from error
        values = SimpleITK.GetArrayViewFromImage(image).reshape(rows, columns)
        if voxels.dtype != dtype and (values.min() < -32768 or values.max() > 32767):
            voxels = voxels.astype(dtype)
        voxels[k] = values
    return voxels


def _name(one: Slice, path: Path) -> str:
    return one.description or (path if path.is_dir() else path.parent).name


@contextmanager
def _itk_quiet() -> Iterator[Any]:
    """Keep ITK's own warnings off the user's screen; what matters of them is said in a sentence of ours."""
    import SimpleITK

    shown = SimpleITK.ProcessObject.GetGlobalWarningDisplay()
    SimpleITK.ProcessObject.GlobalWarningDisplayOff()
    try:
        yield
    finally:
        SimpleITK.ProcessObject.SetGlobalWarningDisplay(shown)
