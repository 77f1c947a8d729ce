"""Where the patient is in the scan: networks need not look at the air around."""

from __future__ import annotations

import numpy as np

from SSLSegmentationLib.volume import Volume

_COARSE_MM = 4.0
_MARGIN_MM = 5.0
_SMALLEST_PART = 0.02  # of the largest: arms and legs count as body, the table and the blanket do not


def body_mask(volume: Volume) -> tuple[np.ndarray, tuple[int, int, int]]:
    """A coarse (k, j, i) mask of the body and the number of voxels between its samples along each axis."""
    from scipy import ndimage

    stride = tuple(
        min(size, max(1, int(_COARSE_MM / mm))) for size, mm in zip(volume.shape, volume.spacing[::-1], strict=True)
    )
    coarse = volume.voxels[tuple(slice(step // 2, None, step) for step in stride)]
    mask = coarse > _threshold(coarse, volume.modality)
    # Opening removes what is thin at this scale, above all the table and its link to the back. Nothing is left of an
    # axis shorter than the opening, so there it is left out.
    opened = ndimage.binary_opening(mask, np.ones([1, *(3 if size >= 3 else 1 for size in mask.shape[1:])], dtype=bool))
    parts, count = ndimage.label(opened)
    if count > 1:
        sizes = np.bincount(parts.ravel())
        sizes[0] = 0
        opened = (sizes >= _SMALLEST_PART * sizes.max())[parts]
    return opened, stride


def body_box(volume: Volume) -> tuple[slice, slice, slice]:
    """The (k, j, i) box around the body with a margin; the whole volume where no body stands out."""
    mask, stride = body_mask(volume)
    if mask.mean() < 0.01:
        return (slice(0, volume.shape[0]), slice(0, volume.shape[1]), slice(0, volume.shape[2]))
    box = []
    for axis, (size, step, mm) in enumerate(zip(volume.shape, stride, volume.spacing[::-1], strict=True)):
        filled = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        margin = int(np.ceil(_MARGIN_MM / mm)) + step
        low, high = int(filled[0]) * step + step // 2, int(filled[-1]) * step + step // 2
        box.append(slice(max(0, low - margin), min(size, high + margin + 1)))
    return tuple(box)


def _threshold(voxels: np.ndarray, modality: str) -> float:
    """The value above which a voxel may be body. Fat is; air, and what scanners pad with, is not."""
    lowest = float(voxels.min())
    if modality == "CT":
        return max(-300.0, lowest + 10.0)  # some archives cut HU off below, and then air is the lowest value there is
    low, high = np.percentile(voxels, (0.5, 99.5))
    return float(low + 0.08 * (high - low))
