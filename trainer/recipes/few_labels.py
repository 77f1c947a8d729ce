"""Few labels, many scans: every method on the hippocampus set of the Medical Segmentation Decathlon (Task04).

    python -m trainer.recipes.few_labels DATA OUT [--methods supervised mean_teacher] [--minutes 60]

DATA holds images/ and labels/. Of the cases, a fifth is held back for the test by each seed; 8 or 16 of the rest keep
their labels, the others are unlabelled. Every method gets the same network, the same number of steps, as many labelled
patches in each, and the settings it has by default. Of these, optimiser and rate were chosen by supervised training on
this set with all labels, and the mean teacher got back its published weight after trials on the split of seed 0, which
is not among the seeds here. A pre-training has as many steps of its own, and its fine-tuning those of the others. The
tables are table-3d.md and table-2d.md in the record, which holds the scores of every run as well.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.recipes.study import UNWATCHED, Clock, Way, add_choice, arguments, chosen, judged, planned, run, settings
from trainer.report import lines_of, markdown, read_run

BATCH = 2
"""Of patches; more steps teach more than larger ones in the same time."""
MANY, SOME = ("batch=8",), ("batch=4",)
"""Pre-trainings see more in a step, as contrast needs others to tell an image from; comparing pixels costs most."""
SLOWED = ("encoder_rate=0.1",)
"""What was pre-trained moves at a tenth of the rate for the first tenth of the steps."""
EXACT = "precision=f32"
"""On every machine, so that a record that several have made compares like with like."""

WAYS = [
    Way("supervised"),
    Way("averaged", changes=("average=0.99",)),
    Way("mean_teacher", "mean_teacher"),
    Way("ua_mt", "ua_mt"),
    Way("apart", "cross_pseudo", "apart"),
    Way("cross_pseudo", "cross_pseudo"),
    Way("ssl_contrastive", "ssl_contrastive"),
    Way("dual_networks", "dual_networks"),
    Way("dual_ssl", "dual_ssl", changes=(f"unlabelled={BATCH}",)),
    Way("pixel_global", pretraining="pixel_global", before=SOME, changes=SLOWED),
    Way("byol", pretraining="pixel_global", pretraining_preset="byol", before=MANY, changes=SLOWED),
    Way("simclr", pretraining="simclr", before=MANY, changes=SLOWED),
    Way("models_genesis", pretraining="models_genesis", before=MANY, changes=SLOWED),
    Way("supervised-2d", flat=True),
    Way("polycl-s", pretraining="polycl", pretraining_preset="s", changes=SLOWED, flat=True),
    Way("polycl-m", pretraining="polycl", pretraining_preset="m", changes=SLOWED, flat=True, seen_labels=True),
]
"""The baselines first, because the table compares with them: averaged weights, because teachers have them as well, and
networks that are apart, because pairs are judged as the mean of two."""

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


def plan_of(data: Path, out: Path, flat: bool) -> Path:
    """The proposed plan with a small network and a small batch; slices: of sixteen."""

    def change(plan: dict[str, Any]) -> None:
        plan["network"] = plan["network"] | {"widths": FLAT_NETWORK} if flat else NETWORK
        plan["batch"] = 16 if flat else BATCH

    how = ("--dims", 2 if flat else 3, "--budget", "cpu", "--name", "hippocampus")
    return planned(out / ("2d" if flat else "3d"), data, change, *how)


@dataclass(frozen=True)
class Study:
    data: Path
    out: Path
    record: Path
    """What is known of runs that are judged; they are not run again, wherever their weights are now."""
    steps: int
    device: str = "cpu"

    def run(self, way: Way, labelled: int, seed: int) -> Path:
        """One method with so many labelled cases, trained and judged; its place in the record."""
        name = f"{labelled:02d}-{way.name}-{seed}"
        if not (self.record / name / "evaluation" / "summary.json").exists():
            self._train(way, name, labelled, seed)
        return self.record / name

    def _train(self, way: Way, name: str, labelled: int, seed: int) -> None:
        work = plan_of(self.data, self.out, way.flat)
        held_back = ("--test", 0.2, "--folds", 10, "--split-seed", seed)
        same = ("--seed", seed, "--steps", self.steps, "--device", self.device, *settings(UNWATCHED, EXACT))
        start: tuple[object, ...] = ()
        if way.pretraining:
            what = f"{labelled:02d}-" if way.seen_labels else ""
            split = ("--split", self._split_of(labelled, seed)) if way.seen_labels else held_back
            method = ("--method", way.pretraining, "--preset", way.pretraining_preset)
            before = self.out / "pretrained" / f"{what}{way.name}-{seed}"
            start = ("--from", run(before, "pretrain", work, *method, *split, *same, *settings(*way.before)))
        method = ("--method", way.method, "--preset", way.preset)
        folder = self.out / "runs" / name
        labels = ("--labelled", labelled, *held_back)
        judged(run(folder, "train", work, *method, *labels, *same, *settings(*way.changes), *start))
        (self.record / name / "evaluation").mkdir(parents=True, exist_ok=True)
        for file in ("split.json", "evaluation/cases.csv", "evaluation/summary.json"):
            shutil.copyfile(folder / file, self.record / name / file)

    def _split_of(self, labelled: int, seed: int) -> Path:
        """That of the baseline, whose labelled cases are the only ones a pre-training may take labels from."""
        base = next(way for way in WAYS if way.name == "supervised-2d")
        return self.run(base, labelled, seed) / "split.json"

    def tables(self) -> None:
        """What there is so far."""
        for name, flat in (("3d", False), ("2d", True)):
            names = {way.name for way in WAYS if way.flat == flat}
            folders = [one for one in sorted(self.record.glob("*-*")) if one.name[3:].rpartition("-")[0] in names]
            if folders:
                table = markdown(lines_of([read_run(folder) for folder in folders]))
                (self.record / f"table-{name}.md").write_text(table, "utf-8")


def main() -> None:
    parser = arguments("few_labels", __doc__, "data")
    add_choice(parser, WAYS, seeds=[1, 2, 3])
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--record", type=Path, help="where the scores are kept; OUT/record by default")
    given = parser.parse_args()
    clock = Clock(given.minutes)
    study = Study(given.data, given.out, given.record or given.out / "record", given.steps, given.device)
    for seed in given.seeds:
        for labelled in given.labelled:
            for way in chosen(WAYS, given.methods):
                clock.check()
                study.run(way, labelled, seed)
                study.tables()


if __name__ == "__main__":
    main()
