"""A plan as a YAML file: written with what a user needs to know for changing it, read back strictly."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_type_hints

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.io.atomic import replacing
from SSLSegmentationLib.models.configs import read_data
from SSLSegmentationLib.models.networks import check_network
from SSLSegmentationLib.models.package import IntensityRule
from SSLSegmentationLib.models.read import from_plain
from SSLSegmentationLib.volume import AXIS_LETTERS
from trainer.data.plan import Plan

FORMAT = 1

_HEAD = """\
Plan for training on {name}. Research use, not a medical device.
Change what you like and train with it: cases are prepared anew only where it matters."""

_ABOUT = {
    "format": "Version of this file's keys; leave it.",
    "name": "What the model will be called.",
    "data": "The folder of cases; a relative path starts at this file.",
    "modality": "DICOM's code (CT, MR), for files that do not say it themselves.",
    "labels": """\
The structures to be learnt, by their values in your label files. Names and colours are what the radiologist will see
(colours from 0 to 1). What is not to be learnt moves to "background" below.""",
    "preprocessing": """\
How a scan becomes what the network sees, in training and in use alike. Cases are prepared once for it.
orientation: where the axes i, j, k point (R right, A anterior, S superior, ...). Slices lie along k.
spacing: millimetres of the network's grid. Smaller shows more detail and costs time: half the spacing, eight times.
intensity: kind window (low to high becomes 0 to 1; right for CT), percentile (the same, low and high from 0 to 100
within each scan), zscore (mean 0, deviation 1 within each scan; right for MR; with nonzero: true where the air is
exactly 0, as after skull stripping) or none.
crop_to_body: leave out the air around the patient. Not for scans that are already cut around an organ.""",
    "patch": """\
Voxels the network sees at once. Larger patches show more around an organ and cost time and memory in proportion.
Multiples of 16; the last side is 1 for 2D methods.""",
    "batch": "Patches in one step. Semi-supervised methods choose their own mixture.",
    "dims": "3 for volumes, 2 for slices.",
    "network": """\
_target_ is the class, the rest its arguments. features (BasicUNet) are the channels from the finest to the coarsest
level and of the last layer: twice as many see more, need four times the work and overfit sooner on a few cases.""",
    "augmentation": """\
What is done to patches so that few cases teach more. Numbers are probabilities where nothing else is said.
mirror: axes (0, 1, 2 for i, j, k) that may be mirrored; [] where left and right are different labels.
turn: quarter turns in the plane. degrees, scale: how far "affine" rotates and resizes.
swell: how often a structure in a labelled patch is made larger or smaller, and others make room; for volumes whose
slices are at most twice as thick as voxels are wide. swelling: from and to so many times as long, at its centroid.
tint: how often each structure in a labelled patch is made darker or brighter.""",
    "foreground": "Part of the patches that surely show a labelled structure (0 to 1); the others lie anywhere.",
    "overlap": "Of neighbouring patches when a whole scan is segmented (0 to below 0.95).",
    "padding": "What surrounds scans smaller than a patch: zero, or edge (the outermost voxels repeated).",
    "background": "Values in your label files that are not learnt, but count as background.",
    "keep_surest": """\
