"""The sheet: one picture with three planes of a scan, what was found in it, and where the model is unsure."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from SSLSegmentationLib import __version__
from SSLSegmentationLib.io.atomic import replacing
from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.report import DISCLAIMER
from SSLSegmentationLib.report.layout import VIEWED, Panel, panels, scale_bar_mm, shown_window
from SSLSegmentationLib.volume import Volume

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

WIDTH, _DPI = 1600, 100
_SIDE, _HEAD, _FOOT, _GAP = 316, 84, 40, 14  # pixels: the legend's column, title, last line, between panels
_TALLEST = 560
_MOST_NAMED, _LINE = 20, 24
_PAPER, _INK, _PALE = "#101214", "#f2f2f2", "#9aa0a6"


def write_sheet(
    path: Path | str,
    volume: Volume,
    labels: Volume | None,
    uncertainty: Volume | None,
    label_table: Sequence[Label],
    *,
    title: str = "",
    subtitle: str = "",
    window: tuple[float, float] | None = None,
    millilitres: Mapping[int, float] | None = None,
) -> None:
    """Write a PNG of 1600 pixels width.

    The first row shows the scan with outlines, numbered as in the legend; the second, where there is an uncertainty,
    how unsure the model is (0 to 1). `window` is the lowest and highest value of the grey scale; `millilitres` by label
    value is shown in the legend.
    """
    from matplotlib.figure import Figure

    for other in (labels, uncertainty):
        if other is not None and other.shape != volume.shape:
            raise ValueError(f"{other.name} does not lie on the grid of {volume.name}")
    chosen = panels(volume, labels)
    scan, found, doubt = (_slices(v, chosen) for v in (volume, labels, uncertainty))
    low, high = window or shown_window(scan, volume.modality)

    rows = 1 if doubt is None else 2
    side = 0 if found is None and doubt is None else _SIDE
    scale = min(
        (WIDTH - side - (len(chosen) + 1) * _GAP) / sum(p.size_mm[0] for p in chosen), _TALLEST / _height(chosen)
    )
    row_height = round(_height(chosen) * scale)
    height = _HEAD + rows * (row_height + _GAP) + _FOOT
    height = max(height, _HEAD + _FOOT + 300)
    figure = Figure(figsize=(WIDTH / _DPI, height / _DPI), dpi=_DPI, facecolor=_PAPER)
    _write_head(figure, height, title or volume.name, subtitle, volume)

    colours = {label.value: label.color for label in label_table}
    heat = heat_colours()
    for row in range(rows):
        free = WIDTH - side - scale * sum(p.size_mm[0] for p in chosen) - (len(chosen) + 1) * _GAP
        left = _GAP + free / 2
        for n, panel in enumerate(chosen):
            width, tall = (mm * scale for mm in panel.size_mm)
            bottom = height - _HEAD - row * (row_height + _GAP) - (row_height + tall) / 2
            axes = _axes(figure, (left, bottom, width, tall), height, panel)
            _show(axes, scan[n], panel, cmap="gray", vmin=low, vmax=high, interpolation="bicubic")
            if row == 1:
                _show(axes, doubt[n], panel, cmap=heat, vmin=0.0, vmax=1.0, interpolation="bilinear")
            if found is not None:
                _outline(axes, found[n], panel, colours, thin=row == 1)
            _mark(axes, panel, scale, first_row=row == 0)
            left += width + _GAP
    if found is not None:
        sizes = dict(millilitres) if millilitres is not None else _sizes(labels.voxels, found)
        unit = "ml" if millilitres is not None else ""
        _legend(figure, height, sizes, label_table, unit=unit, most=max(6, min(_MOST_NAMED, row_height // _LINE - 1)))
    if doubt is not None:
        _heat_bar(figure, height, heat, _HEAD + row_height + _GAP, row_height)
    figure.text(_GAP / WIDTH, 12 / height, f"{DISCLAIMER}.", color=_PALE, fontsize=11, va="bottom")
    made = f"SSLSegmentation {__version__}"
    figure.text(1 - _GAP / WIDTH, 12 / height, made, color=_PALE, fontsize=11, va="bottom", ha="right")
    with replacing(path) as temporary, warnings.catch_warnings():
        # Letters that the font lacks are drawn as boxes; a name in another script must not end the work.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(temporary, format="png", facecolor=_PAPER)


def heat_colours() -> Colormap:
    """Nothing at 0, then yellow over orange to magenta at 1: told apart from grey tissue at every step."""
    from matplotlib.colors import LinearSegmentedColormap

    steps = [
        (0.0, (1.0, 0.95, 0.4, 0.0)),
        (0.06, (1.0, 0.93, 0.4, 0.12)),
        (0.25, (1.0, 0.80, 0.2, 0.65)),
        (0.5, (1.0, 0.45, 0.1, 0.85)),
        (1.0, (0.85, 0.0, 0.65, 0.95)),
    ]
    return LinearSegmentedColormap.from_list("uncertainty", steps)


def _slices(volume: Volume | None, chosen: list[Panel]) -> list[np.ndarray] | None:
    if volume is None:
        return None
    viewed = volume.reoriented(VIEWED)
    return [panel.of(viewed) for panel in chosen]


def _height(chosen: list[Panel]) -> float:
    return max(panel.size_mm[1] for panel in chosen)


def _axes(figure: Figure, box: tuple[float, float, float, float], height: int, panel: Panel) -> Axes:
    """Axes whose units are millimetres from the upper left corner of the slice."""
    left, bottom, wide, tall = box
    axes = figure.add_axes((left / WIDTH, bottom / height, wide / WIDTH, tall / height), facecolor="black")
    axes.set_axis_off()
    axes.set_autoscale_on(False)
    axes.set_xlim(0, panel.size_mm[0])
    axes.set_ylim(panel.size_mm[1], 0)
    return axes


def _show(axes: Axes, pixels: np.ndarray, panel: Panel, **how: Any) -> None:
    axes.imshow(pixels.astype(np.float32), extent=(0, panel.size_mm[0], panel.size_mm[1], 0), aspect="auto", **how)


def _outline(
    axes: Axes, pixels: np.ndarray, panel: Panel, colours: Mapping[int, tuple[float, float, float]], thin: bool
) -> None:
    """A line around each label, and its number inside where there is room."""
    from matplotlib.patheffects import withStroke

    row_mm, column_mm = panel.size_mm[1] / pixels.shape[0], panel.size_mm[0] / pixels.shape[1]
    for value in np.unique(pixels[pixels > 0]):
        mask = pixels == value
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        # A margin of one pixel of background lets the line close at the edge of the scan.
        part = np.pad(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], 1)
        y = (np.arange(rows[0] - 1, rows[-1] + 2) + 0.5) * row_mm
        x = (np.arange(columns[0] - 1, columns[-1] + 2) + 0.5) * column_mm
        colour = colours.get(int(value), (0.5, 0.5, 0.5))
        axes.contour(x, y, part, [0.5], colors=[colour], linewidths=0.6 if thin else 1.5, alpha=0.8 if thin else 1.0)
        if thin:
            continue
        place, room = _roomiest(part, (row_mm, column_mm))
        if room * axes.get_window_extent().width / panel.size_mm[0] >= 9:
            halo = [withStroke(linewidth=2.2, foreground="black")]
            at = x[place[1]], y[place[0]]
            axes.text(
                *at, str(value), color=colour, fontsize=10, weight="bold", ha="center", va="center", path_effects=halo
            )


def _roomiest(mask: np.ndarray, mm: tuple[float, float]) -> tuple[tuple[int, int], float]:
    """The pixel furthest from the edge of a mask, and how far that is in mm."""
    from scipy.ndimage import distance_transform_edt

    depth = distance_transform_edt(mask, sampling=mm)
    place = np.unravel_index(int(depth.argmax()), depth.shape)
    return (int(place[0]), int(place[1])), float(depth[place])


def _mark(axes: Axes, panel: Panel, scale: float, first_row: bool) -> None:
    """Letters at the edges, the name of the plane, and a scale bar."""
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=2.5, foreground="black")]
    inset = 6
    for letter, x, y, ha, va in (
        (panel.left, 0, 0.5, "left", "center"),
        (panel.right, 1, 0.5, "right", "center"),
        (panel.top, 0.5, 1, "center", "top"),
        (panel.bottom, 0.5, 0, "center", "bottom"),
    ):
        offset = {"left": inset, "right": -inset}.get(ha, 0), {"top": -inset, "bottom": inset}.get(va, 0)
        axes.annotate(
            letter, (x, y), offset, "axes fraction", "offset pixels", annotation_clip=False, path_effects=halo,
            color="#ffd966", fontsize=13, weight="bold", ha=ha, va=va,
        )  # fmt: skip
    if first_row:
        axes.annotate(
            panel.name, (0, 1), (inset, -inset), "axes fraction", "offset pixels", color=_INK, fontsize=11,
            ha="left", va="top", path_effects=halo, annotation_clip=False,
        )  # fmt: skip
    bar = scale_bar_mm(panel.size_mm[0])
    x, y = 10 / scale, panel.size_mm[1] - 10 / scale
    axes.plot([x, x + bar], [y, y], color="black", linewidth=4.5, solid_capstyle="butt")
    axes.plot([x, x + bar], [y, y], color=_INK, linewidth=2.5, solid_capstyle="butt")
    axes.text(x, y - 6 / scale, f"{bar:g} mm", color=_INK, fontsize=10, va="bottom", ha="left", path_effects=halo)


def _write_head(figure: Figure, height: int, title: str, subtitle: str, volume: Volume) -> None:
    size = " × ".join(str(n) for n in volume.shape[::-1])
    spacing = " × ".join(f"{mm:.3g}" for mm in volume.spacing)
    facts = " · ".join(
        part for part in (volume.modality, f"{size} voxels", f"{spacing} mm", volume.orientation) if part
    )
    left = _GAP / WIDTH
    figure.text(
        left, 1 - 14 / height, _short(title, 90), color=_INK, fontsize=19, weight="bold", va="top", parse_math=False
    )
    line = f"{_short(subtitle, 110)}   {facts}" if subtitle else facts
    figure.text(left, 1 - 50 / height, line, color=_PALE, fontsize=12, va="top", parse_math=False)


def _legend(
    figure: Figure, height: int, sizes: Mapping[int, float], label_table: Sequence[Label], *, unit: str, most: int
) -> None:
    """Numbers and names of the largest labels, in the order of their values, with their sizes if these have a unit."""
    names = {label.value: label for label in label_table}
    present = [value for value, size in sizes.items() if value > 0 and size > 0]
    largest = sorted(present, key=lambda value: -sizes[value])[:most]
    left, top = WIDTH - _SIDE + 6, _HEAD + 10
    if not present:
        figure.text(left / WIDTH, 1 - top / height, "Nothing was found.", color=_PALE, fontsize=12, va="top")
        return
    for n, value in enumerate(sorted(largest)):
        label = names.get(value, Label(value, f"label {value}"))
        y = 1 - (top + n * _LINE) / height
        text = {"y": y, "fontsize": 12, "va": "top", "parse_math": False}
        figure.text(x=(left + 24) / WIDTH, s=str(value), color=label.color, weight="bold", ha="right", **text)
        amount = f"{_amount(sizes[value])} {unit}" if unit else ""
        right = figure.text(x=1 - _GAP / WIDTH, s=amount, color=_PALE, ha="right", **text)
        room = WIDTH - _GAP - (left + 34) - (right.get_window_extent().width + 8 if unit else 0)
        name = figure.text(x=(left + 34) / WIDTH, s=label.name, color=_INK, **text)
        letters = len(label.name)
        while name.get_window_extent().width > room and letters > 1:
            letters -= 1
            name.set_text(_short(label.name, letters))
    if more := len(present) - len(largest):
        y = 1 - (top + len(largest) * _LINE) / height
        figure.text((left + 34) / WIDTH, y, f"and {more} more", color=_PALE, fontsize=12, va="top")


def _sizes(labels: np.ndarray, found: list[np.ndarray]) -> dict[int, float]:
    """Roughly how many voxels each label has: from a sample of the volume, and from the slices that are shown."""
    sample = labels[tuple(slice(None, None, max(1, size // 128)) for size in labels.shape)]
    values, counts = np.unique(sample, return_counts=True)
    sizes = {int(value): float(count) for value, count in zip(values, counts, strict=True)}
    for pixels in found:
        for value in np.unique(pixels):
            sizes.setdefault(int(value), 0.5)
    return sizes


def _heat_bar(figure: Figure, height: int, heat: Colormap, top: int, row_height: int) -> None:
    tall = max(100, min(row_height - 60, 260))
    left, bottom = WIDTH - _SIDE + 24, height - top - 48 - tall
    axes = figure.add_axes((left / WIDTH, bottom / height, 22 / WIDTH, tall / height), facecolor="#5a5a5a")
    axes.imshow(np.linspace(1, 0, 256)[:, None], cmap=heat, vmin=0, vmax=1, extent=(0, 1, 0, 1), aspect="auto")
    axes.set_xticks([])
    axes.yaxis.tick_right()
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0  certain", "0.25", "0.5", "0.75", "1  undecided"])
    axes.tick_params(colors=_INK, labelsize=11)
    y = 1 - (top + 10) / height
    figure.text((left - 18) / WIDTH, y, "Uncertainty", color=_INK, fontsize=12, weight="bold", va="top")


def _amount(ml: float) -> str:
    return f"{ml:.0f}" if ml >= 10 else f"{ml:.1f}" if ml >= 0.1 else "<0.1"


def _short(text: str, most: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"
