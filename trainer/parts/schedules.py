"""How much something counts as training goes on. Functions of the step and of the number of steps, and nothing else."""

from __future__ import annotations

import math


def sigmoid_ramp(step: int, over: float, stairs: int = 0) -> float:
    """exp(−5 (1 − t)²) with t = step / over, at most 1: from 0.0067 to 1. With `stairs`, t rises in that many steps.

    Without a length it is 1 from the beginning.
    """
    if over <= 0:
        return 1.0
    part = min(1.0, step / over)
    if stairs:
        part = min(1.0, math.floor(step * stairs / over) / stairs)
    return math.exp(-5 * (1 - part) ** 2)


def linear(start: float, end: float, step: int, over: float) -> float:
    """From start to end in a straight line, and then the end."""
    part = min(1.0, step / over) if over > 0 else 1.0
    return start + (end - start) * part


def teacher_momentum(step: int, most: float) -> float:
    """min(1 − 1/(step + 1), most): while training is young, the mean of all weights so far."""
    return min(1 - 1 / (step + 1), most)


def cosine_momentum(step: int, steps: int, first: float) -> float:
    """1 − (1 − first)(1 + cos(π step/steps))/2: from the first value to 1."""
    return 1 - (1 - first) * (1 + math.cos(math.pi * min(1.0, step / steps))) / 2
