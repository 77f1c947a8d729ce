"""The canvas: a voxel grid in which shapes are painted in millimetres of one standard body.

Coordinates are RAS: x to the patient's right, y to the front, z to the head; the origin lies in the midline, at the
depth of the aorta and the height of the left kidney's centre. Every patient is this body turned, scaled and bent by
smooth random fields, so neighbours stay neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import numpy as np

Point = tuple[float, float, float]
Box = tuple[slice, slice, slice]
"""A (k, j, i) part of the grid."""

_MARGIN_MM = 34.0  # how far bending, turning and rough surfaces can carry a shape from where it was placed


class Tissue(IntEnum):
    """What a voxel is made of; scanner.py knows how bright that is."""

    AIR = 0
    FAT = 1
    SKIN = 2
    MUSCLE = 3
    CORTICAL_BONE = 4
    MARROW = 5
    DISC = 6
    CARTILAGE = 7
    LUNG = 8
    SPINAL_CORD = 9
    ARTERY = 10
    VEIN = 11
    PORTAL = 12
    LIVER = 13
    LIVER_VESSEL = 14
    LESION = 15
    SPLEEN = 16
    CORTEX = 17
    MEDULLA = 18
    URINE = 19
    BILE = 20
    WALL = 21
    FLUID = 22
    GAS = 23
    FAECES = 24
    PANCREAS = 25
    ADRENAL = 26
    HEART = 27
    TABLE = 28
    FOAM = 29


class Canvas:
    """Tissues and labels on a grid, and the bent coordinates (x, y, z) of each voxel in the standard body."""

    def __init__(self, shape: tuple[int, int, int], ijk_to_ras: np.ndarray, random: np.random.Generator) -> None:
        self.shape = shape
        self.tissue = np.zeros(shape, np.uint8)
        self.labels = np.zeros(shape, np.uint8)
        self._axes = [
            (ijk_to_ras[axis, 3] + ijk_to_ras[axis, axis] * np.arange(shape[2 - axis])).astype(np.float32)
            for axis in range(3)
        ]
        # The order of these draws is part of what a seed means.
        self.size = float(random.normal(1.0, 0.045))
        angles = np.radians(random.normal(0, (2.0, 1.5, 3.0)))
        bends = [self._smooth(random, 75.0) * random.uniform(3.0, 5.5) for _ in range(3)]
        x, y, z = (a.reshape(s) for a, s in zip(self._axes, ((1, 1, -1), (1, -1, 1), (-1, 1, 1)), strict=True))
        turn = _rotation(angles) / self.size
        self.x, self.y, self.z = (
            turn[row, 0] * x + turn[row, 1] * y + turn[row, 2] * z + bends[row] for row in range(3)
        )
        self._rough = [self._smooth(random, scale) for scale in (30.0, 30.0, 16.0, 16.0)]

    def box(self, low: Sequence[float], high: Sequence[float]) -> Box:
        """The (k, j, i) part of the grid in which a shape between two corners of the standard body may show."""
        slices = []
        for axis in (2, 1, 0):
            a, b = low[axis] * self.size - _MARGIN_MM, high[axis] * self.size + _MARGIN_MM
            inside = np.flatnonzero((self._axes[axis] >= a) & (self._axes[axis] <= b))
            slices.append(slice(int(inside[0]), int(inside[-1]) + 1) if inside.size else slice(0, 0))
        return tuple(slices)

    def everywhere(self) -> Box:
        return (slice(None),) * 3

    def rough(self, box: Box, weights: Sequence[float]) -> np.ndarray:
        """A smooth random surface displacement in millimetres: a mixture of the canvas's four fields."""
        return sum(np.float32(w) * f[box] for w, f in zip(weights, self._rough, strict=True))

    def paint(self, box: Box, inside: np.ndarray, tissue: Tissue, label: int | None = None) -> None:
        """Set the tissue where `inside` is true, and the label too unless it is None."""
        self.tissue[box][inside] = tissue
        if label is not None:
            self.labels[box][inside] = label

    def ellipsoid(
        self, centre: Point, radii: Point, tilt: Point = (0, 0, 0), box: Box | None = None
    ) -> tuple[Box, np.ndarray]:
        """Signed distance in mm (negative inside, a good estimate near the surface) and the box it is given for.

        That is the box around the ellipsoid, unless another one is asked for.
        """
        reach = max(radii)
        box = box or self.box([c - reach for c in centre], [c + reach for c in centre])
        p = [a[box] - np.float32(c) for a, c in zip((self.x, self.y, self.z), centre, strict=True)]
        if any(tilt):
            m = _rotation(np.radians(tilt)).astype(np.float32)
            p = [m[row, 0] * p[0] + m[row, 1] * p[1] + m[row, 2] * p[2] for row in range(3)]
        by_radius = sum((a / np.float32(r)) ** 2 for a, r in zip(p, radii, strict=True))
        by_square = sum((a / np.float32(r * r)) ** 2 for a, r in zip(p, radii, strict=True))
        k0, k1 = np.sqrt(by_radius), np.sqrt(by_square) + np.float32(1e-6)
        return box, k0 * (k0 - 1) / k1

    def tube(
        self, path: Sequence[Point], radii: Sequence[float] | float, flatten: float = 1.0
    ) -> tuple[Box, np.ndarray]:
        """The same for a tube along a smooth path; `flatten` > 1 makes it wider from side to side than deep."""
        radii = [radii] * len(path) if isinstance(radii, int | float) else radii
        points, widths = _curve(np.array(path, float), np.array(radii, float))
        reach = widths.max() * flatten
        box = self.box(points.min(axis=0) - reach, points.max(axis=0) + reach)
        shape = tuple(s.stop - s.start for s in box)
        distance = np.full(shape, np.float32(1e3))
        for a, b, ra, rb in zip(points[:-1], points[1:], widths[:-1], widths[1:], strict=True):
            part = self.box(np.minimum(a, b) - reach, np.maximum(a, b) + reach)
            local = tuple(slice(p.start - w.start, p.stop - w.start) for p, w in zip(part, box, strict=True))
            if 0 in distance[local].shape:
                continue
            d = b - a
            px, py, pz = (v[part] - np.float32(c) for v, c in zip((self.x, self.y, self.z), a, strict=True))
            t = np.clip((px * d[0] + py * d[1] + pz * d[2]) / (d @ d), 0, 1).astype(np.float32)
            px = (px - t * np.float32(d[0])) / np.float32(flatten)
            away = np.sqrt(px**2 + (py - t * np.float32(d[1])) ** 2 + (pz - t * np.float32(d[2])) ** 2)
            np.minimum(distance[local], away - (np.float32(ra) + t * np.float32(rb - ra)), out=distance[local])
        return box, distance

    def _smooth(self, random: np.random.Generator, scale_mm: float) -> np.ndarray:
        """A smooth random field of unit variance that is the same on every grid: noise on knots, spline between."""
        knots = random.standard_normal((int(700 / scale_mm) + 3,) * 3).astype(np.float32)
        for axis in range(3):
            places = self._axes[2 - axis] / scale_mm + (knots.shape[axis] - 1) / 2
            knots = np.moveaxis(np.tensordot(_spline(places, knots.shape[axis]), knots, (1, axis)), 0, axis)
        return knots * np.float32(1.75)  # what the spline takes off the variance, in three dimensions


