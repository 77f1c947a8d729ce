"""hippocampus-mr: the anterior and posterior hippocampus in T1 MR that is cut around it.

    python -m trainer.recipes.hippocampus DATA OUT [--parts 0 1 2 3 4 all] [--minutes 60]

DATA holds images/ and labels/ of the 195 scans (Medical Segmentation Decathlon, Task04). The parts 0 to 4 hold a fifth
of the patients back each; together they are the cross-validation, OUT/table.md. The part `all` trains on every scan and
is what ships, as OUT/hippocampus-mr, with the scores and the temperature of the cross-validation.
"""

from __future__ import annotations

from typing import Any

from trainer.recipes.folds import ALL, Card, Model, Stage
from trainer.recipes.study import Clock, arguments, planned

FOLDS = 5
NETWORK = {
    "_target_": "FoldedVNet3D",
    "in_channels": 1,
    "out_channels": 3,
    "widths": [32, 48, 96],
    "convolutions": [2, 2, 2],
    "feat": 8,
    "norm": "instance",
    "dropout": 0.0,
}
BATCH = 2
"""Small, because many steps teach more than large ones in the same time."""
RATES = (0.01, 0.006)
"""The rate falls to nothing, and once more from here: on the first part, this gave 0.005 Dice."""
NAMES = {1: "anterior hippocampus", 2: "posterior hippocampus"}

CARD = Card(
    "hippocampus-mr",
    title="Hippocampus in T1 MR, two parts",
    licence="CC-BY-SA-4.0",
    data="Medical Segmentation Decathlon, Task04 Hippocampus (Antonelli et al. 2022; Vanderbilt University Medical "
    "Center), 195 T1 scans, CC BY-SA 4.0",
    description="Segments the anterior and posterior hippocampus in T1 MR that is cut around one hippocampus, at 1 mm. "
    "On a whole head it has not been tried.",
)


def change(plan: dict[str, Any]) -> None:
    plan["labels"] = [label | {"name": NAMES[label["value"]]} for label in plan["labels"]]
    plan |= {"batch": BATCH, "network": NETWORK}


def split_of(part: str) -> tuple[object, ...]:
    return ("--folds", 0) if part == ALL else ("--folds", FOLDS, "--fold", part)


def main() -> None:
    parser = arguments("hippocampus", __doc__, "data")
    parser.add_argument("--parts", nargs="*", default=[*map(str, range(FOLDS)), ALL])
    parser.add_argument("--steps", nargs=2, type=int, default=[1500, 1000], help="at the first rate, and again")
    given = parser.parse_args()
    work = planned(given.out / "plan", given.data, change, "--budget", "cpu", "--name", "hippocampus MR")
    named = zip(("first", "again"), RATES, given.steps, strict=True)
    stages = [Stage(name, work, steps, (f"optimiser.lr={rate}",)) for name, rate, steps in named]
    model = Model(given.out, FOLDS, stages, split_of, CARD, given.device, judging=("--flips",))
    model.make(given.parts, Clock(given.minutes))


if __name__ == "__main__":
    main()
