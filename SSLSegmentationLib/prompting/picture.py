"""The 8-bit picture that a promptable model sees: the scan's own voxels on a plane, through the user's window.

The rounding rule: a value v becomes floor(255 · (v − low) / (high − low) + ½), and what lies beyond the window becomes
0 or 255. So every grey covers an equally wide range of values, but for the first and the last, which cover half of it.
Nothing is compressed on the way: two planes with equal voxels give equal pictures, to the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.plane import Plane, cut
from SSLSegmentationLib.volume import Volume

_SAMPLED = 2_000_000  # voxels looked at for a window


@dataclass(frozen=True)
class Window:
    """What the user looks through: values from level − width/2 to level + width/2, black to white.

    A negative width shows the scan inverted, as in a slice view; a width of zero shows black below the level and white
    from it on.
    """

    width: float
    level: float

    def __post_init__(self) -> None:
        width, level = float(self.width), float(self.level)
        if not np.isfinite([width, level]).all():
            raise InputError(f"The window {self.width} at level {self.level} is not a pair of numbers: set it again.")
        object.__setattr__(self, "width", width)
        object.__setattr__(self, "level", level)

    @property
    def low(self) -> float:
        """The value that is shown black."""
        return self.level - self.width / 2


def picture(volume: Volume, plane: Plane, window: Window) -> np.ndarray:
    """The uint8 (rows, columns) picture of the volume on the plane; black where the plane leaves the volume."""
    return through(cut(volume, plane, outside=window.low if window.width else -np.inf), window)


def through(values: np.ndarray, window: Window) -> np.ndarray:
    """Values seen through a window, as uint8; what is no number is black."""
    # Halves of the range of 32-bit integers cannot be told apart in float32, those of 16-bit integers can.
    small = values.dtype.itemsize <= 2 or values.dtype == np.float32
    grey = values.astype(np.float32 if small else np.float64)
    if window.width == 0:
        return np.where(grey >= window.level, np.uint8(255), np.uint8(0))
    grey -= grey.dtype.type(window.low)
    grey *= grey.dtype.type(255.0 / window.width)
    np.nan_to_num(grey, copy=False, nan=0.0, posinf=255.0, neginf=0.0)
    grey += grey.dtype.type(0.5)
    return np.clip(grey, 0, 255, out=grey).astype(np.uint8)


def window_of(volume: Volume) -> Window:
    """A window for a scan whose user has not set one: soft tissue for CT, else all but the rarest values."""
    if volume.modality == "CT":
        return Window(400.0, 40.0)
    step = max(1, round((volume.voxels.size / _SAMPLED) ** (1 / 3)))
    sampled = volume.voxels[::step, ::step, ::step]
    low, high = (float(value) for value in np.percentile(sampled, (0.5, 99.5)))
    if low == high:
        low, high = float(sampled.min()), float(sampled.max())
    return Window(high - low, (high + low) / 2)
