"""`train`, `pretrain` and `resume`: all that leads to a run and through it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import typer

from SSLSegmentationLib.errors import InputError
from trainer.commands.console import people, progress, say, training_bar

PLAN = typer.Argument(..., help="plan.yaml, or the folder it lies in.")
OUT = typer.Option(..., "--out", "-o", help="Folder of the run; it must not hold one yet.")
PRESET = typer.Option("default", "--preset", help="Preset of the method (default, paper, released), or a YAML file.")
SET = typer.Option(
    None,
    "--set",
    metavar="KEY=VALUE",
    help="Change one setting of the method or of the training; dots lead inside: --set optimiser.lr=0.01",
)
STEPS = typer.Option(None, min=1, help="Training steps; short for --set steps=N.")
SEED = typer.Option(None, min=0, help="Of weights and batches; the plan's by default. Short for --set seed=N.")
SPLIT_SEED = typer.Option(None, "--split-seed", min=0, help="Of the split; the plan's by default, whatever --seed is.")
DEVICE = typer.Option(None, help="auto, cpu, cuda, cuda:1 or mps; short for --set device=...")
PRECISION = typer.Option(None, help="auto, f32, bf16 or f16; short for --set precision=...")
FOLDS = typer.Option(5, "--folds", min=0, help="Parts the labelled patients are dealt into; 0 holds nobody back.")
FOLD = typer.Option(0, "--fold", min=0, help="Which of the parts is held back for validation.")
TEST = typer.Option(0.0, "--test", min=0.0, max=0.9, help="Part of the patients held back for the test alone.")
LABELLED = typer.Option(
    None, "--labelled", min=1, help="Only so many labelled cases keep their labels; the others become unlabelled."
)
FIRST = typer.Option(False, "--first", help="With --labelled: the first by name instead of drawn ones.")
SPLIT = typer.Option(None, "--split", help="A split.json of another run, to train on the same cases.")
PROCESSES = typer.Option(1, "--processes", min=1, help="Cases that are prepared at the same time.")


def train(
    plan: Path = PLAN,
    out: Path = OUT,
    method: str = typer.Option("supervised", "--method", "-m", help="See the list below."),
    preset: str = PRESET,
    changes: list[str] = SET,
    labelled: int = LABELLED,
    first: bool = FIRST,
    start: str = typer.Option("", "--from", help="Begin with the weights of a run, a pre-training or a model package."),
    steps: int = STEPS,
    seed: int = SEED,
    device: str = DEVICE,
    precision: str = PRECISION,
    folds: int = FOLDS,
    fold: int = FOLD,
    test: float = TEST,
    split_seed: int = SPLIT_SEED,
    split: Path = SPLIT,
    processes: int = PROCESSES,
) -> None:
    """Train a network that segments, with labelled cases alone or with unlabelled ones beside them.

    The last checkpoint is the result: validation cases draw the learning curve and fit the temperature, and choose
    nothing. A run that was interrupted goes on by `resume`, to exactly the same weights.
    """
    shorts = {"steps": steps, "seed": seed, "device": device, "precision": precision}
    given = [*(changes or ()), *(f"training.{key}={value}" for key, value in shorts.items() if value is not None)]
    dealt = {"folds": folds, "fold": fold, "labelled": labelled, "first": first, "test": test, "seed": split_seed}
    _begin(plan, out, method, preset, given, dealt, split, start, processes, pretraining=False)


def pretrain(
    plan: Path = PLAN,
    out: Path = OUT,
    method: str = typer.Option(..., "--method", "-m", help="See the list below."),
    preset: str = PRESET,
    changes: list[str] = SET,
    labelled: int = LABELLED,
    first: bool = FIRST,
    steps: int = STEPS,
    seed: int = SEED,
    device: str = DEVICE,
    precision: str = PRECISION,
    folds: int = FOLDS,
    fold: int = FOLD,
    test: float = TEST,
    split_seed: int = SPLIT_SEED,
    split: Path = SPLIT,
    processes: int = PROCESSES,
) -> None:
    """Learn features from scans before any label is looked at; `train --from RUN` starts from them.

    Cases of the validation and test parts are left out here as well, so give the same --test, --folds and --split-seed
    as in `train`; and the same --labelled, for the methods that look at what labels tell (polycl o and m).
    """
    shorts = {"steps": steps, "seed": seed, "device": device, "precision": precision}
    given = [*(changes or ()), *(f"training.{key}={value}" for key, value in shorts.items() if value is not None)]
    dealt = {"folds": folds, "fold": fold, "labelled": labelled, "first": first, "test": test, "seed": split_seed}
    _begin(plan, out, method, preset, given, dealt, split, "", processes, pretraining=True)


def resume(
    run: Path = typer.Argument(..., help="Folder of a run."),
    processes: int = PROCESSES,
) -> None:
    """Go on with a run that was interrupted, from its last checkpoint, to the weights it would have had."""
    from trainer.data.cases import find_cases
    from trainer.data.store import prepare_all
    from trainer.run import Run

    found = Run(run)
    if found.done is None:
        with progress() as tick:
            prepare_all(found.plan, find_cases(found.plan.data), found.recipe.store, processes=processes, tick=tick)
    _go(found)


def _begin(
    plan_path: Path,
    out: Path,
    method: str,
    preset: str,
    changes: list[str],
    dealt: dict,
    split_path: Path | None,
    start: str,
    processes: int,
    *,
    pretraining: bool,
) -> None:
    from trainer.checks import check_cases, check_network, check_room
    from trainer.data.cases import find_cases
    from trainer.data.plan_file import read_plan
    from trainer.data.splits import make_split, read_split
    from trainer.data.store import prepare_all
    from trainer.hardware import choose
    from trainer.loop import code_version
    from trainer.methods import method_class
    from trainer.presets import load
    from trainer.run import Recipe, Run, check_free, new_run
    from trainer.transfer import read_source, start_from

    if _rank() > 0:  # another process of the same command makes the folder
        _go(Run(_awaited(out)))
        return
    plan_path = plan_path / "plan.yaml" if plan_path.is_dir() else plan_path
    plan = read_plan(plan_path)
    settings, training = load(method, preset, [f"training.seed={plan.seed}", *changes])
    dealt["seed"] = plan.seed if dealt["seed"] is None else dealt["seed"]
    if method_class(method).pretraining is not pretraining:
        right = "train" if pretraining else "pretrain"
        raise InputError(f"{method} is not what this command does: use `python -m trainer {right}`.")
    check_free(out)
    choose(training)
    numbers = check_network(method, plan, settings)
    cases = find_cases(plan.data)
    names = [case.name for case in cases]
    split = read_split(split_path, names) if split_path else make_split(cases, **dealt)
    check_cases(method, split)
    if start:  # whether it fits, before cases are prepared for nothing
        start_from(method_class(method)(plan, settings, 1, 0), read_source(start), training.start_share)
    elif training.start_share:
        raise InputError("start_share is the share of a start in the result: give --from as well, or leave it out.")
    store = plan_path.resolve().parent / "prepared"
    check_room(out, plan, cases, numbers, prepared=(store / "store.json").exists())
    with progress() as tick:
        prepare_all(plan, cases, store, processes=processes, tick=tick)
    recipe = Recipe(method, preset, settings, training, start, str(store), code_version())
    said = f"{len(split.labelled)} labelled, {len(split.unlabelled)} unlabelled, {len(split.validation)} validation"
    say(f"{method} ({preset}): {said}, {len(split.test)} test cases; {training.steps} steps of {numbers:,} weights.")
    _go(new_run(out, plan, split, recipe))


def _go(run) -> None:
    from trainer.loop import fit

    try:
        with training_bar() as watch:
            fit(run, watch, say)
    except (KeyboardInterrupt, SystemExit):  # Lightning turns the one into the other
        people.print()
        say(f"Stopped. Go on with: python -m trainer resume {run.folder}")
        raise typer.Exit(130) from None
    if _rank() == 0:
        command = "train PLAN --from" if run.recipe.method and _is_pretraining(run) else "evaluate"
        say(f"Done: {run.folder}. Next: python -m trainer {command} {run.folder}")


def _is_pretraining(run) -> bool:
    from trainer.methods import method_class

    return method_class(run.recipe.method).pretraining


def _rank() -> int:
    """Which of several processes this is, by what torchrun, SLURM or Lightning say."""
    names = ("RANK", "SLURM_PROCID", "LOCAL_RANK")
    return next((int(os.environ[name]) for name in names if os.environ.get(name, "").isdecimal()), 0)


def _awaited(out: Path) -> Path:
    """The folder of the run, as soon as the first process has made it."""
    from trainer.run import SETTINGS

    while not (out / SETTINGS).exists():
        time.sleep(0.5)
    return out
