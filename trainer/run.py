"""A run: one folder that holds all a training needs to go on, and all it has made.

RUN/plan.yaml               data and network, as they were when the run began
RUN/split.json              which cases are trained on, with and without labels, and which judge
RUN/settings.yaml           method, its hyperparameters, how it is trained; written last: with it a run exists
RUN/checkpoints/last.ckpt   to go on from
RUN/log/, RUN/metrics.csv   the course of the training, for TensorBoard and for everything else
RUN/done.json               there when all steps are made
RUN/evaluation/             scores, once `evaluate` has run
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.io.atomic import replacing
from SSLSegmentationLib.models.configs import read_data
from SSLSegmentationLib.models.read import from_plain
from trainer.data.plan import Plan
from trainer.data.plan_file import read_plan, write_plan
from trainer.data.splits import Split, read_split, write_split
from trainer.methods import method_class

SETTINGS = "settings.yaml"


@dataclass(frozen=True)
class Training:
    """How long, how exactly and on what a method is trained; the same for all methods."""

    steps: int = 6000
    seed: int = 0
    device: str = "auto"
    devices: int = 1
    nodes: int = 1
    strategy: str = "auto"
    """Of several devices, as Lightning names it."""
    precision: Literal["auto", "f32", "bf16", "f16"] = "auto"
    clip: float = 12.0
    """The greatest norm of the gradient; 0 leaves it as it is."""
    average: float = 0.0
    """Evaluate and package a running average of the weights, of which a step keeps this much (0.999); 0: the last."""
    start_share: float = 0.0
    """Evaluate and package a mean in which the weights of --from count this much: what they could do is lost less
    (Wortsman et al. 2022)."""
    workers: int = -1
    """Processes that make batches; -1 chooses."""
    log_every: int = 20
    save_every: int = 200
    validate_every: int = 500
    validate_on: int = 4
    """Validation cases that are segmented for the learning curve; 0: none."""


@dataclass(frozen=True)
class Recipe:
    """All that decides about a training beside plan and split."""

    method: str
    preset: str
    settings: Any
    """The method's own record."""
    training: Training
    start: str = ""
    """The run or package whose weights it began with."""
    store: str = ""
    """The folder of the prepared cases."""
    made_by: str = ""
    """Version and commit of the program."""


class Run:
    """The folder of a run, read as far as it is asked for."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder).expanduser()
        if not (self.folder / SETTINGS).is_file():
            raise InputError(f"{self.folder} is not the folder of a run (it has no {SETTINGS}): correct the path.")

    @cached_property
    def plan(self) -> Plan:
        return read_plan(self.folder / "plan.yaml")

    @cached_property
    def split(self) -> Split:
        return read_split(self.folder / "split.json")

    @cached_property
    def recipe(self) -> Recipe:
        return read_recipe(self.folder / SETTINGS)

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoints" / "last.ckpt"

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.csv"

    @property
    def done(self) -> dict[str, Any] | None:
        """What is known at the end; None while steps are missing."""
        path = self.folder / "done.json"
        return json.loads(path.read_text("utf-8")) if path.is_file() else None

    def finish(self, facts: dict[str, Any]) -> None:
        with replacing(self.folder / "done.json") as temporary:
            temporary.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def new_run(folder: Path | str, plan: Plan, split: Split, recipe: Recipe) -> Run:
    """Make the folder of a run that has not begun."""
    folder = Path(folder).expanduser()
    check_free(folder)
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    write_plan(folder / "plan.yaml", plan)
    write_split(folder / "split.json", split)
    write_recipe(folder / SETTINGS, recipe)
    return Run(folder)


def check_free(folder: Path) -> None:
    if (folder / SETTINGS).exists():
        raise InputError(
            f"{folder} holds a run already: go on with it by `python -m trainer resume {folder}`, "
            "or choose another --out."
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists and is not an empty folder: choose another --out.")


def write_recipe(path: Path, recipe: Recipe) -> None:
    import yaml

    text = yaml.safe_dump(plain(recipe), sort_keys=False, allow_unicode=True)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_recipe(path: Path) -> Recipe:
    where = f"{path.parent.name}/{path.name}"
    data = read_data(path, where)
    settings = from_plain(
        method_class(str(data.get("method"))).Settings, data.pop("settings", {}), f"{where}: settings"
    )
    known = {field.name for field in dataclasses.fields(Recipe)} - {"settings"}
    if unknown := sorted(set(data) - known):
        raise InputError(f'{where} has no key "{unknown[0]}": it knows {", ".join(sorted(known))}.')
    training = from_plain(Training, data.pop("training", {}), f"{where}: training")
    texts = {key: from_plain(str, value, f"{where}: {key}") for key, value in data.items()}
    return Recipe(settings=settings, training=training, **texts)


def plain(record: Any) -> Any:
    """A record as YAML and JSON have it, tuples as lists."""
    if dataclasses.is_dataclass(record):
        return {field.name: plain(getattr(record, field.name)) for field in dataclasses.fields(record)}
    if isinstance(record, (list, tuple)):
        return [plain(item) for item in record]
    return {key: plain(item) for key, item in record.items()} if isinstance(record, dict) else record
