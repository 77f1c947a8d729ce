"""The left atrium with 8 or 16 labelled cases, as semi-supervised papers compare themselves, on an accelerator.

    python -m trainer.recipes.left_atrium DATA OUT [--labelled 8] [--methods dual_networks] [--minutes 9]

DATA holds images/ and labels/ of the 80 cases la_000 to la_079, numbered in the order of the published training list.
The published test list of 20 further cases is not among them; so the last 20 of the 80 judge here, and 60 are trained
on, of which the first 8 or 16 keep their labels. Figures of papers are therefore an orientation, not a comparison.

Otherwise as published: patches of 112 × 112 × 80, batches of two labelled and two unlabelled, 6000 steps, the last
checkpoint, figures in voxels beside millimetres. Patches overlap by half in use, where the papers step by 18 × 18 × 4
voxels. --steps shortens it.

--small is for two processor cores: 1.25 mm, patches of 64 × 64 × 48, a small network, 400 steps and the default
settings of every method, and a control beside them: two networks that never hear of each other. It compares methods
with each other, and with no paper. Its runs are in OUT/small, those of the published kind in OUT/published.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainer.data.splits import Split, write_split
from trainer.recipes.study import UNWATCHED, Clock, Way, add_choice, arguments, chosen, judged, planned, run, settings
from trainer.report import lines_of, markdown, read_run

METHODS = ("supervised", "mean_teacher", "ua_mt", "cross_pseudo", "ssl_contrastive", "dual_networks")
PUBLISHED = [Way(name, name, "paper") for name in METHODS]
SMALL = [*(Way(name, name) for name in METHODS), Way("apart", "cross_pseudo", "apart")]
_CASES, _JUDGES = 80, 20


SMALL_NETWORK = {
    "_target_": "FoldedVNet3D",
    "in_channels": 1,
    "out_channels": 2,
    "widths": [16, 32, 64, 96],
    "convolutions": [2, 2, 2, 2],
    "norm": "instance",
    "dropout": 0.1,
}


def published(plan: dict[str, Any]) -> None:
    plan["patch"], plan["batch"] = [112, 112, 80], 4
    plan["preprocessing"]["spacing"] = [0.625, 0.625, 0.625]


def small(plan: dict[str, Any]) -> None:
    plan |= {"patch": [64, 64, 48], "batch": 4, "network": SMALL_NETWORK}
    plan["preprocessing"]["spacing"] = [1.25, 1.25, 1.25]


def split_of(out: Path, labelled: int) -> Path:
    path = out / f"split-{labelled:02d}.json"
    if not path.exists():
        names = [f"la_{number:03d}" for number in range(_CASES)]
        trained, judges = names[:-_JUDGES], names[-_JUDGES:]
        write_split(path, Split(tuple(trained[:labelled]), tuple(trained[labelled:]), (), tuple(judges), folds=0))
    return path


def main() -> None:
    parser = arguments("left_atrium", __doc__, "data", device="auto")
    add_choice(parser, SMALL, seeds=[0, 1, 2])
    parser.add_argument("--small", action="store_true", help="what two processor cores can do")
    parser.add_argument("--steps", type=int, help="6000; small: 400")
    given = parser.parse_args()
    clock = Clock(given.minutes)
    name, change, ways, steps = (
        ("small", small, SMALL, 400) if given.small else ("published", published, PUBLISHED, 6000)
    )
    out = given.out / name
    plan = planned(out, given.data, change, "--budget", "gpu", "--name", "left atrium")
    done = []
    for seed in given.seeds:
        for labelled in given.labelled:
            for way in chosen(ways, given.methods):
                folder = out / "runs" / f"{labelled:02d}-{way.name}-{seed}"
                method = ("--method", way.method, "--preset", way.preset, "--split", split_of(out, labelled))
                same = ("--seed", seed, "--steps", given.steps or steps, "--device", given.device)
                quiet = settings(UNWATCHED, "save_every=100")
                done.append(judged(run(folder, "train", plan, *method, *same, *quiet, clock=clock)))
                (out / "table.md").write_text(markdown(lines_of([read_run(one) for one in done])), "utf-8")


if __name__ == "__main__":
    main()
