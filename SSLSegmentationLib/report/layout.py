"""Which three slices a sheet shows, how they lie in the picture, and how bright they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from SSLSegmentationLib.volume import Volume

VIEWED = "LPI"
"""Orientation in which every slice of the array is a picture as radiologists hang it: right of the patient at the left
of the picture, front at the top or left, head at the top."""

SOFT_TISSUE = (-160.0, 240.0)  # level 40, width 400

_OPPOSITE = dict(zip("RLAPSI", "LRPAIS", strict=True))
_PLANES = {0: "Axial", 1: "Coronal", 2: "Sagittal"}
_SAMPLES = 160  # along each axis: enough to find a good slice, and quick for the largest scan


@dataclass(frozen=True)
class Panel:
    """One slice of a volume in the orientation VIEWED."""

    name: str
    axis: int
    """Of the (k, j, i) array, at a right angle to the slice."""
    index: int
    size_mm: tuple[float, float]
    """Width and height."""
    left: str
    right: str
    top: str
    bottom: str

    def of(self, viewed: Volume) -> np.ndarray:
        """The pixels (rows, columns), as a view."""
        return np.moveaxis(viewed.voxels, self.axis, 0)[self.index]


def panels(volume: Volume, labels: Volume | None) -> list[Panel]:
    """Axial, coronal and sagittal slice through where most is seen; without those that would be a single line.

    `volume` and `labels` may have any orientation.
    """
    viewed = volume.reoriented(VIEWED)
    indices = _best_slices(labels.reoriented(VIEWED).voxels) if labels is not None else None
    indices = indices or tuple(size // 2 for size in viewed.shape)
    every = [_panel(viewed, axis, indices[axis]) for axis in range(3)]
    flat = [panel for panel in every if min(panel.of(viewed).shape) > 1]
    return flat or every


def shown_window(slices: list[np.ndarray], modality: str) -> tuple[float, float]:
    """The lowest and highest value that are told apart: soft tissue on CT, else what most shown pixels lie between.

    Files that do not say what they are count as CT where a part of the picture is far below the value of fat.
    """
    values = np.concatenate([s.reshape(-1) for s in slices]).astype(np.float32)
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(values, (1, 99)))
    if modality == "CT" or (not modality and low < -500 and values.max() > 100):
        return SOFT_TISSUE
    if high <= low:
        low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def scale_bar_mm(width_mm: float) -> float:
    """The longest of 1, 2, 5, 10, 20, 50 … mm that takes up at most a third of the width."""
    most = width_mm / 3
    power = 10.0 ** np.floor(np.log10(most))
    return float(max(step * power for step in (1, 2, 5) if step * power <= most * (1 + 1e-9)))


def _panel(viewed: Volume, axis: int, index: int) -> Panel:
    rows, columns = (other for other in range(3) if other != axis)
    letters = viewed.orientation[::-1]  # towards what k, j and i grow
    spacing = viewed.spacing[::-1]
    return Panel(
        name=_PLANES[axis],
        axis=axis,
        index=index,
        size_mm=(float(viewed.shape[columns] * spacing[columns]), float(viewed.shape[rows] * spacing[rows])),
        left=_OPPOSITE[letters[columns]],
        right=letters[columns],
        top=_OPPOSITE[letters[rows]],
        bottom=letters[rows],
    )


def _best_slices(labels: np.ndarray) -> tuple[int, int, int] | None:
    """For each axis the slice with the largest sum of the square roots of the labels' areas; None without labels.

    The root lets many organs count for more than one large one.
    """
    for steps in (tuple(max(1, size // _SAMPLES) for size in labels.shape), (1, 1, 1)):
        places = np.nonzero(labels[tuple(slice(step // 2, None, step) for step in steps)])
        if places[0].size:
            break  # else the labels are so small that they hide between the samples
    else:
        return None
    picked = labels[tuple(p * step + step // 2 for p, step in zip(places, steps, strict=True))]
    values, codes = np.unique(picked, return_inverse=True)
    best = []
    for axis, step in enumerate(steps):
        counts = np.bincount(places[axis] * len(values) + codes.reshape(-1))
        counts = np.pad(counts, (0, -len(counts) % len(values))).reshape(-1, len(values))
        score = np.sqrt(counts).sum(axis=1)
        tied = np.flatnonzero(score >= score.max() * (1 - 1e-9))
        best.append(int(tied[len(tied) // 2]) * step + step // 2)
    return tuple(best)
