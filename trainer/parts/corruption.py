"""Ways to spoil the appearance of a part of an image for a network to restore: those of Models Genesis, and cubes.

All work on float32 (i, j, k) arrays in place, within a box, and touch nothing outside of it. Values stay within the
range that the image had, whatever its intensity rule made of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

Part = tuple[slice, slice, slice]
Range = tuple[float, float]

_CURVE_POINTS = 256
_ANOTHER_BLOCK = 0.95  # the chance of each of up to four more


def remap(image: np.ndarray, part: Part, values: Range, rng: np.random.Generator) -> None:
    """Send intensities through a random cubic Bézier curve from one end of the range to the other; half of them fall.

    With the inner control points drawn from the unit square, x and y are sorted, so that the curve is monotone: darker
    stays darker, or all is inverted.
    """
    low, high = values
    if high <= low:
        return
    t = np.linspace(0, 1, _CURVE_POINTS)
    weights = np.stack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3])
    (x1, x2), (y1, y2) = rng.random((2, 2))
    x = np.sort(weights.T @ [0, x1, x2, 1])
    y = np.sort(weights.T @ [0, y1, y2, 1])
    if rng.random() < 0.5:
        y = y[::-1]
    image[part] = low + (high - low) * np.interp((image[part] - low) / (high - low), x, y)


def shuffle(image: np.ndarray, part: Part, window: Sequence[int], rng: np.random.Generator) -> None:
    """Permute the voxels within each window of a grid that covers the part, so that texture goes and form stays.

    Models Genesis permutes thousands of windows at random places one by one; a grid at a random offset does in one call
    what takes it seconds. Windows at the edge that are not whole are left alone.
    """
    region = image[part]
    window = np.minimum(window, region.shape)
    offset = [int(rng.integers(n % w + 1)) for n, w in zip(region.shape, window, strict=True)]
    counts = [n // w for n, w in zip(region.shape, window, strict=True)]
    tiled = region[tuple(slice(o, o + c * w) for o, c, w in zip(offset, counts, window, strict=True))]
    split = [side for c, w in zip(counts, window, strict=True) for side in (c, w)]
    windows = tiled.reshape(split).transpose(0, 2, 4, 1, 3, 5).reshape(-1, int(np.prod(window)))
    shuffled = rng.permuted(windows, axis=1).reshape(*counts, *window).transpose(0, 3, 1, 4, 2, 5)
    tiled[...] = shuffled.reshape(tiled.shape)


def paint(image: np.ndarray, part: Part, values: Range, rng: np.random.Generator) -> None:
    """Replace the part by uniform noise over the range."""
    image[part] = rng.uniform(*values, image[part].shape)


def corrupt_cubes(
    image: np.ndarray, centres: Iterable[Sequence[int]], sides: tuple[int, int], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A copy in which a cube around each centre went through one of the three, and which voxels that were.

    A cube's side is drawn from `sides`, both included; what lies outside the image is cut off.
    """
    spoiled, touched = image.astype(np.float32), np.zeros(image.shape, dtype=bool)
    values = (float(image.min()), float(image.max()))
    for centre in centres:
        side = int(rng.integers(sides[0], sides[1] + 1))
        low = np.maximum(np.subtract(centre, side // 2), 0)
        high = np.minimum(np.subtract(centre, side // 2) + side, image.shape)
        part = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
        kind = rng.integers(3)
        if kind == 0:
            remap(spoiled, part, values, rng)
        elif kind == 1:
            # A window of 0.46 of the side is a tenth of the cube.
            shuffle(spoiled, part, rng.integers(2, max(2, int(0.46 * side)) + 1, 3), rng)
        else:
            paint(spoiled, part, values, rng)
        touched[part] = True
    return spoiled, touched


def corrupt_as_genesis(
    image: np.ndarray,
    rng: np.random.Generator,
    *,
    remapped: float = 0.9,
    shuffled: float = 0.5,
    painted: float = 0.9,
    outer: float = 0.8,
) -> tuple[np.ndarray, np.ndarray]:
    """Models Genesis' corruption of a whole image with the chances of its released code, and which voxels it reached.

    First voxels are shuffled in small windows, then all intensities are remapped, then either everything but a few
    blocks is painted over (`outer`), or a few blocks are.
    """
    spoiled, touched = image.astype(np.float32), np.zeros(image.shape, dtype=bool)
    everywhere = (slice(None),) * 3
    values = (float(image.min()), float(image.max()))
    if rng.random() < shuffled:
        shuffle(spoiled, everywhere, [int(rng.integers(1, max(1, n // 10) + 1)) for n in image.shape], rng)
        touched[:] = True
    if rng.random() < remapped:
        remap(spoiled, everywhere, values, rng)
        touched[:] = True
    if rng.random() < painted:
        hidden = np.zeros(image.shape, dtype=bool)
        outside = rng.random() < outer
        for block in _blocks(image.shape, (3 / 7, 4 / 7) if outside else (1 / 6, 1 / 3), rng):
            hidden[block] = True
        hidden ^= outside
        spoiled[hidden] = rng.uniform(*values, int(hidden.sum()))
        touched |= hidden
    return spoiled, touched


def _blocks(shape: Sequence[int], sides: Range, rng: np.random.Generator) -> Iterable[Part]:
    """One to five boxes whose sides are such parts of the image's, at random places. A flat axis is covered whole."""
    for number in range(5):
        if number and rng.random() > _ANOTHER_BLOCK:
            return
        size = [max(1, round(n * rng.uniform(*sides))) for n in shape]
        low = [int(rng.integers(n - s + 1)) for n, s in zip(shape, size, strict=True)]
        yield tuple(slice(a, a + s) for a, s in zip(low, size, strict=True))
