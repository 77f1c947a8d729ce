"""The left atrium with 8 or 16 labelled cases, as semi-supervised papers compare themselves, on an accelerator.

    python -m trainer.recipes.left_atrium DATA OUT [--labelled 8] [--methods dual_networks] [--minutes 9]

DATA holds images/ and labels/ of the 80 cases whose order of names is that of the published training list. The
published test list of 20 further cases is not among them; so the last 20 of the 80 judge here, and 60 are trained on,
of which the first 8 or 16 keep their labels. Figures of papers are therefore an orientation, not a comparison.

Otherwise as published: patches of 112 × 112 × 80, batches of two labelled and two unlabelled, 6000 steps, the last
checkpoint, figures in voxels beside millimetres. Patches overlap by half in use, where the papers step by 18 × 18 × 4
voxels. --steps shortens it, and the table says so.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import yaml

from trainer.data.splits import Split, write_split
from trainer.recipes.study import Clock, Way, chosen, judged, run, trainer
from trainer.report import lines_of, markdown, read_run

WAYS = [
    Way("supervised", preset="paper"),
    Way("mean_teacher", "mean_teacher", "paper"),
    Way("ua_mt", "ua_mt", "paper"),
    Way("cross_pseudo", "cross_pseudo", "paper"),
    Way("ssl_contrastive", "ssl_contrastive", "paper"),
    Way("dual_networks", "dual_networks", "paper"),
]
_CASES, _JUDGES = 80, 20


def planned(data: Path, out: Path) -> Path:
    path = out / "plan.yaml"
    if not path.exists():
        trainer("plan", data, "--out", out, "--budget", "gpu", "--name", "left atrium")
        plan = yaml.safe_load(path.read_text("utf-8"))
        plan["patch"], plan["batch"] = [112, 112, 80], 4
        plan["preprocessing"]["spacing"] = [0.625, 0.625, 0.625]
        path.write_text(yaml.safe_dump(plan, sort_keys=False), "utf-8")
    return path


def split_of(out: Path, labelled: int) -> Path:
    path = out / f"split-{labelled:02d}.json"
    if not path.exists():
        names = [f"la_{number:03d}" for number in range(_CASES)]
        trained, judges = names[:-_JUDGES], names[-_JUDGES:]
        write_split(path, Split(tuple(trained[:labelled]), tuple(trained[labelled:]), (), tuple(judges), folds=0))
    return path


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m trainer.recipes.left_atrium", description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--methods", nargs="*", default=[], metavar="NAME", help=", ".join(way.name for way in WAYS))
    parser.add_argument("--labelled", nargs="*", type=int, default=[8, 16])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--minutes", type=float, default=1e6, help="stop after so many minutes; run again to go on")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    clock = Clock(given.minutes)
    plan = planned(given.data, given.out)
    done = []
    for seed in given.seeds:
        for labelled in given.labelled:
            for way in chosen(WAYS, given.methods):
                folder = given.out / "runs" / f"{labelled:02d}-{way.name}-{seed}"
                method = ("--method", way.method, "--preset", way.preset, "--split", split_of(given.out, labelled))
                same = ("--seed", seed, "--steps", given.steps, "--device", given.device)
                quiet = ("--set", "validate_every=1000000", "--set", "save_every=100")
                done.append(judged(run(folder, "train", plan, *method, *same, *quiet, clock=clock)))
                (given.out / "table.md").write_text(markdown(lines_of([read_run(one) for one in done])), "utf-8")


if __name__ == "__main__":
    main()