Values of labels that are one connected structure in every patient, such as a liver: of what is found the parts are
kept that the network is about as sure of as of its surest one, when cases are judged and when the model is used.""",
    "seed": "Another seed, another training; the same seed, the same one.",
}


def write_plan(path: Path | str, plan: Plan, notes: Sequence[str] = ()) -> None:
    """Write the YAML file, with the notes (what was found in the data) at its head."""
    plain = {"format": FORMAT, **_plain(plan)}
    lines = _comment(_HEAD.format(name=plan.name))
    if notes:
        lines += ["#", "# What was found in the data:", *(f"#   {note}" for note in notes)]
    for key, value in plain.items():
        lines += ["", *_comment(_ABOUT[key]), *_written(key, value)]
    with replacing(Path(path)) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_plan(path: Path | str) -> Plan:
    """Read a plan that a user may have edited; whatever cannot be meant is refused with its place."""
    path = Path(path).expanduser()
    if not path.is_file():
        raise InputError(f"{path} does not exist: make a plan first, or correct the path.")
    where = path.name
    given = read_data(path, where)
    number = given.pop("format", FORMAT)
    if number != FORMAT:
        raise InputError(f"{where} is of format {number}, but this program knows format {FORMAT}: make the plan anew.")
    hints = get_type_hints(Plan)
    if unknown := sorted(set(map(str, given)) - set(hints)):
        raise InputError(f'{where} has no key "{unknown[0]}": it knows {", ".join(hints)}.')
    for field in dataclasses.fields(Plan):
        if field.name not in given and field.default is field.default_factory is dataclasses.MISSING:
            raise InputError(f'{where} lacks "{field.name}": add it, or make the plan anew.')
    values = {key: from_plain(str if key == "data" else hints[key], v, f"{where}: {key}") for key, v in given.items()}
    values["data"] = (path.resolve().parent / Path(values["data"]).expanduser()).resolve()
    plan = Plan(**values)
    check_plan(plan, where)
    return plan


def check_plan(plan: Plan, where: str) -> None:
    """Refuse a plan whose numbers cannot be meant."""
    rules, rule = [], plan.preprocessing.intensity
    while rule is not None:
        rules.append(rule)
        rule = rule.then
    values, names = [label.value for label in plan.labels], [label.name for label in plan.labels]
    change, spacing, flat = plan.augmentation, plan.preprocessing.spacing, plan.patch[2] == 1
    probabilities = ("affine", "swell", "tint", "noise", "blur", "brightness", "contrast", "gamma")
    problems = (
        ("name", not plan.name.strip() or not plan.name.isprintable(), "a name in one line"),
        ("labels", not values, "at least one label"),
        ("labels", not all(1 <= value <= 255 for value in values), "values from 1 to 255"),
        ("labels", len(set(values)) < len(values) or len(set(names)) < len(names), "different values and names"),
        ("labels", not all(name.strip() and name.isprintable() for name in names), "names in one line"),
        ("labels", not all(0 <= c <= 1 for label in plan.labels for c in label.color), "colours from 0 to 1"),
        ("background", bool(set(plan.background) & set(values)), "values that are not among the labels"),
        ("keep_surest", not set(plan.keep_surest) <= set(values), "values of labels"),
        ("preprocessing.orientation", not _is_orientation(plan.preprocessing.orientation), "letters such as RAS"),
        ("preprocessing.spacing", spacing and not all(0.01 <= s <= 100 for s in spacing), "0.01 to 100 millimetres"),
        ("preprocessing.intensity", not all(map(_is_rule, rules)), "low below high, and percentiles from 0 to 100"),
        ("patch", not all(1 <= n <= 1024 for n in plan.patch), "sides from 1 to 1024 voxels"),
        ("patch", plan.dims == 2 and not flat, "1 as its last side, because dims is 2"),
        ("patch", plan.dims == 3 and min(plan.patch) == 1, "more than one voxel along each axis, because dims is 3"),
        ("batch", not 1 <= plan.batch <= 4096, "a number from 1 to 4096"),
        ("network", "_target_" not in plan.network, 'a class, as its "_target_"'),
        (
            "network",
            plan.network.get("out_channels", plan.classes) != plan.classes,
            f'"out_channels" {plan.classes}: one for each label and one for the background',
        ),
        ("augmentation.mirror", not {0, 1, 2} >= set(change.mirror), "axes 0, 1 and 2"),
        ("augmentation.degrees", not 0 <= change.degrees <= 180, "0 to 180 degrees"),
        ("augmentation.scale", not _around_one(change.scale), "two numbers around 1"),
        ("augmentation.swelling", not _around_one(change.swelling), "two numbers around 1"),
        ("augmentation.swell", change.swell > 0 and plan.dims == 2, "0, because dims is 2"),
        *((f"augmentation.{p}", not 0 <= getattr(change, p) <= 1, "a probability from 0 to 1") for p in probabilities),
        ("foreground", not 0 <= plan.foreground <= 1, "a part from 0 to 1"),
        ("overlap", not 0 <= plan.overlap < 0.95, "a part from 0 to below 0.95"),
        ("seed", not 0 <= plan.seed < 2**32, "a whole number from 0 on"),
    )
    for key, wrong, needed in problems:
        if wrong:
            raise InputError(f'{where}: "{key}" cannot be used: it needs {needed}.')
    check_network(plan.network, f"{where}: network")


def _is_orientation(letters: str) -> bool:
    return len(letters) == 3 and all(any(letter in pair for letter in letters) for pair in AXIS_LETTERS)


def _around_one(ends: tuple[float, float]) -> bool:
    return 0.2 <= ends[0] <= 1 <= ends[1] <= 5


def _is_rule(rule: IntensityRule) -> bool:
    if rule.kind in {"none", "zscore"}:
        return True
    within = rule.kind == "window" or (rule.low >= 0 and rule.high <= 100)
    return within and rule.low < rule.high and rule.out_low < rule.out_high


def _plain(plan: Plan) -> dict[str, Any]:
    """Tables, lists and plain values; of intensity rules and labels, only what is not as it usually is."""
    plain = {field.name: _listed(getattr(plan, field.name)) for field in dataclasses.fields(plan)}
    plain["data"] = plan.data.as_posix()
    plain["labels"] = [_short(label) for label in plan.labels]
    plain["preprocessing"]["intensity"] = _short_rule(plan.preprocessing.intensity)
    return plain


def _listed(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {field.name: _listed(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, (list, tuple)):
        return [_listed(item) for item in value]
    return {key: _listed(item) for key, item in value.items()} if isinstance(value, dict) else value


def _short(record: Any) -> dict[str, Any]:
    """A record without what has its default."""
    return {
        field.name: _listed(getattr(record, field.name))
        for field in dataclasses.fields(record)
        if getattr(record, field.name) != field.default
    }


def _short_rule(rule: IntensityRule) -> dict[str, Any]:
    short = _short(rule)
    if rule.kind in {"window", "percentile"}:  # both ends, also where one is as it usually is
        short = {"kind": rule.kind, "low": rule.low, "high": rule.high} | short
    if rule.then is not None:
        short["then"] = _short_rule(rule.then)
    return short


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in text.splitlines()]


def _written(key: str, value: Any) -> list[str]:
    """A key in block style, with short lists and tables in one line each."""
    if key == "labels":
        return ["labels:", *(f"  - {_inline(label)}" for label in value)]
    if isinstance(value, dict):
        return [f"{key}:", *(f"  {name}: {_inline(item)}" for name, item in value.items())]
    return [f"{key}: {_inline(value)}"]


def _inline(value: Any) -> str:
    import yaml

    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=2**16)
    return text.removesuffix("\n").removesuffix("\n...").removesuffix("...").strip()
