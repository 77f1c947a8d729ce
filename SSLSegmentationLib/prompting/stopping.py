"""Where following a segment from slice to slice ends: at the object's end, or where it leaks."""

from __future__ import annotations

from dataclasses import dataclass

ENDED, LEAKED, LIMIT, BORDER, MET = "ended", "leaked", "limit", "border", "met"
"""Why it stopped: the object ended, it leaked, as far as allowed, at the border of the scan, at another known slice."""

DOUBTFUL = "doubtful"
"""It may have ended: the next slices will tell."""

_NOISE = 16  # pixels; growing by fewer is no leak


@dataclass(frozen=True)
class StopRule:
    least_part: float = 0.002
    """Of the area on the known slice: less than this is nothing."""
    least_score: float = 0.2
    """A model that expects less overlap than this says that the object is not there."""
    patience: int = 3
    """Slices in a row on which it must be nothing, before the object is said to have ended."""
    most_growth: float = 2.0
    """Times the area of the slice before: more than this is a leak."""
    max_frames: int | None = None
    """How many slices are looked at in each direction."""


NEVER = StopRule(least_part=-1.0, least_score=-1.0, most_growth=float("inf"))
"""Follow to the border of the scan, whatever happens."""


class Watch:
    """Sees the areas of one segment in one direction and says when to stop."""

    def __init__(self, rule: StopRule, area: int) -> None:
        self._rule = rule
        self._known = self._last = area
        self._nothing = 0
        self._seen = 0

    def see(self, area: int, score: float) -> str | None:
        """None while the answer is good, DOUBTFUL while it may have ended, or the reason to stop without it."""
        rule = self._rule
        if rule.max_frames is not None and self._seen >= rule.max_frames:
            return LIMIT
        self._seen += 1
        # What is next to nothing is not compared: a single pixel that comes back would be a leak.
        if self._last > 0 and area > rule.most_growth * self._last and area - self._last > _NOISE:
            return LEAKED
        if area < rule.least_part * self._known or score < rule.least_score or (area == 0 and rule.least_part >= 0):
            self._nothing += 1
            return ENDED if self._nothing >= rule.patience else DOUBTFUL
        self._nothing, self._last = 0, area
        return None
