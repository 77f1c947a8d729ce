"""Other looks of the same patient: a patch placed askew, mirrored or turned, and its intensities changed.

All is drawn from one generator and done to the patch alone. Amounts are relative to the patch, so that they mean the
same for windowed CT and for standardised MR.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from trainer.data.patches import Placement, Swelling

_NOISE = (0.02, 0.15)  # standard deviation, in standard deviations of the patch
_BLUR = (0.4, 0.9)  # voxels
_BRIGHTNESS = (0.8, 1.25)
_CONTRAST = (0.7, 1.35)
_GAMMA = (0.7, 1.5)
_TINT = 1.0
"""The most a structure is darker or brighter, in standard deviations of the patch."""
_RIM = 0.7
"""Voxels, the blur of its border, where voxels hold a part of it."""
_NEARLY_CUBIC = 2.0  # between thicker slices, a turn out of their plane would only smear
_TAPS = 2
_ROOM = 3.0
"""Radius of what moves around a structure, in root mean square distances from its middle: a ball has 1.3 of them."""


@dataclass(frozen=True)
class Augmentation:
    """What may be done to a patch; numbers without another meaning are probabilities."""

    mirror: tuple[int, ...] = (0, 1, 2)
    """Axes (0 = i) along which a patch may be mirrored, each every other time."""
    turn: bool = False
    """Quarter turns in the plane of i and j, where the patch is square."""
    affine: float = 0.3
    """Rotated and scaled, in one resampling with the cutting."""
    degrees: float = 15.0
    """The most it is rotated about each axis."""
    scale: tuple[float, float] = (0.85, 1.2)
    """Smaller and larger patients, each axis a little differently."""
    swell: float = 0.0
    """A structure in a labelled patch is larger or smaller than it was, and what lies around makes room."""
    swelling: tuple[float, float] = (0.4, 2.5)
    """How many times as long and wide, at its centroid; a whole ball becomes 0.54 to 1.5 times as long, 0.16 to 3.5
    times its volume. What is small already may vanish."""
    tint: float = 0.0
    """Each structure in a labelled patch is darker or brighter than it was, as with another contrast agent, another
    moment after it, or a sick organ."""
    noise: float = 0.15
    blur: float = 0.15
    brightness: float = 0.15
    contrast: float = 0.15
    gamma: float = 0.3


CROP_ONLY = Augmentation((), False, 0.0, 0.0, (1.0, 1.0), noise=0.0, blur=0.0, brightness=0.0, contrast=0.0, gamma=0.0)
"""As the released code of SSL-contrastive trains."""

FLIPS_AND_TURNS = replace(CROP_ONLY, mirror=(0, 1), turn=True)
"""As UA-MT trains: quarter turns and mirrors in the plane."""

LOOKS = {"plan": None, "crop": CROP_ONLY, "turns": FLIPS_AND_TURNS}
"""As settings name them; None for what the plan says."""


def place(
    rng: np.random.Generator,
    centre: np.ndarray,
    augmentation: Augmentation,
    patch: tuple[int, int, int],
    spacing: np.ndarray,
    foreground: Mapping[int, np.ndarray] | None = None,
) -> Placement:
    """A patch around the centre, as straight or as askew as the augmentation draws it. `foreground` is some voxels of
    each class of the case, for what may swell in it."""
    affine, swelling = None, None
    if rng.random() < augmentation.affine:
        affine = _affine(rng, augmentation, patch, np.asarray(spacing, dtype=np.float64))
    axes = (0, 1, 2)
    flips = [axis in augmentation.mirror and patch[axis] > 1 and bool(rng.random() < 0.5) for axis in range(3)]
    if augmentation.turn:
        quarters = int(rng.integers(4))
        if quarters % 2 and patch[0] == patch[1]:
            axes, flips[0] = (1, 0, 2), not flips[0]
        if quarters >= 2:
            flips[:2] = [not flips[0], not flips[1]]
    if augmentation.swell and foreground and rng.random() < augmentation.swell:
        swelling = _swelling(rng, augmentation, centre, patch, np.asarray(spacing, dtype=np.float64), foreground)
    return Placement(np.asarray(centre, dtype=np.float64), affine, axes, (flips[0], flips[1], flips[2]), swelling)


def tinted(rng: np.random.Generator, image: np.ndarray, truth: np.ndarray, augmentation: Augmentation) -> np.ndarray:
    """The patch with some structures darker or brighter, within what it had; for a tint of 0 nothing is drawn."""
    if not augmentation.tint:
        return image
    shifts = np.zeros(256, np.float32)
    shown = np.flatnonzero(np.bincount(truth.ravel(), minlength=256)[1:]) + 1
    chosen = shown[rng.random(len(shown)) < augmentation.tint]
    if not len(chosen):
        return image
    shifts[chosen] = rng.uniform(-_TINT, _TINT, len(chosen)) * float(image.std())
    return np.clip(image + blurred(shifts[truth], _RIM), image.min(), image.max())


def another_look(rng: np.random.Generator, image: np.ndarray, augmentation: Augmentation) -> np.ndarray:
    """The patch as another scanner might have shown it; may write into what it is given."""
    drawn = rng.random(5)
    if drawn[0] < augmentation.noise:
        deviation = rng.uniform(*_NOISE) * float(image.std())
        image += rng.standard_normal(image.shape, np.float32) * np.float32(deviation)
    if drawn[1] < augmentation.blur:
        image = blurred(image, rng.uniform(*_BLUR))
    if drawn[2] < augmentation.brightness:
        image *= np.float32(rng.uniform(*_BRIGHTNESS))
    if drawn[3] < augmentation.contrast:
        _contrast(image, rng.uniform(*_CONTRAST))
    if drawn[4] < augmentation.gamma:
        _gamma(image, rng.uniform(*_GAMMA))
    return image


def blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian over five voxels on each axis of more than one, the outermost ones repeated; for sigma up to one."""
    weights = np.exp(-0.5 * (np.arange(_TAPS + 1) / sigma) ** 2)
    weights = (weights / (weights[0] + 2 * weights[1:].sum())).astype(np.float32)
    for axis in range(3):
        size = image.shape[axis]
        if size == 1:
            continue
        padded = np.pad(image, [(_TAPS, _TAPS) if a == axis else (0, 0) for a in range(3)], mode="edge")
        moved = [_along(padded, axis, tap, size) for tap in range(2 * _TAPS + 1)]
        image = moved[_TAPS] * weights[0]
        for tap in range(1, _TAPS + 1):
            image += (moved[_TAPS - tap] + moved[_TAPS + tap]) * weights[tap]
    return image


