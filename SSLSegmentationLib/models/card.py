"""The model card: what a person should know before using a package, without the numbers that only programs read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from SSLSegmentationLib.models.package import ModelPackage

_MEASURES = {"dice": "Dice", "hd95_mm": "95HD mm", "nsd": "NSD"}


def card(package: ModelPackage) -> str:
    steps, doubt = package.preprocessing, package.uncertainty
    spacing = " × ".join(f"{size:g}" for size in steps.spacing) + " mm" if steps.spacing else "that of the scan"
    patch = " × ".join(map(str, package.sliding.patch))
    members = f", {len(package.weights)} members" if len(package.weights) > 1 else ""
    lines = [
        f"# {package.title}",
        "",
        "Research use, not a medical device.",
        *(["", package.description] if package.description else []),
        "",
        f"- Scans: {package.modality or 'any modality'}, turned to {steps.orientation}, spacing {spacing}",
        f"- Network: {package.network['_target_']}, patches of {patch} voxels{members}",
        f"- Uncertainty: {doubt.source}, temperature {doubt.temperature:g}",
        f"- Version {package.version or 'not given'}, licence {package.licence or 'see LICENSE'}",
        "",
        "## Labels",
        "",
        *_table(("value", "name"), ((label.value, label.name) for label in package.labels)),
    ]
    if package.scores:
        lines += ["", "## Scores", "", *_scores(package.scores)]
    if package.training:
        lines += ["", "## Training", "", *_facts(package.training)]
        lines += ["", "The plan and all settings are in `configs/metadata.json`."]
    return "\n".join(lines) + "\n"


def _scores(scores: Mapping[str, Any]) -> list[str]:
    """How it was judged, and a table; or one of each of several trainings."""
    found = scores.get("scores")
    if not isinstance(found, dict):
        parts = [(name, part) for name, part in scores.items() if isinstance(part, dict)]
        own = _facts(scores)
        return own + [line for name, part in parts for line in ("", f"### {name}", "", *_scores(part))]
    return [*_facts(scores), "", *_table_of(found)]


def _table_of(found: Mapping[str, Any]) -> list[str]:
    """By label where there are labels, as of what segments; else by measure, as of what answers prompts."""
    whole = found.get("all", {})
    if "labels" not in found:
        rows = ((name, *_measured(one)) for name, one in whole.items())
        return _table(("", "Dice", "95 %"), rows)
    shown = [name for name in _MEASURES if name in whole]
    head = ("", *(column for name in shown for column in (_MEASURES[name], "95 %")))
    labelled = {**found["labels"], "mean": whole}
    rows = ((label, *(cell for name in shown for cell in _measured(one.get(name)))) for label, one in labelled.items())
    return _table(head, rows)


def _measured(one: Any) -> tuple[str, str]:
    """A figure, and between what it probably lies."""
    if not isinstance(one, dict) or one.get("value") is None:
        return "–", "–"
    between = (_figure(one[end]) for end in ("low", "high") if one.get(end) is not None)
    return _figure(one["value"]), " – ".join(between)


def _figure(value: float) -> str:
    """Three digits behind the point for parts of one, one for millimetres."""
    return f"{value:.3f}" if value < 1 else f"{value:.1f}"


def _facts(table: Mapping[str, Any]) -> list[str]:
    """What is said in a word or a list of words."""
    plain = {name: value for name, value in table.items() if not isinstance(value, dict) and value not in ("", [])}
    return [f"- {name.replace('_', ' ')}: {_said(value)}" for name, value in plain.items()]


def _said(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_said, value))
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(str(cell).replace("|", "/") for cell in line) + " |" for line in lines]
