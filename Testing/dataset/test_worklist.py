from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from SSLSegmentationLib.dataset import worklist
from SSLSegmentationLib.dataset.worklist import WorkList
from SSLSegmentationLib.errors import InputError


def a_result(folder: Path, name: str, doubt: float, *, missing: int = 0, cut: bool = False) -> None:
    labels = [
        {"name": f"organ {n}", "ml": 0.0 if n < missing else 5.0, "voxels": int(n >= missing), "touches_border": cut}
        for n in range(6)
    ]
    report = {
        "doubt": {"share": doubt, "ml": 1.0},
        "labels": labels,
        "source": {"path": f"/archive/{name}.nii.gz", "series": None},
        "remarks": ["The scan is MR, but the model was made for CT."] if cut else [],
    }
    (folder / name).mkdir(parents=True)
    (folder / name / "report.json").write_text(json.dumps(report), "utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, doubt in (("a", 0.1), ("b", 0.5), ("c", 0.3)):
        a_result(tmp_path, name, doubt)
    (tmp_path / "failures.json").write_text("[]", "utf-8")
    (tmp_path / "unfinished").mkdir()
    return tmp_path


def test_the_most_doubtful_case_comes_first(folder: Path) -> None:
    items = WorkList(folder).items()
    assert [(item.name, item.doubt, item.state) for item in items] == [
        ("b", 0.5, "open"),
        ("c", 0.3, "open"),
        ("a", 0.1, "open"),
    ]
    assert items[0].ml == 30.0
    assert items[0].scan == Path("/archive/b.nii.gz")


def test_what_a_reader_should_know_is_told(tmp_path: Path) -> None:
    a_result(tmp_path, "part", 0.1, missing=1, cut=True)
    a_result(tmp_path, "nothing", 0.0, missing=6)
    part, nothing = WorkList(tmp_path).items()
    assert part.flags == (
        "not found: organ 0",
        "cut off: organ 1, organ 2, organ 3 and 2 more",
        "The scan is MR, but the model was made for CT.",
    )
    assert nothing.flags == ("nothing found",)


def test_nobody_gets_a_case_that_somebody_has(folder: Path) -> None:
    anna, bert = WorkList(folder), WorkList(folder)
    assert anna.next("anna").name == "b"
    assert bert.next("bert").name == "c"
    assert anna.next("anna").name == "b", "who comes back goes on where they were"
    with pytest.raises(InputError, match="anna has b open"):
        bert.take("b", "bert")
    with pytest.raises(InputError, match="anna has b open"):
        bert.finish("b", "bert")


def test_of_many_who_ask_at_once_each_gets_another_case(tmp_path: Path) -> None:
    for number in range(12):
        a_result(tmp_path, f"case{number}", number / 20)
    got: list[str] = []
    start = threading.Barrier(16)

    def ask(number: int) -> None:
        start.wait()
        item = WorkList(tmp_path).next(f"reader {number}")
        got.append(item.name if item else "nothing left")

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = [name for name in got if name != "nothing left"]
    assert sorted(names) == sorted(f"case{number}" for number in range(12))
    assert len(got) == 16


def test_done_and_skipped_cases_are_remembered(folder: Path) -> None:
    mine = WorkList(folder)
    mine.finish(mine.next("anna").name, "anna")
    mine.finish(mine.next("anna").name, "anna", "skipped", note="motion")
    assert WorkList(folder).next("bert").name == "a"
    states = {item.name: (item.state, item.by) for item in WorkList(folder).items()}
    assert states == {"b": ("done", "anna"), "c": ("skipped", "anna"), "a": ("taken", "bert")}
    assert json.loads((folder / "c" / "review.json").read_text("utf-8"))["note"] == "motion"
    WorkList(folder).finish("a", "bert")
    assert WorkList(folder).next("anna") is None


def test_a_reviewed_case_can_be_opened_again(folder: Path) -> None:
    mine = WorkList(folder)
    mine.finish(mine.next("anna").name, "anna")
    assert mine.take("b", "bert").name == "b"
    assert {item.name: item.state for item in mine.items()}["b"] == "taken"


def test_a_case_that_is_given_back_is_free(folder: Path) -> None:
    mine = WorkList(folder)
    mine.next("anna")
    mine.give_back("b", "bert")
    assert mine.items()[0].state == "taken", "only who has it can give it back"
    mine.give_back("b", "anna")
    assert mine.next("bert").name == "b"


def test_a_case_that_was_left_half_a_day_ago_is_free(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    WorkList(folder).next("anna")
    monkeypatch.setattr(worklist, "_now", lambda: datetime.now(UTC) + timedelta(hours=11))
    assert WorkList(folder).next("bert").name == "c"
    monkeypatch.setattr(worklist, "_now", lambda: datetime.now(UTC) + timedelta(hours=13))
    assert WorkList(folder).next("carl").name == "b"
    with pytest.raises(InputError, match="carl has b open"):
        WorkList(folder).finish("b", "anna")


def test_a_claim_that_is_just_being_written_counts(folder: Path) -> None:
    (folder / "b" / "claim.json").touch()
    assert WorkList(folder).next("anna").name == "c"


@pytest.mark.parametrize("name", ["missing", "../a", "unfinished", "."])
def test_a_case_that_is_none_is_told(folder: Path, name: str) -> None:
    with pytest.raises(InputError, match="has no case"):
        WorkList(folder).take(name, "anna")


def test_a_folder_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a folder"):
        WorkList(tmp_path / "nowhere")
