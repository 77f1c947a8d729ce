"""The same patch as two scanners might show it, for methods that compare two views."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Look:
    """Chances of the changes; each is drawn anew for every view. Amounts are parts of the view's range of values."""

    tone: float = 0.5
    """Each of gamma, brightness and contrast."""
    blur: float = 0.5
    noise: float = 0.5

    factor: float = 1.4
    """The most by which tone is changed: to 1.4 times or to a 1.4th."""
    sigma: tuple[float, float] = (0.1, 2.0)
    deviation: float = 0.05


FIRST, SECOND = Look(blur=0.9), Look(blur=0.1)
"""As in BYOL, one view is nearly always blurred and the other hardly ever."""


def change(view: np.ndarray, look: Look, rng: np.random.Generator) -> np.ndarray:
    """The view, (i, j, k), with a changed look, within its range of values but for noise."""
    from scipy.ndimage import gaussian_filter

    low, high = float(view.min()), float(view.max())
    view = (view - low) / max(high - low, 1e-6)
    for kind in rng.permutation(3):
        if rng.random() >= look.tone:
            continue
        amount = float(np.exp(rng.uniform(-1, 1) * np.log(look.factor)))
        if kind == 0:
            view = view**amount
        elif kind == 1:
            view = (view * amount).clip(0, 1)
        else:
            mean = view.mean()
            view = (mean + (view - mean) * amount).clip(0, 1)
    if rng.random() < look.blur:
        sigma = rng.uniform(*look.sigma)
        view = gaussian_filter(view, [sigma if side > 1 else 0 for side in view.shape], truncate=3)
    if rng.random() < look.noise:
        view = view + rng.standard_normal(view.shape, dtype=np.float32) * (rng.random() * look.deviation)
    return (low + view * (high - low)).astype(np.float32)
