"""From a trained run to the model package that Slicer and `sslseg` load; several runs become members of one model."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.models.package import ModelPackage, Sliding, UncertaintyRule
from SSLSegmentationLib.models.write import write_package
from trainer.evaluate.judge import RULES
from trainer.evaluate.tables import read_rows, summary
from trainer.loop import code_version
from trainer.methods import method_class
from trainer.networks import Backbone
from trainer.predict import as_package
from trainer.run import Run, plain
from trainer.saving import trained_predictor, trained_result

NOTICE = """\
The weights in this package were trained on {data}.
They are under the licence {licence} (https://spdx.org/licenses/{licence}.html, if it is one of SPDX).
Research use, not a medical device.
"""


def package_runs(
    runs: Sequence[Run],
    folder: Path | str,
    *,
    licence: str,
    licence_text: str = "",
    title: str = "",
    version: str = "1.0",
    description: str = "",
    data: str = "",
    judges: Sequence[Run] = (),
    half: bool = False,
) -> ModelPackage:
    """Write the package. `licence` has to allow what the licence of the data asks for; nobody but the user knows.

    `judges` are runs of a cross-validation of the same training. They lend scores and temperature to a run that was
    trained on all cases, for which nobody is left to judge. With `half`, weights are stored with half as many digits.
    """
    folder = Path(folder).expanduser()
    check_target(folder)
    if not runs or not licence.strip():
        raise InputError(f"{folder.name} needs a trained run and a licence: give both.")
    for run in runs:
        check_trained(run)
    first = runs[0]
    if method_class(first.recipe.method).promptable:
        if len(runs) > 1 or judges:
            raise InputError("A model that answers prompts is made of one run, without --judge: name that run alone.")
        backbone = trained_result(first)
        about = _promptable(first, backbone, folder.name, licence, title, version, description, data)
        state = backbone.network.state_dict()
        text = licence_text or NOTICE.format(data=data or f"the cases of {first.plan.name}", licence=licence)
        return write_package(folder, about, [halved(state) if half else dict(state)], text)
    backbones = [trained_predictor(run) for run in runs]
    for run, backbone in zip(runs[1:], backbones[1:], strict=True):
        _check_alike(first, run, backbone.definition == backbones[0].definition)
    summaries = [_summary(run) for run in judges or runs]
    heats = [float(one["temperature"]) for one in summaries if "temperature" in one]
    heat = math.exp(sum(map(math.log, heats)) / len(heats)) if len(heats) == len(summaries) else 1.0
    doubt = UncertaintyRule("members" if len(runs) > 1 else "entropy", temperature=round(heat, 4))
    axes = {tuple(one.get("flip_axes", ())) for one in summaries}
    if len(runs) == 1 and len(axes) == 1 and axes != {()}:  # what was judged is what is packaged
        doubt = replace(doubt, source="flips", flip_axes=axes.pop())
    about = replace(
        as_package(first.plan, backbones[0].definition, doubt),
        id=folder.name,
        title=title or first.plan.name,
        version=version,
        licence=licence,
        description=description or _description(first, data),
        weights=tuple(Path(f"{number}.safetensors") for number in range(len(runs))),
        training=_training(runs, data, calibrated=len(heats) == len(summaries)),
        scores=_cross_validated(judges) if judges else _scores(runs, summaries),
    )
    text = licence_text or NOTICE.format(data=data or f"the cases of {first.plan.name}", licence=licence)
    states = [backbone.network.state_dict() for backbone in backbones]
    return write_package(folder, about, [halved(state) for state in states] if half else states, text)


def _promptable(
    run: Run, backbone: Backbone, id_: str, licence: str, title: str, version: str, description: str, data: str
) -> ModelPackage:
    """Of a network that answers prompts: it has one label, whatever the user calls it."""
    side = run.recipe.settings.sampling.side
    return ModelPackage(
        folder=Path(),
        id=id_,
        title=title or run.plan.name,
        version=version,
        modality="",
        licence=licence,
        labels=(Label(1, "segment"),),
        network=backbone.definition,
        weights=(Path("model.safetensors"),),
        sliding=Sliding((side, side, 1)),
        preprocessing=run.plan.preprocessing,
        activation="sigmoid",
        description=description,
        training=_training([run], data, calibrated=False),
        scores=_scores([run], [_summary(run)]),
    )


def halved(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights as float16, which halves the file; networks compute with them in whatever they compute in."""
    return {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}


def check_target(folder: Path) -> None:
    if folder.exists():
        raise InputError(f"{folder} exists already: choose another --out, or remove it first.")


def check_trained(run: Run) -> None:
    if run.done is None:
        raise InputError(f"{run.folder} is not trained to its end: run `python -m trainer resume {run.folder}` first.")


def _check_alike(first: Run, other: Run, same_network: bool) -> None:
    one, two = first.plan, other.plan
    same = (one.labels, one.preprocessing, one.sliding) == (two.labels, two.preprocessing, two.sliding)
    if not (same and same_network):
        raise InputError(
            f"{other.folder} was trained for other labels, grids or networks than {first.folder}: "
            "members of one package have to be of one plan."
        )


def _summary(run: Run) -> dict[str, Any]:
    path = run.folder / "evaluation" / "summary.json"
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}


