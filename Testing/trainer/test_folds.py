"""What a cross-validated model shows of its parts while they are made: table, cases and the loss through its stages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from trainer import records
from trainer.recipes.folds import Card, Model, Stage

CARD = Card("tiny", title="Tiny", licence="CC0-1.0", data="none", description="Of a test.")
HEAD = "case,label,value,dice,jaccard,hd95_mm,assd_mm,nsd,hd95_voxels,assd_voxels,truth_ml,found_ml\n"


def model(out: Path) -> Model:
    stages = [Stage("coarse", out / "coarse", steps=200), Stage("fine", out / "fine", steps=100)]
    return Model(out, folds=2, stages=stages, split=lambda _part: (), card=CARD)


def trained(out: Path, part: str, stage: str, losses: list[float]) -> Path:
    folder = out / "runs" / f"{part}-{stage}"
    folder.mkdir(parents=True)
    for number, loss in enumerate(losses, start=1):
        records.append(folder / "metrics.csv", 20 * number, {"train/loss": loss})
    return folder


def judge(folder: Path, case: str, dice: float) -> None:
    (folder / "evaluation").mkdir()
    facts = {"method": "supervised", "preset": "default", "labelled": 3, "seed": 0, "fold": 0}
    (folder / "evaluation" / "summary.json").write_text(json.dumps(facts))
    (folder / "evaluation" / "cases.csv").write_text(HEAD + f"{case},cube,1,{dice},0.5,1,1,1,1,1,5,5\n")


def test_the_loss_goes_on_from_stage_to_stage(tmp_path: Path) -> None:
    trained(tmp_path, "0", "coarse", [5.0, 4.0, 3.0, 2.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.5])
    trained(tmp_path, "0", "fine", [1.0, 0.9, 0.8, 0.7, 0.6])
    steps, losses = model(tmp_path).loss("0")
    assert steps == [60, 160, 260]
    assert losses == pytest.approx([3.0, 0.5, 0.8])
    assert model(tmp_path).loss("1") == ([], [])


def test_the_table_is_of_the_parts_that_are_judged(tmp_path: Path) -> None:
    made = model(tmp_path)
    made.table()
    assert not list(tmp_path.glob("*.png"))
    for part, case, dice in (("0", "a", 0.5), ("1", "b", 0.75)):
        judge(trained(tmp_path, part, "fine", [1.0] * 5), case, dice)
        made.table()
    assert "| 3 | supervised | 1 | 0.625 |" in (tmp_path / "table.md").read_text()
    for name in ("dice.png", "loss.png"):
        with Image.open(tmp_path / name) as picture:
            assert min(picture.size) > 200
