from __future__ import annotations

from SSLSegmentationLib.dataset import history as module
from SSLSegmentationLib.dataset.history import Entry, History
from SSLSegmentationLib.dataset.provenance import Model, Provenance, Step, read_provenance, write_provenance
from SSLSegmentationLib.labels import Label

CLICK = Step("prompt", "accepted", "liver", ({"kind": "point", "ras": [1.0, 2.0, 3.0]},), Model("sam"), 30, 2)


def outcomes(history: History) -> list[str]:
    return [entry.step.outcome for entry in history.entries]


def a_history() -> History:
    """Two clicks that were accepted, and a stroke between them."""
    history = History()
    history.begin("empty")
    history.accept(CLICK, "A", {"A": (30, 2)}, "one")
    history.paint({"A": (5, 0)}, "stroke", "", {"A": "liver"})
    history.accept(CLICK, "A", {"A": (30, 2)}, "two")
    return history


def test_states_that_come_back_tell_what_was_undone_and_redone() -> None:
    history = a_history()
    assert history.recalls("two")
    assert outcomes(history) == ["accepted"] * 3
    assert history.recalls("one"), "two steps at once"
    assert outcomes(history) == ["accepted", "undone", "undone"]
    assert history.recalls("stroke")
    assert outcomes(history) == ["accepted", "redone", "undone"]
    assert history.recalls("empty")
    assert outcomes(history) == ["undone"] * 3
    assert history.recalls("two")
    assert outcomes(history) == ["redone"] * 3


def test_what_was_undone_before_a_new_step_is_not_redone() -> None:
    history = a_history()
    history.recalls("empty")
    history.accept(CLICK, "A", {"A": (1, 0)}, "other")
    assert not history.recalls("two")
    assert outcomes(history) == ["undone"] * 3 + ["accepted"]


def test_a_state_that_nothing_led_to_is_not_known() -> None:
    history = a_history()
    assert not history.recalls("never seen")
    assert outcomes(history) == ["accepted"] * 3


def test_what_is_painted_counts_since_the_models_last_step_on_that_segment() -> None:
    history = a_history()
    assert history.painted("A") == 0
    history.paint({"A": (4, 1), "B": (2, 0)}, "more", "", {})
    history.accept(CLICK, "B", {"B": (9, 0)}, "three")
    assert history.painted("A") == 5
    assert history.painted("B") == 0
    history.recalls("two")
    assert history.painted("A") == 0


def test_rejected_suggestions_are_told_and_change_nothing() -> None:
    history = a_history()
    history.reject(CLICK, "A")
    assert history.steps({})[-1].outcome == "rejected"
    assert history.recalls("stroke")
    assert outcomes(history) == ["accepted", "accepted", "undone", "rejected"]


def test_steps_have_the_names_that_segments_have_now_and_strokes_are_one() -> None:
    history = a_history()
    for number in range(3):
        history.paint({"A": (10, 1)}, f"stroke {number}", "", {"A": "liver"})
    steps = history.steps({"A": "left liver"})
    assert [(step.operation, step.segment, step.added, step.removed) for step in steps] == [
        ("prompt", "left liver", 30, 2),
        ("paint", "left liver", 5, 0),
        ("prompt", "left liver", 30, 2),
        ("paint", "left liver", 30, 3),
    ]


def test_text_brings_everything_back() -> None:
    history = a_history()
    history.reject(CLICK, "A")
    history.exported = "two"
    history.expected = (Label(6, "liver", (0.5, 0.2, 0.1), "SCT"),)
    history.absent = ("cyst",)
    again = History.of_text(history.as_text())
    assert again.entries == history.entries
    assert (again.key, again.exported, again.expected, again.absent) == ("two", "two", history.expected, ("cyst",))
    assert again.recalls("stroke")
    assert History.of_text("from another version").entries == []


def test_a_new_sitting_undoes_nothing_of_the_last() -> None:
    history = History.of_text(a_history().as_text())
    history.exported = "two"
    history.begin("loaded")
    assert history.exported == "loaded", "the same content, as it is kept now"
    assert not history.recalls("one")
    assert outcomes(history) == ["accepted"] * 3


def test_the_text_is_bounded_and_says_what_was_left_out(monkeypatch) -> None:
    monkeypatch.setattr(module, "MOST_STEPS", 5)
    history = History()
    for number in range(8):
        history.accept(CLICK, "A", {"A": (number, 0)}, str(number))
    assert (len(history.entries), history.left_out) == (5, 3)
    monkeypatch.setattr(module, "MOST_CHARACTERS", 1200)
    again = History.of_text(history.as_text())
    assert len(history.as_text()) < 2500
    assert again.entries == history.entries[-len(again.entries) :]
    assert again.left_out + len(again.entries) == 8


def test_a_painted_mask_that_is_too_large_is_kept_without_its_pixels() -> None:
    history = History()
    mask = {"kind": "mask", "shape": [900, 900], "bits": "A" * 30_000}
    history.accept(Step("prompt", "accepted", "liver", (mask, {**mask, "bits": "AAAA"})), "A", {}, "one")
    assert history.entries[0].step.prompts == ({"kind": "mask", "shape": [900, 900]}, {**mask, "bits": "AAAA"})


def test_the_first_labels_come_from_the_model_that_is_still_in_force() -> None:
    history = History([Entry(Step("segment", "undone", model=Model("first"))), Entry(CLICK)])
    assert history.model is None
    history.accept(Step("segment", "accepted", model=Model("second", "1.0", "ab")), "", {}, "x")
    assert history.model == Model("second", "1.0", "ab")


def test_a_provenance_says_how_many_steps_are_missing(tmp_path) -> None:
    write_provenance(tmp_path / "p.json", Provenance(history=(CLICK,), left_out=3))
    assert read_provenance(tmp_path / "p.json").left_out == 3


def test_what_is_neither_as_it_was_given_nor_in_a_dataset_is_unexported() -> None:
    history = History()
    history.accept(Step("import", "accepted"), "", {"A": (9, 0)}, "given")
    history.given = "given"
    assert not history.is_unexported
    history.accept(Step("segment", "accepted"), "", {"A": (3, 0)}, "again")
    assert history.is_unexported, "also if a model has made all of it"
    history.exported = "again"
    assert not history.is_unexported
    history.recalls("given")
    assert not history.is_unexported, "undone"
    later = History.of_text(history.as_text())
    later.begin("given, as it was loaded")
    assert not later.is_unexported
