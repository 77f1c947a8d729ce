"""Region growing: what clicks give when no model is installed, and at once.

Around the clicks, voxels of similar intensity that hang together with a click are taken. Similar is measured in the
neighbourhood of each click, so that nobody has to set a threshold.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.plane import Box
from SSLSegmentationLib.progress import Tick, silent
from SSLSegmentationLib.prompting.compose import NOTHING_KEPT, Kept, Patch, compose
from SSLSegmentationLib.prompts import BoxPrompt, MaskPrompt, PointPrompt, Prompt
from SSLSegmentationLib.proposal import NOTHING, Cropped, Proposal, box_of
from SSLSegmentationLib.volume import Volume

_REACH_MM = 40.0  # how far from the clicks a voxel may be
_MOST_VOXELS = 1_500_000  # of the window, so that an answer takes tens of milliseconds on any scan
_NEIGHBOURHOOD_MM = 3.0  # half the side of the cube, of at most 7 voxels, in which a click looks for what is similar
_SPREADS = 3.0  # robust standard deviations to each side
_LEAST_PART = 0.03  # of the window's range, as a tolerance: a perfectly even structure still has a soft edge


def grow(
    volume: Volume,
    prompts: Sequence[Prompt],
    before: Cropped = NOTHING,
    *,
    kept: Kept = NOTHING_KEPT,
    segment: str = "",
    tick: Tick = silent,
) -> Proposal:
    """What positive points add to the segment as it was before, and negative points take away from it.

    A box bounds the region. Voxels under a painted mask count as clicks of its sign. Where positive and negative clicks
    both reach a voxel, the nearer one has it.
    """
    from scipy.ndimage import uniform_filter

    tick("Growing", 0.0)
    clicks, signs = _clicks(volume, prompts)
    window = _window(volume, prompts, clicks)
    start = np.array([s.start for s in window])
    seeds = clicks - start
    image = uniform_filter(volume.voxels[window].astype(np.float32), size=3, mode="nearest")
    tick("Growing", 0.3)
    least = _LEAST_PART * float(np.subtract(*np.percentile(image[::2, ::2, ::2], (99, 1))))
    radius = np.clip(np.rint(_NEIGHBOURHOOD_MM / volume.spacing[::-1]), 1, 3).astype(int)

    taken: dict[bool, np.ndarray] = {}
    uncertainty = np.zeros(image.shape, dtype=np.float32)
    for sign in (True, False):
        own = seeds[signs == sign]
        unlike = _unlikeness(image, own, radius, least)
        taken[sign], doubt = _to_the_edge(image, _reached(unlike <= 1.0, own), unlike)
        np.maximum(uncertainty, doubt, out=uncertainty)
        tick("Growing", 0.5 if sign else 0.7)
    if (~signs).any() and signs.any():
        nearer = _nearer(image.shape, seeds, signs, volume.spacing[::-1])
        taken[False] &= ~nearer
        # What a negative click cuts off from every positive one goes as well.
        taken[True] = _reached(taken[True] & nearer, seeds[signs])
    after = (before.within(window) | taken[True]) & ~taken[False]
    tick("Growing", 1.0)
    grown = taken[True] | taken[False]
    score = float(1.0 - uncertainty[grown].mean()) if grown.any() else 0.0
    patch = Patch(window, np.ones(after.shape, bool), after, uncertainty)
    return compose(before, patch, score=score * _contained(grown), kept=kept, segment=segment)


def _clicks(volume: Volume, prompts: Sequence[Prompt]) -> tuple[np.ndarray, np.ndarray]:
    """(n, 3) voxels in (k, j, i), and for each whether it is positive."""
    places: list[np.ndarray] = []
    signs: list[bool] = []
    for prompt in prompts:
        if isinstance(prompt, PointPrompt):
            voxel = np.floor(volume.to_ijk(np.array(prompt.ras)) + 0.5).astype(int)[::-1]
            if (voxel < 0).any() or (voxel >= np.array(volume.shape)).any():
                place = ", ".join(f"{value:.1f}" for value in prompt.ras)
                raise InputError(f"The click at {place} mm lies outside {volume.name}: click inside the scan.")
            places.append(voxel)
            signs.append(prompt.positive)
        elif isinstance(prompt, MaskPrompt):
            box, bits = prompt.on(volume)
            painted = np.argwhere(bits)
            # A painted area has thousands of voxels; a dozen spread over it say as much.
            for voxel in painted[:: max(1, -(-len(painted) // 12))]:
                places.append(voxel + [s.start for s in box])
                signs.append(prompt.positive)
    if not places:
        raise InputError("There is no click in the scan to grow from: place at least one point.")
    return np.array(places), np.array(signs)


def _window(volume: Volume, prompts: Sequence[Prompt], clicks: np.ndarray) -> Box:
    """The part of the scan that may change: a reach around the clicks, inside the boxes, bounded in voxels."""
    reach = _REACH_MM / volume.spacing[::-1]
    span = clicks.max(axis=0) - clicks.min(axis=0) + 1
    while reach.max() > 8 and np.prod(np.minimum(span + 2 * reach, volume.shape)) > _MOST_VOXELS:
        reach *= 0.9
    reach = np.maximum(reach, 8).astype(int)
    low = np.maximum(clicks.min(axis=0) - reach, 0)
    high = np.minimum(clicks.max(axis=0) + reach + 1, volume.shape)
    for prompt in prompts:
        if isinstance(prompt, BoxPrompt):
            box = prompt.around(volume)
            low = np.maximum(low, [s.start for s in box])
            high = np.minimum(high, [s.stop for s in box])
    if (low > clicks.min(axis=0)).any() or (high <= clicks.max(axis=0)).any():
        raise InputError("A click lies outside the box: move it, or draw the box around it.")
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))


def _unlikeness(image: np.ndarray, seeds: np.ndarray, radius: np.ndarray, least: float) -> np.ndarray:
    """How far each voxel is from the nearest click's intensity, in units of that click's tolerance."""
    unlike = np.full(image.shape, np.inf, dtype=np.float32)
    for seed in seeds:
        near = tuple(slice(max(0, s - r), s + r + 1) for s, r in zip(seed, radius, strict=True))
        median = np.median(image[near])
        spread = 1.4826 * np.median(np.abs(image[near] - median))
        tolerance = max(_SPREADS * float(spread), least, 1e-6)
        # On an edge the neighbourhood may be another structure than the voxel that was clicked: then the voxel counts.
        clicked = float(image[tuple(seed)])
        centre = float(median) if abs(clicked - median) <= tolerance else clicked
        np.minimum(unlike, np.abs(image - np.float32(centre)) / np.float32(tolerance), out=unlike)
    return unlike


def _to_the_edge(image: np.ndarray, core: np.ndarray, unlike: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The core, widened by up to two voxels to where the intensity is half way to what lies around it, and the doubt.

    Smoothing and partial volumes blur an edge over a few voxels that are like neither side; the core ends before them.
    """
    from scipy.ndimage import binary_dilation

    region, doubt = core.copy(), np.zeros(image.shape, dtype=np.float32)
    if not core.any():
        return region, doubt
    box = tuple(slice(max(0, s.start - 4), s.stop + 4) for s in box_of(core))
    part, inner = image[box], core[box]
    rim = binary_dilation(inner, iterations=2)
    around = binary_dilation(rim, iterations=2) & ~rim
    like = np.minimum(unlike[box], 1.0)
    if around.any():
        inside, outside = np.median(part[inner]), np.median(part[around])
        to_inside, to_outside = np.abs(part - inside), np.abs(part - outside)
        region[box] |= rim & (to_inside < to_outside)
        edge = 1.0 - np.abs(to_inside - to_outside) / np.maximum(to_inside + to_outside, 1e-6)
        doubt[box] = np.where(inner, np.minimum(like, edge), edge) * rim
    else:
        doubt[box] = like * inner
    return region, doubt


