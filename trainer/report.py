"""The table of several evaluated runs: what each method reaches, and what it gains over a baseline on the same cases.

Runs that differ in seed or fold alone belong together. The folds of one seed are put together, so that each case counts
once; the figures of a method are those of its seeds on average, with their standard deviation. A gain is the mean
difference to the baseline with as many labelled cases, in pairs of the same case, with its 95 % bootstrap interval; of
the seeds that both have, where they have any in common.
"""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from SSLSegmentationLib.errors import InputError
from trainer.evaluate.bootstrap import Mean, gain_of
from trainer.evaluate.tables import Row, by_case, by_label, read_rows

_FACTS = ("method", "preset", "labelled", "seed", "fold")


@dataclass(frozen=True, eq=False)
class Run:
    folder: Path
    facts: dict[str, Any]
    rows: list[Row]


@dataclass(frozen=True, eq=False)
class Line:
    """One method with one number of labelled cases."""

    method: str
    preset: str
    labelled: int
    seeds: tuple[int, ...]
    cases: int
    dice: tuple[float, float]
    """Mean over seeds, and their standard deviation (NaN with one seed); so are the next."""
    hd95_mm: tuple[float, float]
    assd_mm: tuple[float, float]
    nsd: tuple[float, float]
    labels: dict[str, float]
    """Mean Dice of each label."""
    gain: Mean | None
    """Of Dice over the baseline; None for the baseline itself, or where there is none."""


def read_run(folder: Path) -> Run:
    """A run that was evaluated."""
    summary, cases = folder / "evaluation" / "summary.json", folder / "evaluation" / "cases.csv"
    if not summary.is_file() or not cases.is_file():
        raise InputError(f"{folder} has not been evaluated: run `python -m trainer evaluate {folder}` first.")
    facts = json.loads(summary.read_text("utf-8"))
    if missing := [name for name in _FACTS if name not in facts]:
        raise InputError(f"{summary} does not say {', '.join(missing)}: evaluate the run again.")
    return Run(folder, facts, read_rows(cases))


def lines_of(runs: Sequence[Run], baseline: str = "supervised") -> list[Line]:
    """One line for every method, preset and number of labelled cases; fewest labelled cases first."""
    groups: dict[tuple[str, str, int], dict[int, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        facts = run.facts
        rows = groups[facts["method"], facts["preset"], facts["labelled"]][facts["seed"]]
        if twice := {row.case for row in rows} & {row.case for row in run.rows}:
            raise InputError(
                f"{run.folder} judges cases that another run of the same method, seed and number of labelled cases "
                f"judged already ({sorted(twice)[0]}): give each run once."
            )
        rows += run.rows
    bases = {labelled: seeds for (name, _, labelled), seeds in groups.items() if name == baseline}
    return [
        _line(*group, seeds, bases.get(group[2]) if group[0] != baseline else None)
        for group, seeds in sorted(groups.items(), key=lambda item: (item[0][2], item[0][0] != baseline, item[0]))
    ]


def markdown(lines: Sequence[Line], baseline: str = "supervised") -> str:
    """The table as people read it."""
    labels = list(dict.fromkeys(label for line in lines for label in line.labels))
    head = ["labelled", "method", "seeds", "Dice", *labels, "95HD mm", "ASSD mm", "NSD", f"gain over {baseline}"]
    rows = [
        [
            str(line.labelled),
            line.method if line.preset in ("", "default") else f"{line.method} ({line.preset})",
            str(len(line.seeds)),
            _plus_minus(line.dice, 3),
            *(f"{line.labels[label]:.3f}" if label in line.labels else "–" for label in labels),
            _plus_minus(line.hd95_mm, 2),
            _plus_minus(line.assd_mm, 2),
            _plus_minus(line.nsd, 3),
            "–" if line.gain is None else f"{line.gain.value:+.3f} [{line.gain.low:+.3f}, {line.gain.high:+.3f}]",
        ]
        for line in lines
    ]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]) + "\n"


def _line(
    method: str,
    preset: str,
    labelled: int,
    seeds: dict[int, list[Row]],
    base: dict[int, list[Row]] | None,
) -> Line:
    def over_seeds(measure: str) -> tuple[float, float]:
        means = [float(np.nanmean(list(by_case(rows, measure).values()))) for rows in seeds.values()]
        return statistics.mean(means), statistics.stdev(means) if len(means) > 1 else float("nan")

    by_seed = [
        {label: np.nanmean(values) for label, values in by_label(rows, "dice").items()} for rows in seeds.values()
    ]
    return Line(
        method,
        preset,
        labelled,
        tuple(sorted(seeds)),
        len(_dice_by_case(seeds)),
        over_seeds("dice"),
        over_seeds("hd95_mm"),
        over_seeds("assd_mm"),
        over_seeds("nsd"),
        {
            label: statistics.mean(float(one[label]) for one in by_seed if label in one)
            for label in dict.fromkeys(label for one in by_seed for label in one)
        },
        _gain(seeds, base) if base else None,
    )


def _gain(seeds: dict[int, list[Row]], base: dict[int, list[Row]]) -> Mean | None:
    common = seeds.keys() & base.keys()
    own, other = (
        _dice_by_case({seed: rows for seed, rows in one.items() if seed in common or not common})
        for one in (seeds, base)
    )
    shared = sorted(own.keys() & other.keys())
    return gain_of(*(np.array([one[case] for case in shared]) for one in (own, other))) if shared else None


def _dice_by_case(seeds: dict[int, list[Row]]) -> dict[str, float]:
    """Each case's mean Dice, averaged over the seeds that judged it."""
    found: dict[str, list[float]] = defaultdict(list)
    for rows in seeds.values():
        for case, dice in by_case(rows, "dice").items():
            found[case].append(dice)
    return {case: statistics.mean(values) for case, values in found.items()}


def _plus_minus(figure: tuple[float, float], digits: int) -> str:
    mean, deviation = figure
    return f"{mean:.{digits}f}" + ("" if np.isnan(deviation) else f" ± {deviation:.{digits}f}")
