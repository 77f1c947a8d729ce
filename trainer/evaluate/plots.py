"""Pictures of an evaluation: the spread over cases, calibration, and the course of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from SSLSegmentationLib.io.atomic import replacing
from trainer.evaluate.calibration import Reliability

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BLUE, _ORANGE, _GREY = "#3465a4", "#e07b39", "#888888"


def box_plot(path: Path, scores: Mapping[str, np.ndarray], measure: str) -> None:
    """One box a label (or a method), with every case as a point on it."""
    figure, axes = _figure(width=2.0 + 0.9 * len(scores))
    scored = {name: values[~np.isnan(values)] for name, values in scores.items()}
    axes.boxplot(list(scored.values()), showfliers=False, medianprops={"color": _ORANGE}, widths=0.5)
    scatter = np.random.default_rng(0)
    for place, values in enumerate(scored.values(), start=1):
        axes.plot(place + scatter.uniform(-0.15, 0.15, len(values)), values, ".", color=_BLUE, alpha=0.5, ms=4)
    axes.set_xticks(
        range(1, len(scored) + 1), [f"{name}\n({len(values)})" for name, values in scored.items()], fontsize=8
    )
    if any(len(name) > 10 for name in scored):
        axes.tick_params(axis="x", rotation=30)
    axes.set_ylabel(measure)
    _save(figure, path)


def reliability_diagram(path: Path, curves: Mapping[str, Reliability]) -> None:
    """Accuracy against confidence; on the dotted line a model is as often right as it says."""
    figure, axes = _figure(width=4.5, height=4.2)
    axes.plot([0, 1], [0, 1], ":", color=_GREY)
    for (name, found), colour in zip(curves.items(), (_BLUE, _ORANGE, _GREY), strict=False):
        confidence, right = found.curve()
        axes.plot(confidence, right, "o-", color=colour, ms=4, label=f"{name}: expected error {found.error:.3f}")
    axes.set_xlabel("confidence")
    axes.set_ylabel("accuracy")
    axes.legend(fontsize=8, loc="upper left")
    _save(figure, path)


def learning_curves(path: Path, curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], measure: str) -> None:
    """One line a name: (steps, values)."""
    figure, axes = _figure()
    for name, (steps, values) in curves.items():
        axes.plot(steps, values, label=name, lw=1.3)
    axes.set_xlabel("step")
    axes.set_ylabel(measure)
    axes.legend(fontsize=8)
    _save(figure, path)


def _figure(width: float = 6.0, height: float = 3.6) -> tuple[Figure, Axes]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.25)
    return figure, axes


def _save(figure: Figure, path: Path) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=130, format=path.suffix.lstrip("."))
