"""click-ct-mr: a network that answers clicks, boxes and masks on pictures of CT and MR, whatever they show.

    python -m trainer.recipes.clicks BTCV HIPPOCAMPUS OUT [--pretrained simclr] [--minutes 60]

BTCV and HIPPOCAMPUS hold images/ and labels/ (see trainer.recipes.abdomen and .hippocampus). It trains on 20 abdomens,
20 hippocampi and 3 synthetic abdomens; the other 4 abdomens and 10 more hippocampi judge. With --pretrained the encoder
begins with what that method has learnt from the same scans without labels. The package is OUT/click-ct-mr, with its
scores; beside what there is without a model, Testing.benchmarks.prompting_accuracy shows them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainer.data.splits import Split, write_split
from trainer.recipes.gathering import add_phantoms, link_cases
from trainer.recipes.study import Clock, arguments, judged, planned, run, settings, trainer

PHANTOMS = (50_000, 50_001, 50_002)
"""Seeds that no demo and no test uses."""
ID = "click-ct-mr"
CARD = {
    "title": "Clicks and boxes in CT and MR",
    "licence": "CC-BY-SA-4.0",
    "data": "BTCV (Landman et al. 2015; stated as CC BY 4.0 by those who redistribute it, to be confirmed at the "
    "source before commercial use), Medical Segmentation Decathlon Task04 Hippocampus (Antonelli et al. 2022, CC BY-SA "
    "4.0), and three synthetic abdomens",
    "description": "Answers points, boxes and masks on any plane of CT and MR. Small, and trained on abdomens and "
    "hippocampi alone: on what looks otherwise it needs more clicks.",
}
HELD_ABDOMENS, HIPPOCAMPI, HELD_HIPPOCAMPI = 4, 20, 10

POINTING = ("sampling.ended=0",)
"""First it learns what clicks and boxes mean,"""
FOLLOWING = ("beginnings=[0.2, 0.15, 0.5, 0.15]", "sampling.ended=0.15", "start_share=0.25")
"""then to follow from slice to slice, and to stop where something ends. With 0.06 it hardly ever stopped; with
0.25, and fewer that go on, it gave up after one or two slices. It forgets some of what clicks mean meanwhile; the mean
of the weights before and after has both."""


def gathered(btcv: Path, hippocampus: Path, out: Path) -> tuple[Path, Split]:
    """One folder with all cases, and which of them train and judge."""
    folder = out / "data"
    abdomens, small = link_cases(btcv, folder), link_cases(hippocampus, folder, HIPPOCAMPI + HELD_HIPPOCAMPI)
    phantoms = add_phantoms(folder, PHANTOMS)
    held = (*abdomens[-HELD_ABDOMENS:], *small[-HELD_HIPPOCAMPI:])
    trained = (*abdomens[:-HELD_ABDOMENS], *small[:-HELD_HIPPOCAMPI], *phantoms)
    return folder, Split(trained, (), (), held, folds=0)


def change(plan: dict[str, Any]) -> None:
    """On the scans' own grids, since users see these; greys from black to white as in a slice view."""
    plan["preprocessing"] |= {"spacing": None, "crop_to_body": False}
    plan["preprocessing"]["intensity"] = {"kind": "percentile", "low": 0.5, "high": 99.5}
    plan["patch"], plan["batch"] = [128, 128, 1], 16
    plan["network"]["widths"] = [16, 32, 64, 96, 128]


def main() -> None:
    parser = arguments("clicks", __doc__, "btcv", "hippocampus")
    parser.add_argument("--pretrained", default="", metavar="METHOD", help="simclr, pixel_global, polycl, …; none else")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--further-steps", type=int, default=800, help="of the second part, about slices")
    parser.add_argument("--pretraining-steps", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    clock = Clock(given.minutes)
    folder, parts = gathered(given.btcv, given.hippocampus, given.out)
    write_split(given.out / "split.json", parts)
    how = ("--dims", 2, "--budget", "cpu", "--name", "click CT MR")
    work = planned(given.out / "plan", folder, change, *how)
    split = ("--split", given.out / "split.json", "--seed", given.seed, "--device", given.device)
    start: tuple[object, ...] = ()
    if given.pretrained:
        before = given.out / "runs" / f"{given.pretrained}-{given.seed}"
        told = ("--method", given.pretrained, "--steps", given.pretraining_steps)
        start = ("--from", run(before, "pretrain", work, *told, *split, clock=clock))
    whence = given.pretrained or "scratch"
    for name, steps, changes in ((f"clicks-{whence}", given.steps, POINTING), (ID, given.further_steps, FOLLOWING)):
        folder, told = given.out / "runs" / f"{name}-{given.seed}", ("--method", "clicks", "--steps", steps)
        judged(run(folder, "train", work, *told, *settings(*changes), *split, *start, clock=clock))
        start = ("--from", folder)
    if not (given.out / ID).exists():
        about = (f"--{key}={value}" for key, value in CARD.items())
        trainer("package", folder, "--out", given.out / ID, "--half", *about)


if __name__ == "__main__":
    main()
