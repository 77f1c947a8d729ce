"""A user for the demo, who knows the truth of its phantom: corrects one organ on one slice, and spreads that slice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.progress import Tick, silent
from SSLSegmentationLib.prompting.compose import Kept
from SSLSegmentationLib.prompting.protocol import Promptable
from SSLSegmentationLib.prompting.robot import click, dice
from SSLSegmentationLib.prompting.stack import Stack
from SSLSegmentationLib.prompts import PointPrompt
from SSLSegmentationLib.proposal import NOTHING, Cropped, Proposal
from SSLSegmentationLib.regions import largest_region
from SSLSegmentationLib.steps import finish
from SSLSegmentationLib.volume import Volume

_MOST_CLICKS = 4
_WELL = 0.95  # Dice on the slice with which the user is content
_FAR = 12  # slices on each side, after which users look, and correct the next one; docs/models.md judges as many
_LEAST = 150  # pixels of the organ on a slice that is worth correcting


@dataclass(frozen=True, eq=False)
class Corrected:
    organ: str
    slice: int
    clicks: int
    dice: tuple[float, float]
    """On the slice, before and after."""
    proposal: Proposal
    segment: Cropped
    """The organ with the correction."""


@dataclass(frozen=True, eq=False)
class Spread:
    slices: list[int]
    dice: float
    """Over these slices."""
    drawn: Cropped
    """What was known of the organ: the corrected slice alone."""
    proposal: Proposal


def correct(
    stack: Stack,
    truth: Volume,
    segments: Mapping[str, Cropped],
    labels: Mapping[str, Label],
    network: Promptable | None,
    tick: Tick = silent,
) -> Corrected | None:
    """Click into the largest mistakes of one organ on one slice; None where no click makes anything better.

    Answers that are worse than what was there are rejected, as users do.
    """
    for organ, n in _worst(stack, truth, segments, labels):
        meant, before = stack.look(_mask_of(truth, labels[organ]), n), segments.get(organ, NOTHING)
        first = best = dice(stack.look(before, n), meant)
        after, kept, prompts, clicks = before, None, [], 0
        while len(prompts) < _MOST_CLICKS and best < _WELL:
            prompts.append(_click(stack, n, meant, stack.look(after, n)))
            proposal = _answer(stack, organ, prompts, before, network, tick)
            after = proposal.accepted_into(before)
            score = dice(stack.look(after, n), meant)
            if score > best:
                kept, best, clicks = proposal, score, len(prompts)
        if kept is not None:
            return Corrected(organ, n, clicks, (first, best), kept, kept.accepted_into(before))
    return None


def spread(
    stack: Stack,
    truth: Volume,
    label: Label,
    corrected: Corrected,
    network: Promptable | None,
    kept: Mapping[str, Kept] | None = None,
    tick: Tick = silent,
) -> Spread:
    """What the corrected slice alone leads to on the next ones, beside what is kept of the other organs."""
    from SSLSegmentationLib.prompting.propagate import propagate, usual_rule

    voxels = stack.numbers(corrected.segment.box) == corrected.slice
    drawn = Cropped(corrected.segment.box, corrected.segment.bits & voxels).tight()
    rule = usual_rule(network, _FAR)
    steps = propagate(stack, {corrected.organ: drawn}, [corrected.slice], network, rule=rule, kept=kept, tick=tick)
    result = finish(steps)
    proposal, slices = result.proposals[corrected.organ], result.slices[corrected.organ]
    after, meant = proposal.accepted_into(drawn), _mask_of(truth, label)
    pairs = [(stack.look(after, n), stack.look(meant, n)) for n in slices]
    both, sizes = sum((a & b).sum() for a, b in pairs), sum(a.sum() + b.sum() for a, b in pairs)
    return Spread(slices, float(2 * both / max(1, sizes)), drawn, proposal)


def _worst(
    stack: Stack, truth: Volume, segments: Mapping[str, Cropped], labels: Mapping[str, Label]
) -> list[tuple[str, int]]:
    """For each organ the slice with its largest connected mistake; the largest of all first."""
    worst: list[tuple[int, str, int]] = []
    for organ, label in labels.items():
        meant, found = _mask_of(truth, label), segments.get(organ, NOTHING)
        mistakes = [
            (int(largest_region(area != stack.look(found, n)).sum()), organ, n)
            for n in stack.touched(meant)
            if (area := stack.look(meant, n)).sum() >= _LEAST
        ]
        worst += sorted(mistakes)[-1:]
    return [(organ, n) for mistake, organ, n in sorted(worst, reverse=True) if mistake]


def _click(stack: Stack, n: int, meant: np.ndarray, found: np.ndarray) -> PointPrompt:
    """Into the middle of the largest mistake."""
    place, sign = click(meant, found)
    plane = stack.plane(n)
    return PointPrompt(tuple(float(mm) for mm in plane.to_ras(np.array(place))), sign, plane)


def _answer(
    stack: Stack, organ: str, prompts: list[PointPrompt], before: Cropped, network: Promptable | None, tick: Tick
) -> Proposal:
    from SSLSegmentationLib.prompting.ask import ask
    from SSLSegmentationLib.prompting.grow import grow

    if network is None:
        return grow(stack.volume, prompts, before, segment=organ, tick=tick)
    segments = {organ: before}
    return ask(stack.volume, {organ: prompts}, network, segments=segments, stack=stack, tick=tick)[organ]


def _mask_of(truth: Volume, label: Label) -> Cropped:
    return Cropped(tuple(slice(0, n) for n in truth.shape), truth.voxels == label.value).tight()