def _along(array: np.ndarray, axis: int, start: int, size: int) -> np.ndarray:
    return array[tuple(slice(start, start + size) if a == axis else slice(None) for a in range(3))]


def _contrast(image: np.ndarray, factor: float) -> None:
    """Spread about the mean, kept within what the patch had."""
    low, high, mean = image.min(), image.max(), image.mean()
    image -= mean
    image *= np.float32(factor)
    image += mean
    np.clip(image, low, high, out=image)


def _gamma(image: np.ndarray, exponent: float) -> None:
    """Dark and bright drawn apart, within what the patch had."""
    low, high = float(image.min()), float(image.max())
    if high - low < 1e-6:
        return
    image -= np.float32(low)
    image *= np.float32(1 / (high - low))
    np.power(np.clip(image, 0, 1, out=image), np.float32(exponent), out=image)
    image *= np.float32(high - low)
    image += np.float32(low)


def _affine(
    rng: np.random.Generator, augmentation: Augmentation, patch: tuple[int, int, int], spacing: np.ndarray
) -> np.ndarray:
    """Rotation and scale in millimetres, written in voxels. Flat patches, and thick slices, stay in their plane."""
    from scipy.spatial.transform import Rotation

    axes = (0, 0, 1) if _stays_in_plane(patch, spacing) else (1, 1, 1)
    degrees = rng.uniform(-1, 1, 3) * augmentation.degrees * axes
    low, high = np.log(augmentation.scale)
    sizes = np.exp(np.clip(rng.uniform(low, high) + rng.uniform(-0.05, 0.05, 3), low, high))
    if patch[2] == 1:
        sizes[2] = 1.0
    # A patient twice as large is seen where the scan is walked through in half steps.
    millimetres = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix() / sizes
    return millimetres * spacing / spacing[:, None]


def _stays_in_plane(patch: tuple[int, int, int], spacing: np.ndarray) -> bool:
    return patch[2] == 1 or spacing[2] > _NEARLY_CUBIC * min(spacing[:2])


def _swelling(
    rng: np.random.Generator,
    augmentation: Augmentation,
    centre: np.ndarray,
    patch: tuple[int, int, int],
    spacing: np.ndarray,
    foreground: Mapping[int, np.ndarray],
) -> Swelling | None:
    """Around the centroid of one of the structures whose centroid the patch shows. Where it shrinks, more comes into
    view from all sides: at the border of a scan, what the patch is padded with."""
    middles = {one: voxels.mean(axis=0) for one, voxels in foreground.items() if len(voxels)}
    shown = [one for one, middle in middles.items() if (np.abs(middle - centre) < np.array(patch) / 2).all()]
    if not shown or _stays_in_plane(patch, spacing):
        return None
    one = shown[rng.integers(len(shown))]
    distances = np.linalg.norm((foreground[one] - middles[one]) * spacing, axis=1)
    radius = _ROOM * max(float(np.sqrt(np.square(distances).mean())), float(spacing.max()))
    factor = float(np.exp(rng.uniform(*np.log(augmentation.swelling))))
    return Swelling(middles[one], radius, factor, spacing)