def _reached(candidates: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """The connected parts of the candidates that hold a seed."""
    from scipy.ndimage import label

    components, _ = label(candidates)
    numbers = {int(components[tuple(seed)]) for seed in seeds} - {0}
    return np.isin(components, sorted(numbers)) if numbers else np.zeros(candidates.shape, dtype=bool)


def _nearer(shape: tuple[int, ...], seeds: np.ndarray, signs: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Where a positive click is nearer than any negative one, in millimetres."""
    axes = np.ogrid[tuple(slice(0, n) for n in shape)]
    least = {True: np.full(shape, np.inf, np.float32), False: np.full(shape, np.inf, np.float32)}
    for seed, sign in zip(seeds, signs, strict=True):
        squares = [
            ((axis - s) * step).astype(np.float32) ** 2 for axis, s, step in zip(axes, seed, spacing, strict=True)
        ]
        np.minimum(least[bool(sign)], squares[0] + squares[1] + squares[2], out=least[bool(sign)])
    return least[True] < least[False]


def _contained(grown: np.ndarray) -> float:
    """1 for a region that ends by itself, less the more of its window's sides it runs into: it has leaked."""
    sides = [grown[0], grown[-1], grown[:, 0], grown[:, -1], grown[:, :, 0], grown[:, :, -1]]
    return 1.0 - sum(bool(side.any()) for side in sides) / 12
