"""How far a mean over so few cases can be trusted: intervals from resampling the cases."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Mean:
    value: float
    low: float
    high: float
    """Ends of the 95 % interval."""
    cases: int


def mean_of(values: np.ndarray, seed: int = 0, draws: int = 2000) -> Mean:
    """The mean of what is scored, with the interval of means that other cases of the same kind might have given."""
    scored = np.asarray(values, np.float64)
    scored = scored[~np.isnan(scored)]
    if not len(scored):
        return Mean(float("nan"), float("nan"), float("nan"), 0)
    chosen = np.random.default_rng(seed).integers(0, len(scored), (draws, len(scored)))
    low, high = np.percentile(scored[chosen].mean(axis=1), [2.5, 97.5])
    return Mean(float(scored.mean()), float(low), float(high), len(scored))


def gain_of(with_it: np.ndarray, without: np.ndarray, seed: int = 0, draws: int = 2000) -> Mean:
    """The mean difference on the same cases: resampled in pairs, so that hard cases cancel out."""
    return mean_of(np.asarray(with_it, np.float64) - np.asarray(without, np.float64), seed, draws)
