"""Evaluating a run: its network on cases it has not seen, on their own grids, and how far its confidence is to be
trusted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.inference.devices import choose_device
from SSLSegmentationLib.inference.predictors import best_precision
from SSLSegmentationLib.inference.segment import Settings
from SSLSegmentationLib.inference.uncertainty import fit_temperature
from SSLSegmentationLib.progress import Tick, silent
from trainer import records
from trainer.data.cases import CaseFiles, find_cases
from trainer.data.plan import Plan
from trainer.data.reading import read_case
from trainer.data.store import Store, known_labels
from trainer.evaluate.calibration import Reliability, near_objects
from trainer.evaluate.judge import Evaluation, reliability_of, rows_of, write_evaluation
from trainer.evaluate.plots import learning_curves
from trainer.evaluate.prompting import Answers, Asked, ask_case
from trainer.evaluate.tables import Row
from trainer.loop import code_version, machine
from trainer.methods import method_class
from trainer.networks import Backbone
from trainer.predict import Predictor, logits_on_grid
from trainer.run import SETTINGS, Run
from trainer.saving import trained_predictor, trained_result

_VOXELS_A_CASE = 50_000  # for the temperature, which is one number
_MOST_CASES = 20


def evaluate(
    run_folder: Path | str,
    cases: Sequence[str] | None = None,
    *,
    device: str = "auto",
    tolerance_mm: float = 2.0,
    flips: bool = False,
    tick: Tick = silent,
) -> Evaluation | Answers:
    """Judge the run on its test cases, or on its validation cases where there are none, or on those that are named.

    Everything goes into RUN/evaluation. The temperature is fitted on validation cases; where these are the ones that
    are judged, the facts say so. With `flips`, a scan is seen in all the mirrored ways that training has shown, and the
    mean counts, as in the package then. A model for prompts is asked as users ask it.
    """
    run = Run(run_folder)
    judged, files = judged_cases(run, cases)
    facts = _facts(run, judged, len(files))
    found: Evaluation | Answers
    if method_class(run.recipe.method).promptable:
        found = Answers(_answers(run, files, choose_device(device), tick), facts)
        found.write(run.folder / "evaluation")
    else:
        found = _evaluated(run, files, facts, choose_device(device), tolerance_mm, flips, tick)
        write_evaluation(found, run.folder / "evaluation")
    _curves(run)
    return found


def judged_cases(run: Run, cases: Sequence[str] | None) -> tuple[str, list[CaseFiles]]:
    """What the cases are that are judged, and their files."""
    plan, split = run.plan, run.split
    names = tuple(cases or split.test or split.validation)
    if not names:
        raise InputError(f"{run.folder} holds no cases back (folds: 0): name the cases to judge with --cases.")
    if seen := sorted(set(names) & {*split.labelled}):
        raise InputError(f'"{seen[0]}" was trained on with its labels, so it says nothing: choose other cases.')
    files = {case.name: case for case in find_cases(plan.data)}
    glimpsed = len(set(names) & {*split.unlabelled})
    if missing := sorted(set(names) - {name for name, case in files.items() if case.labels is not None}):
        raise InputError(f'{plan.data} has no labels of "{missing[0]}" to judge with: correct the names.')
    kind = "named" if cases else "test" if split.test else "validation"
    kind += f" ({glimpsed} of them trained on without their labels)" if glimpsed else ""
    return kind, [files[name] for name in names]


def _facts(run: Run, judged: str, count: int) -> dict[str, Any]:
    split, training = run.split, run.recipe.training
    return {
        "method": _called(run),
        "preset": run.recipe.preset,
        "labelled": len(split.labelled),
        "unlabelled": len(split.unlabelled),
        "seed": training.seed,
        "fold": split.fold,
        "steps": training.steps,
        "judged": judged,
        "cases": count,
        "code": (run.done or {}).get("code", code_version()),
        "machine": machine(),
        "command": f"python -m trainer evaluate {run.folder.name}",
    }


def _evaluated(
    run: Run,
    files: Sequence[CaseFiles],
    facts: dict[str, Any],
    device: str,
    tolerance_mm: float,
    flips: bool,
    tick: Tick,
) -> Evaluation:
    backbone = trained_predictor(run)
    reliabilities, heat = _calibration(run, backbone, device, [case.name for case in files], tick)
    axes = _mirrored(run) if flips else ()
    rows = rows_of_cases(run.plan, backbone, device, files, tolerance_mm, axes, heat.get("temperature", 1.0), tick)
    facts |= {"tolerance_mm": tolerance_mm, "flip_axes": list(axes), **heat}
    return Evaluation(rows, reliabilities, facts)


def _answers(run: Run, files: Sequence[CaseFiles], device: str, tick: Tick) -> list[Asked]:
    from SSLSegmentationLib.prompting.click import ClickModel

    model = ClickModel(trained_result(run).network, run.folder.name, device)
    known = known_labels(run.plan)
    found: list[Asked] = []
    for number, case in enumerate(files):
        tick("Judging", number / len(files))
        read = read_case(case, known)
        found += ask_case(case.name, read.scan, read.labels, model)
    tick("Judging", 1.0)
    return found


def _called(run: Run) -> str:
    """The method, and what decides as much: the pre-training it began with, and averaged weights."""
    name = run.recipe.method + (", averaged" if run.recipe.training.average else "")
    start = Path(run.recipe.start) if run.recipe.start else None
    if start is None or not (start / SETTINGS).is_file():
        return name
    before = Run(start).recipe
    preset = "" if before.preset == "default" else f" ({before.preset})"
    return f"{before.method}{preset} then {name}"


def rows_of_cases(
    plan: Plan,
    backbone: Backbone,
    device: str,
    cases: Sequence[CaseFiles],
    tolerance_mm: float,
    flip_axes: tuple[int, ...],
    temperature: float,
    tick: Tick,
) -> list[Row]:
    """What a network finds in these cases, scored."""
    settings = Settings(device=device, doubt="flips" if flip_axes else "none")
    predict = Predictor(backbone, plan, settings, temperature, flip_axes)
    known, rows = known_labels(plan), []
    for number, case in enumerate(cases):
        tick("Judging", number / len(cases))
        truth = read_case(case, known).labels
        found = predict(case)
        rows += rows_of(case.name, found.labels, truth, plan.labels, case.annotated, tolerance_mm)
    tick("Judging", 1.0)
    return rows


def _mirrored(run: Run) -> tuple[int, ...]:
    axes = run.plan.augmentation.mirror
    if not axes:
        raise InputError(
            f"{run.folder} never saw a mirrored patch in training, so mirrored scans are foreign to it: omit --flips."
        )
    return axes


def _calibration(
    run: Run, backbone: Backbone, device: str, judged: Sequence[str], tick: Tick
) -> tuple[dict[str, Reliability], dict[str, Any]]:
    """Reliability on the judged cases as trained and with the temperature that fits validation cases; and the facts."""
    split = run.split
    store = Store(run.recipe.store)
    fitted_on = [name for name in split.validation if name not in set(judged)]
    if own := not fitted_on:
        fitted_on = list(split.validation)
    fitted_on, shown = fitted_on[:_MOST_CASES], [name for name in judged if name in store][:_MOST_CASES]
    if not fitted_on:
        return {}, {"temperature_from": "nowhere: there are no validation cases"}
    total, logits, truths = len({*fitted_on, *shown}), [], []
    cache: dict[str, torch.Tensor] = {}
    for number, name in enumerate(dict.fromkeys((*fitted_on, *shown))):
        tick("Calibrating", number / total)
        case = store[name]
        if case.labels is None or not case.annotated.all():  # what nobody labelled is neither right nor wrong
            continue
        found = logits_on_grid(backbone.network, run.plan, case.image, device, best_precision(device))
        if name in shown:
            cache[name] = found.half()
        if name in fitted_on:
            voxels = _near(found, case.labels, case.spacing, name)
            logits.append(found.flatten(1)[:, voxels])
            truths.append(torch.from_numpy(np.asarray(case.labels).reshape(-1)[voxels.numpy()]))
    tick("Calibrating", 1.0)
    if not sum(len(one) for one in truths):
        return {}, {"temperature_from": "nowhere: no validation case shows what it should find"}
    heat = round(fit_temperature(torch.cat(logits, dim=1), torch.cat(truths)), 4)
    reliabilities: dict[str, Reliability] = {}
    for title, temperature in (("as trained", 1.0), (f"temperature {heat:.2f}", heat)):
        parts = [
            reliability_of(found.float().numpy(), store[name].labels, tuple(store[name].spacing), temperature)
            for name, found in cache.items()
        ]
        if parts and sum(part.voxels.sum() for part in parts):
            reliabilities[title] = sum(parts[1:], parts[0])
    source = "the judged cases themselves: there are no others" if own else f"{len(truths)} validation cases"
    return reliabilities, {"temperature": heat, "temperature_from": source}


def _near(logits: torch.Tensor, truth: np.ndarray, spacing: np.ndarray, name: str) -> torch.Tensor:
    """Some voxels near an object, true or found: the rest is certain, and would only dilute them."""
    near = near_objects(logits.argmax(dim=0).numpy(), np.asarray(truth), tuple(spacing))
    voxels = np.flatnonzero(near)
    random = np.random.default_rng([len(voxels), len(name)])
    return torch.from_numpy(np.sort(random.choice(voxels, min(_VOXELS_A_CASE, len(voxels)), replace=False)))


def _curves(run: Run) -> None:
    course = records.read(run.metrics)
    for file, name, measure in (("loss.png", "train/", "loss"), ("validation.png", "validation/", "Dice")):
        lines = {key.removeprefix(name): points for key, points in course.items() if key.startswith(name)}
        lines.pop("rate", None)
        if lines:
            learning_curves(run.folder / "evaluation" / file, lines, measure)
