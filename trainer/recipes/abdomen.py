"""abdomen-ct-fast: thirteen organs in CT, on a grid of 1.5 × 1.5 × 3 mm, small enough for two processor cores.

    python -m trainer.recipes.abdomen DATA OUT [--parts 0 1 2 3 all] [--minutes 60]

DATA holds images/ and labels/ of the 24 scans (BTCV, "Beyond the Cranial Vault"). Three synthetic abdomens are added to
every training, so that the demo's is segmented too. A network first learns where organs lie on a grid of 5 mm, where a
step takes half the time and sees twice as much, and goes on from there on ever finer ones, as a coarse grid hides small
organs. Later it sees more around them at once, and organs swollen to several times their size or shrunken to a fraction
of it, and then also darker or brighter than they were, as two dozen patients have few that are sick. What ends it is
the mean of the weights before and after some more steps: what one training forgets, another mostly still knows.

The parts 0 to 3 hold a quarter of the patients back each; together they are the cross-validation, OUT/table.md. The
part `all` trains on every scan and is what ships, as OUT/abdomen-ct-fast, with the scores and the temperature of the
cross-validation.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from SSLSegmentationLib.resources import resource
from trainer.data.splits import Split, write_split
from trainer.recipes.folds import ALL, Card, Model, Stage
from trainer.recipes.gathering import add_phantoms, link_cases
from trainer.recipes.study import Clock, arguments, planned

FOLDS = 4
PHANTOMS = (40_000, 40_001, 40_002)
"""Seeds that no demo and no test uses."""

NETWORK = {
    "_target_": "FoldedVNet3D",
    "in_channels": 1,
    "out_channels": 14,
    "widths": [24, 48, 96, 128],
    "convolutions": [2, 2, 2, 2],
    "feat": 16,
    "norm": "instance",
    "dropout": 0.0,
}
CONNECTED = [value for value in range(1, 14) if value != 10]
"""All but the portal and splenic vein, which often come in pieces on this grid."""


@dataclass(frozen=True)
class Grid:
    """What the network sees in a stage, and for how long."""

    spacing: list[float]
    patch: list[int]
    batch: int
    steps: int
    swell: float = 0.0
    tint: float = 0.0
    start_share: float = 0.0
    """Of the weights that the stage begins with, in those it ends with."""


GRIDS = {
    "5mm": Grid([5.0, 5.0, 5.0], [48, 48, 48], batch=2, steps=600),
    "3mm": Grid([3.0, 3.0, 3.0], [64, 64, 64], batch=2, steps=1200),
    "2mm": Grid([2.0, 2.0, 3.0], [80, 80, 48], batch=2, steps=2000),
    "wide": Grid([2.0, 2.0, 3.0], [112, 112, 64], batch=1, steps=2000, swell=0.4),
    "fine": Grid([1.5, 1.5, 3.0], [128, 128, 64], batch=1, steps=1000, swell=0.4),
    "both": Grid([1.5, 1.5, 3.0], [144, 144, 64], batch=1, steps=3000, swell=0.4),
    "tinted": Grid([1.5, 1.5, 3.0], [144, 144, 64], batch=1, steps=3000, swell=0.6, tint=0.4),
    "steady": Grid([1.5, 1.5, 3.0], [144, 144, 64], batch=1, steps=1500, swell=0.6, tint=0.4, start_share=0.5),
}
VARIED = {"affine": 0.4, "degrees": 20.0, "scale": [0.7, 1.4], "swelling": [0.3, 3.0]}
"""Two dozen patients are seen many times each, so their sizes and tilts have to vary more than is usual here."""

CARD = Card(
    "abdomen-ct-fast",
    title="Abdomen CT, 13 organs, fast",
    licence="CC-BY-4.0",
    data="Multi-Atlas Labeling Beyond the Cranial Vault (BTCV, Landman et al. 2015), 24 abdominal scans, stated as CC "
    "BY 4.0 by those who redistribute them (to be confirmed at the source before commercial use), and three synthetic "
    "abdomens",
    description="Segments thirteen abdominal organs in contrast-enhanced CT on a grid of 1.5 × 1.5 × 3 mm. Small "
    "organs are found less surely than large ones, and organs of rare size or place may be missed: see the scores. "
    "More patients and longer training would help; neither its data nor its time was at an end. Doubt is calibrated "
    "by the cross-validation.",
)


def gathered(data: Path, out: Path) -> Path:
    """A folder with the scans, the phantoms and the names of the organs."""
    folder = out / "data"
    link_cases(data, folder)
    add_phantoms(folder, PHANTOMS)
    (folder / "labels.json").write_bytes(resource("Organs.json").read_bytes())
    return folder


def stage(data: Path, out: Path, name: str, steps: int) -> Stage:
    """A training on one of the grids."""

    def change(plan: dict[str, Any]) -> None:
        grid = GRIDS[name]
        plan["preprocessing"] |= {"orientation": "RAS", "spacing": grid.spacing}
        plan["augmentation"] |= VARIED | {"swell": grid.swell, "tint": grid.tint}
        plan |= {"patch": grid.patch, "batch": grid.batch, "network": NETWORK, "keep_surest": CONNECTED}

    work = planned(out / name, data, change, "--budget", "cpu", "--name", "abdomen CT fast")
    return Stage(name, work, steps, (f"start_share={GRIDS[name].start_share}",))


def split_of(data: Path, out: Path, part: str) -> tuple[object, ...]:
    """Real patients are dealt out in turn; phantoms always train."""
    path = out / f"split-{part}.json"
    if not path.exists():
        real = sorted(one.name.removesuffix(".nii.gz") for one in (data / "images").glob("*.nii.gz"))
        held = real[int(part) :: FOLDS] if part != ALL else []
        trained = [name for name in real if name not in held] + [f"phantom_{seed}" for seed in PHANTOMS]
        fold, folds = (int(part), FOLDS) if part != ALL else (0, 0)
        write_split(path, Split(tuple(trained), (), tuple(held), (), 0, fold, folds))
    return "--split", path


def main() -> None:
    parser = arguments("abdomen", __doc__, "data")
    parser.add_argument("--parts", nargs="*", default=[*map(str, range(FOLDS)), ALL])
    told = [grid.steps for grid in GRIDS.values()]
    parser.add_argument("--steps", nargs=len(told), type=int, default=told, help=f"on {', '.join(GRIDS)}")
    given = parser.parse_args()
    data = gathered(given.data, given.out)
    stages = [stage(data, given.out, name, steps) for name, steps in zip(GRIDS, given.steps, strict=True)]
    split = partial(split_of, given.data, given.out)
    Model(given.out, FOLDS, stages, split, CARD, given.device).make(given.parts, Clock(given.minutes))


if __name__ == "__main__":
    main()