def _training(runs: Sequence[Run], data: str, *, calibrated: bool) -> dict[str, Any]:
    """How to make it again, without the paths of the machine it was made on."""
    first = runs[0]
    plan = plain(first.plan)
    plan.pop("data")
    recipe = plain(first.recipe)
    recipe.pop("store")
    recipe["start"] = Path(recipe["start"]).name
    recipe["training"].pop("seed")
    return {
        "data": data or first.plan.name,
        "labelled_cases": len(first.split.labelled),
        "unlabelled_cases": len(first.split.unlabelled),
        "method": first.recipe.method,
        "preset": Path(first.recipe.preset).name,
        "seeds": [run.recipe.training.seed for run in runs],
        "folds": [f"{run.split.fold} of {run.split.folds}" for run in runs],
        "label_values": {label.name: label.value for label in first.plan.labels},
        "calibration": "temperature fitted on validation cases" if calibrated else "none",
        "machine": first.done["machine"],
        "code": first.done["code"],
        "packaged_by": code_version(),
        "recipe": recipe,
        "plan": plan,
    }


def _scores(runs: Sequence[Run], summaries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What was measured, with the rules it was measured by; by run where there are several."""
    kept = [
        {key: one[key] for key in ("judged", "cases", "rules", "scores", "calibration_error") if key in one}
        for one in summaries
    ]
    if len(runs) == 1:
        return kept[0]
    return {f"{number}: {run.folder.name}": one for number, (run, one) in enumerate(zip(runs, kept, strict=True), 1)}


def _cross_validated(judges: Sequence[Run]) -> dict[str, Any]:
    """Every case once, by the run that had not seen it."""
    rows = []
    for run in judges:
        path = run.folder / "evaluation" / "cases.csv"
        if not path.is_file():
            raise InputError(f"{run.folder} was not evaluated: run `python -m trainer evaluate {run.folder}` first.")
        rows += read_rows(path)
    cases = Counter((row.case, row.label) for row in rows)
    if twice := sorted(case for (case, _), count in cases.items() if count > 1):
        raise InputError(f"{twice[0]} is judged by two of the runs of --judge: give each part of the cases once.")
    return {
        "judged": f"cross-validation of the same training, {len(judges)} of {judges[0].split.folds} parts",
        "cases": len({row.case for row in rows}),
        "rules": RULES,
        "scores": summary(rows),
    }


def _description(run: Run, data: str) -> str:
    names = ", ".join(label.name for label in run.plan.labels)
    counts = f"{len(run.split.labelled)} labelled"
    counts += f" and {len(run.split.unlabelled)} unlabelled" if run.split.unlabelled else ""
    return f"Segments {names}. Trained with {run.recipe.method} on {counts} cases of {data or run.plan.name}."