def _spline(places: np.ndarray, knots: int) -> np.ndarray:
    """Weights of the cubic B-spline at each place, as a (places, knots) matrix."""
    t = np.abs(places[:, None] - np.arange(knots))
    near = 2 / 3 - t**2 + t**3 / 2
    return np.where(t < 1, near, np.where(t < 2, (2 - t).clip(0) ** 3 / 6, 0)).astype(np.float32)


def _rotation(angles: np.ndarray) -> np.ndarray:
    """Turns about x, y and z, in this order, in radians."""
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        a, b = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    return matrix


def _curve(points: np.ndarray, radii: np.ndarray, steps: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """A Catmull-Rom curve through the points, as a finer polyline with radii."""
    if len(points) < 3:
        return points, radii
    padded = np.vstack([2 * points[0] - points[1], points, 2 * points[-1] - points[-2]])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    fine, widths = [], []
    for n in range(len(points) - 1):
        a, b, c, d = padded[n : n + 4]
        fine.append(b + t / 2 * (c - a) + t**2 * (a - 2.5 * b + 2 * c - d / 2) + t**3 * (1.5 * (b - c) + (d - a) / 2))
        widths.append(radii[n] + t[:, 0] * (radii[n + 1] - radii[n]))
    return np.vstack([*fine, points[-1:]]), np.concatenate([*widths, radii[-1:]])
