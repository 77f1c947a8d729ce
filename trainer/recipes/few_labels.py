"""Few labels, many scans: every method on the hippocampus set of the Medical Segmentation Decathlon (Task04).

    python -m trainer.recipes.few_labels DATA OUT [--methods supervised mean_teacher] [--minutes 60]

DATA holds images/ and labels/. Of the cases, a fifth is held back for the test by each seed; 8 or 16 of the rest keep
their labels, the others are unlabelled. Every method gets the same network and the same number of steps, for which the
learning rates were left as they are by default: nothing was tuned on these cases. A pre-training has as many steps of
its own, and its fine-tuning those of the others. The tables are OUT/table-3d.md and OUT/table-2d.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import yaml

from trainer.recipes.study import Clock, Way, chosen, judged, run, trainer
from trainer.report import lines_of, markdown, read_run

WAYS = [
    Way("supervised"),
    Way("mean_teacher", "mean_teacher"),
    Way("ua_mt", "ua_mt"),
    Way("cross_pseudo", "cross_pseudo"),
    Way("ssl_contrastive", "ssl_contrastive"),
    Way("dual_networks", "dual_networks"),
    Way("dual_ssl", "dual_ssl"),
    Way("pixel_global", pretraining="pixel_global"),
    Way("byol", pretraining="pixel_global", pretraining_preset="byol"),
    Way("simclr", pretraining="simclr"),
    Way("models_genesis", pretraining="models_genesis"),
    Way("supervised-2d", flat=True),
    Way("polycl-s", pretraining="polycl", pretraining_preset="s", flat=True),
    Way("polycl-m", pretraining="polycl", pretraining_preset="m", flat=True, seen_labels=True),
]
"""The baselines first, because the table compares with them."""

NETWORK = {
    "_target_": "FoldedVNet3D",
    "in_channels": 1,
    "out_channels": 3,
    "widths": [16, 32, 64],
    "convolutions": [2, 2, 2],
    "norm": "instance",
    "dropout": 0.1,
}
"""In three dimensions; small, because this runs on two processor cores."""
FLAT_NETWORK = [16, 32, 64, 128]


def planned(data: Path, out: Path, flat: bool) -> Path:
    """The proposed plan with a small network and a batch of four; slices: of sixteen."""
    work = out / ("2d" if flat else "3d")
    path = work / "plan.yaml"
    if not path.exists():
        trainer("plan", data, "--out", work, "--dims", 2 if flat else 3, "--budget", "cpu", "--name", "hippocampus")
        plan = yaml.safe_load(path.read_text("utf-8"))
        plan["network"] = plan["network"] | {"widths": FLAT_NETWORK} if flat else NETWORK
        plan["batch"] = 16 if flat else 4
        path.write_text(yaml.safe_dump(plan, sort_keys=False), "utf-8")
    return work


def few_labels(way: Way, data: Path, out: Path, labelled: int, seed: int, steps: int) -> Path:
    """One method with so many labelled cases, trained and judged."""
    work = planned(data, out, way.flat)
    folder = out / "runs" / f"{labelled:02d}-{way.name}-{seed}"
    held_back = ("--test", 0.2, "--folds", 10, "--split-seed", seed)
    same = ("--seed", seed, "--steps", steps, "--device", "cpu", "--set", "validate_every=1000000")
    start: tuple[object, ...] = ()
    if way.pretraining:
        what = f"{labelled:02d}-" if way.seen_labels else ""
        split = ("--split", _split_of(data, out, labelled, seed, steps)) if way.seen_labels else held_back
        method = ("--method", way.pretraining, "--preset", way.pretraining_preset)
        pretrained = run(out / "pretrained" / f"{what}{way.name}-{seed}", "pretrain", work, *method, *split, *same)
        start = ("--from", pretrained)
    method = ("--method", way.method, "--preset", way.preset)
    return judged(run(folder, "train", work, *method, "--labelled", labelled, *held_back, *same, *start))


def _split_of(data: Path, out: Path, labelled: int, seed: int, steps: int) -> Path:
    """That of the baseline, whose labelled cases are the only ones a pre-training may take labels from."""
    base = next(way for way in WAYS if way.name == "supervised-2d")
    return few_labels(base, data, out, labelled, seed, steps) / "split.json"


def tables(out: Path) -> None:
    """What there is so far."""
    for name, flat in (("3d", False), ("2d", True)):
        names = {way.name for way in WAYS if way.flat == flat}
        folders = [
            folder for folder in sorted((out / "runs").glob("*"))
            if folder.name[3:].rpartition("-")[0] in names and (folder / "evaluation" / "summary.json").exists()
        ]  # fmt: skip
        if folders:
            (out / f"table-{name}.md").write_text(markdown(lines_of([read_run(folder) for folder in folders])), "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m trainer.recipes.few_labels", description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--methods", nargs="*", default=[], metavar="NAME", help=", ".join(way.name for way in WAYS))
    parser.add_argument("--labelled", nargs="*", type=int, default=[8, 16])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--minutes", type=float, default=1e6, help="begin no run after so many minutes")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    clock = Clock(given.minutes)
    for seed in given.seeds:
        for labelled in given.labelled:
            for way in chosen(WAYS, given.methods):
                clock.check()
                few_labels(way, given.data, given.out, labelled, seed, given.steps)
                tables(given.out)


if __name__ == "__main__":
    main()
