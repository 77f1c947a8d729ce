"""Restoring a spoilt image: where it pays to spoil it, and how far what came back is from what was there."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from trainer.parts.contrast import nothing
from trainer.parts.corruption import corrupt_cubes
from trainer.parts.uncertainty import entropy


def restoration_error(restored: Tensor, clean: Tensor, touched: Tensor) -> Tensor:
    """Σ m (x̂ − x)² / Σ m over the spoilt voxels m; zero where none was."""
    if not touched.any():
        return nothing(restored)
    return (restored.float() - clean.float())[touched].square().mean()


def uncertain_region(p: Tensor, roi: Tensor, *, top: float = 0.05, boundary: int = 2) -> Tensor:
    """Where a prediction is in doubt, (batch, 1, i, j, k): the voxels of highest entropy, and those near a boundary.

        U = { H > its (1 − top) quantile within the region of interest } ∪ { distance to the predicted boundary ≤ 2 }

    H is the entropy of the prediction p, smoothed over 3³ voxels. Where no region is of interest, the whole patch is.
    """
    window = _window(roi, 1)
    doubt = functional.avg_pool3d(
        entropy(p)[:, None], window, 1, [side // 2 for side in window], count_include_pad=False
    )
    doubtful = torch.zeros_like(roi)
    for index in range(len(roi)):
        inside = roi[index] if roi[index].any() else torch.ones_like(roi[index])
        values = doubt[index][inside]
        threshold = values.kthvalue(max(1, int((1 - top) * len(values)))).values
        doubtful[index] = inside & (doubt[index] >= threshold)
    foreground = p.argmax(1, keepdim=True) > 0
    return doubtful | (dilated(foreground, boundary) & dilated(~foreground, boundary))


def dilated(mask: Tensor, reach: int) -> Tensor:
    """Voxels within so many voxels along each axis of one that is set."""
    grown = mask.float()
    for axis, side in enumerate(_window(mask, reach)):  # one after the other: 3 · 17 voxels to look at, not 17³
        window = [side if one == axis else 1 for one in range(3)]
        grown = functional.max_pool3d(grown, window, 1, [one // 2 for one in window])
    return grown > 0


def spoil(
    image: Tensor, region: Tensor, *, cubes: tuple[int, int], sides: tuple[int, int], seed: int
) -> tuple[Tensor, Tensor]:
    """Corrupt cubes centred on random voxels of the region; the image so spoilt, and which voxels that were."""
    rng = np.random.default_rng(seed)
    spoilt, touched = [], []
    for one, where in zip(image[:, 0].detach().float().cpu().numpy(), region[:, 0].cpu().numpy(), strict=True):
        places = np.flatnonzero(where)
        drawn = rng.choice(places, int(rng.integers(cubes[0], cubes[1] + 1))) if len(places) else places
        centres = np.stack(np.unravel_index(drawn, where.shape), -1)
        for found, part in zip((spoilt, touched), corrupt_cubes(one, centres, sides, rng), strict=True):
            found.append(torch.from_numpy(part)[None])
    return torch.stack(spoilt).to(image), torch.stack(touched).to(image.device)


def _window(mask: Tensor, reach: int) -> list[int]:
    """A cube of that reach, flat where the volume is."""
    return [2 * reach + 1 if side > 1 else 1 for side in mask.shape[2:]]
