"""Prompts in patient space become prompts on the pixels of planes; what misses the scan or its plane is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.plane import Plane
from SSLSegmentationLib.prompting.boxes import PixelBox
from SSLSegmentationLib.prompting.stack import Stack, look, slices_beside
from SSLSegmentationLib.prompts import BoxPrompt, MaskPrompt, PointPrompt, Prompt
from SSLSegmentationLib.proposal import Cropped
from SSLSegmentationLib.volume import Volume

_ROUNDING = 1e-3  # of a slice or a voxel, by which rounded numbers may miss


@dataclass(eq=False)
class Placed:
    """All that was placed on one plane, in pixels."""

    plane: Plane
    points: list[tuple[float, float]] = field(default_factory=list)
    """Columns and rows."""
    signs: list[bool] = field(default_factory=list)
    boxes: list[PixelBox] = field(default_factory=list)
    painted: np.ndarray = field(init=False)
    """Boolean (rows, columns)."""
    erased: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.painted = np.zeros(self.plane.shape, dtype=bool)
        self.erased = np.zeros(self.plane.shape, dtype=bool)

    def check(self) -> None:
        """Refuse what cannot all be meant."""
        places = [(round(column), round(row)) for column, row in self.points]
        for place, (column, row), sign in zip(places, self.points, self.signs, strict=True):
            against = [other for other, its in zip(places, self.signs, strict=True) if its != sign]
            pixel = min(max(place[1], 0), self.plane.shape[0] - 1), min(max(place[0], 0), self.plane.shape[1] - 1)
            if place in against or (sign and self.erased[pixel]) or (not sign and self.painted[pixel]):
                where = _said(self.plane.to_ras(np.array((column, row))))
                raise InputError(f"At {where} mm the prompts say both yes and no: take one of them away.")


def placed_on_planes(volume: Volume, prompts: Sequence[Prompt], stack: Stack) -> list[Placed]:
    """What was placed, plane by plane.

    A prompt lies on the plane it was placed in. One in space lies on the slice of the stack it is in, and a box or a
    painting with a depth on every slice it cuts.
    """
    placed: list[Placed] = []
    for prompt in prompts:
        if isinstance(prompt, PointPrompt):
            _place_point(placed, volume, prompt, stack)
        elif isinstance(prompt, BoxPrompt):
            for plane, box in _boxes(volume, prompt, stack):
                _on(placed, plane).boxes.append(box)
        else:
            _place_mask(placed, volume, prompt, stack)
    for one in placed:
        one.check()
    return placed


def _place_point(placed: list[Placed], volume: Volume, prompt: PointPrompt, stack: Stack) -> None:
    ras = np.array(prompt.ras)
    outside = _outside_mm(volume, ras)
    if outside > 0:
        raise InputError(
            f"The click at {_said(ras)} mm lies {outside:.1f} mm outside {volume.name}: click inside the scan."
        )
    plane = prompt.plane
    if plane is None:
        # The slice that has the voxel under the click, which on a slanted stack need not be the nearest one.
        under = np.clip(np.floor(volume.to_ijk(ras) + 0.5).astype(int), 0, np.array(volume.shape[::-1]) - 1)
        n = int(stack.numbers(tuple(slice(int(at), int(at) + 1) for at in under[::-1]))[0, 0, 0])
        plane = stack.plane(min(max(n, 0), stack.count - 1))
    else:
        _check_on(plane, ras, "The click")
    pixel = plane.to_pixel(ras)[:2]
    if (pixel < -0.5 - _ROUNDING).any() or (pixel > np.array(plane.shape[::-1]) - 0.5 + _ROUNDING).any():
        raise InputError(f"The click at {_said(ras)} mm lies beside the picture of its plane: move the view to it.")
    one = _on(placed, plane)
    column, row, _ = one.plane.to_pixel(ras)
    one.points.append((float(column), float(row)))
    one.signs.append(prompt.positive)


def _place_mask(placed: list[Placed], volume: Volume, prompt: MaskPrompt, stack: Stack) -> None:
    if not prompt.pixels.any():
        raise InputError("The painted mask is empty: paint something, or leave it out.")
    mask = Cropped(*prompt.on(volume))
    if not mask.bits.any():
        raise InputError(f"The painted mask lies outside {volume.name}: paint inside the scan.")
    planes = [prompt.plane] if prompt.plane is not None else [stack.plane(n) for n in stack.touched(mask)]
    for plane in planes:
        one = _on(placed, plane)
        seen = look(mask, one.plane, volume) if one.plane is not prompt.plane else prompt.pixels
        target = one.painted if prompt.positive else one.erased
        target |= seen


def _boxes(volume: Volume, prompt: BoxPrompt, stack: Stack) -> list[tuple[Plane, PixelBox]]:
    """The rectangle of a box on each plane it lies in or cuts."""
    if 0 in [s.stop - s.start for s in prompt.around(volume)]:
        outside = min(_outside_mm(volume, corner) for corner in prompt.corners)
        raise InputError(f"The box lies {outside:.1f} mm outside {volume.name}: draw it around something in the scan.")
    if len(prompt.edges) == 2 or prompt.plane is not None:
        plane = prompt.plane
        if plane is None:
            plane = _plane_of(volume, prompt, stack)
        elif len(prompt.edges) == 2:
            for corner in prompt.corners:
                _check_on(plane, corner, "A corner of the box")
        found = [(plane, _section(prompt, plane, slab=True))]
    else:
        depths = stack.first.to_pixel(prompt.corners)[:, 2]
        numbers = range(
            max(0, int(np.ceil(depths.min() - _ROUNDING))),
            min(stack.count - 1, int(np.floor(depths.max() + _ROUNDING))) + 1,
        )
        # A box thinner than a slice may lie between two of them.
        between = len(numbers) == 0
        chosen = [min(max(round(float(depths.mean())), 0), stack.count - 1)] if between else numbers
        found = [(plane, _section(prompt, plane, slab=between)) for plane in map(stack.plane, chosen)]
    boxes = [(plane, _clipped(box, plane)) for plane, box in found if box is not None]
    kept = [(plane, box) for plane, box in boxes if box is not None]
    if not kept:
        raise InputError(f"The box does not cut a slice of {volume.name}: draw it around something in the scan.")
    return kept


def _plane_of(volume: Volume, prompt: BoxPrompt, stack: Stack) -> Plane:
    """The slice a rectangle in space lies in: one of the stack, or else one of its own direction."""
    depths = stack.first.to_pixel(prompt.corners)[:, 2]
    n = int(np.floor(depths.mean() + 0.5 + _ROUNDING))
    if 0 <= n < stack.count and np.abs(depths - n).max() <= 0.5 + _ROUNDING:
        return stack.plane(n)
    first, second = (np.array(edge) for edge in prompt.edges)
    normal = np.cross(first, second)
    if not normal.any():
        raise InputError("The box has no area: draw it wider.")
    size = float(volume.spacing.min())
    matrix = np.eye(4)
    matrix[:3, 0] = first / np.linalg.norm(first) * size
    matrix[:3, 2] = normal / np.linalg.norm(normal)
    matrix[:3, 1] = np.cross(matrix[:3, 2], matrix[:3, 0])
    matrix[:3, 3] = prompt.corners.mean(axis=0)
    beside = slices_beside(volume, Plane(matrix, (1, 1)))
    return beside.plane(min(max(beside.number_at(matrix[:3, 3]), 0), beside.count - 1))


def _section(prompt: BoxPrompt, plane: Plane, slab: bool) -> PixelBox | None:
    """The smallest rectangle of pixels around where a box meets a plane, or the whole thickness of its slice."""
    corners = plane.to_pixel(prompt.corners)
    if len(prompt.edges) == 2:
        return (*corners[:, :2].min(axis=0), *corners[:, :2].max(axis=0))
    met = []
    for depth in (-0.5, 0.0, 0.5) if slab else (0.0,):
        # The edges join corners whose numbers differ in one bit.
        for a, one in enumerate(corners):
            for other in (corners[a | bit] for bit in (1, 2, 4) if not a & bit):
                low, high = sorted((one[2], other[2]))
                if high - low > 1e-9 and low - 1e-9 <= depth <= high + 1e-9:
                    met.append((one + (other - one) * ((depth - one[2]) / (other[2] - one[2])))[:2])
        met.extend(corner[:2] for corner in corners if abs(corner[2] - depth) <= (0.5 if slab else _ROUNDING))
    if not met:
        return None
    return (*np.min(met, axis=0), *np.max(met, axis=0))


def _clipped(box: PixelBox, plane: Plane) -> PixelBox | None:
    rows, columns = plane.shape
    left, top, right, bottom = box
    if right < -0.5 or bottom < -0.5 or left > columns - 0.5 or top > rows - 0.5:
        return None
    across = np.clip((left, right), 0, columns - 1)
    down = np.clip((top, bottom), 0, rows - 1)
    return float(across[0]), float(down[0]), float(across[1]), float(down[1])


def _on(placed: list[Placed], plane: Plane) -> Placed:
    """What was placed on this plane so far; planes that show the same slice with other pixels count as one."""
    for one in placed:
        same = one.plane is plane or (
            abs(one.plane.normal @ plane.normal) > 1 - 1e-9
            and abs(one.plane.to_pixel(plane.pixel_to_ras[:3, 3])[2]) < _ROUNDING
            and _holds(one.plane, plane)
        )
        if same:
            return one
    placed.append(Placed(plane))
    return placed[-1]


def _holds(plane: Plane, other: Plane) -> bool:
    """Whether all pixels of the other plane lie on the picture of this one."""
    rows, columns = other.shape
    ends = other.to_ras(np.array([(0, 0), (columns - 1, 0), (0, rows - 1), (columns - 1, rows - 1)]))
    pixels = plane.to_pixel(ends)[:, :2]
    return bool((pixels >= -0.5 - _ROUNDING).all() and (pixels <= np.array(plane.shape[::-1]) - 0.5 + _ROUNDING).all())


def _check_on(plane: Plane, ras: np.ndarray, what: str) -> None:
    """Refuse a place more than half a slice off its plane."""
    off = float(abs((np.asarray(ras) - plane.pixel_to_ras[:3, 3]) @ plane.normal))
    if off > (0.5 + _ROUNDING) * np.linalg.norm(plane.pixel_to_ras[:3, 2]):
        raise InputError(f"{what} at {_said(ras)} mm lies {off:.1f} mm off its plane: place it in the slice shown.")


def _outside_mm(volume: Volume, ras: np.ndarray) -> float:
    """How far a place is from the nearest voxel's border; 0 inside."""
    ijk = volume.to_ijk(np.asarray(ras))
    nearest = np.clip(ijk, -0.5, np.array(volume.shape[::-1]) - 0.5)
    beyond = np.abs(ijk - nearest)
    return 0.0 if (beyond <= _ROUNDING).all() else float(np.linalg.norm((ijk - nearest) * volume.spacing))


def _said(ras: np.ndarray) -> str:
    return ", ".join(f"{value:.1f}" for value in np.asarray(ras))
