"""Correcting with clicks and boxes, in straight and oblique views: nothing changes before it is accepted."""

from __future__ import annotations

import numpy as np
import pytest

from Testing.slicer.module.bench import LIVER, RIGHT_KIDNEY, Bench, middle_of, phantom, tilted


@pytest.mark.parametrize("view", ["Red", "Yellow", "Green"])
def test_a_click_suggests_what_is_under_it_and_accepting_writes_it(bench: Bench, view: str) -> None:
    scan, truth = (tilted(volume) for volume in phantom())
    bench.load(scan)
    segment = bench.new_segment()
    place = middle_of(truth, RIGHT_KIDNEY)
    bench.place(view, place)
    suggestion = bench.wait_suggested()
    assert not bench.mask(segment).any(), "written before it was accepted"
    k, j, i = np.rint(scan.to_ijk(place)).astype(int)[::-1]
    proposal = suggestion.proposals[segment]
    assert all(side.start <= at < side.stop for side, at in zip(proposal.box, (k, j, i), strict=True))
    bench.app.click(bench.ui.acceptButton)
    bench.wait_idle()
    assert bench.mask(segment)[k, j, i]
    assert bench.mask(segment).sum() == proposal.added.sum()


def test_a_negative_click_takes_away_and_rejecting_changes_nothing(bench: Bench) -> None:
    scan, truth = (tilted(volume) for volume in phantom())
    bench.load(scan)
    segment = bench.new_segment()
    place = middle_of(truth, RIGHT_KIDNEY)
    bench.place("Red", place)
    first = bench.wait_suggested().proposals[segment]
    beside = place + scan.directions[:, 0] * 20
    bench.place("Red", beside, "negativeButton")
    bench.app.wait_until(
        lambda: bench.work.suggestion is not None and bench.work.suggestion.proposals[segment] is not first
    )
    bench.wait_suggested()
    bench.picture("correct-negative")
    assert bench.ui.promptList.item(0).text().endswith("belongs")
    assert bench.ui.promptList.count == 2
    bench.app.click(bench.ui.rejectButton)
    assert bench.work.suggestion is None
    assert not bench.mask(segment).any()
    assert bench.ui.promptList.count == 2, "what was placed is kept, to be moved or deleted"


def test_deleting_the_last_prompt_withdraws_the_suggestion(bench: Bench) -> None:
    scan, truth = phantom()
    bench.load(scan)
    bench.new_segment()
    bench.place("Red", middle_of(truth, LIVER))
    bench.wait_suggested()
    bench.ui.promptList.setCurrentRow(0)
    bench.app.click(bench.ui.deletePromptButton)
    bench.app.wait_until(lambda: bench.work.suggestion is None)
    bench.app.wait_until(lambda: bench.ui.promptList.count == 0)


def test_the_first_click_makes_segmentation_and_segment(bench: Bench) -> None:
    scan, truth = phantom()
    bench.load(scan)
    assert bench.parameters.segmentation is None
    bench.place("Red", middle_of(truth, LIVER))
    assert len(bench.wait_suggested().proposals) == 1
    assert bench.segments.GetNumberOfSegments() == 1


def test_moving_a_point_asks_again(bench: Bench) -> None:
    scan, truth = phantom()
    bench.load(scan)
    segment = bench.new_segment()
    place = middle_of(truth, LIVER)
    bench.place("Red", place)
    first = bench.wait_suggested()
    bench.app.click(bench.ui.positiveButton)  # no more placing
    view = bench.app.view("Red")
    x, y = view.place_of(tuple(place))
    view.drag((x, y), (x + 12, y + 6))
    bench.app.wait_until(lambda: bench.work.suggestion is not None and bench.work.suggestion is not first, 60)
    bench.wait_suggested()
    (point,) = bench.panel.correct.prompts(segment)
    assert np.allclose(point.ras, view.ras_of(x + 12, y + 6), atol=2.0)


def draw_box(bench: Bench, place: np.ndarray) -> None:
    """Around a place in the red view, 60 pixels wide."""
    view = bench.app.view("Red")
    view.jump_to(tuple(place))
    x, y = view.place_of(tuple(place))
    bench.app.click(bench.ui.boxButton)
    view.click(x - 30, y - 30)
    view.move(x, y)
    view.click(x + 30, y + 30)


def test_without_a_model_a_box_bounds_what_a_click_in_it_grows(bench: Bench) -> None:
    scan, truth = (tilted(volume) for volume in phantom())
    bench.load(scan)
    bench.parameters.clickModel = "-"
    segment = bench.new_segment()
    place = middle_of(truth, RIGHT_KIDNEY)
    draw_box(bench, place)
    bench.app.wait_until(lambda: "click inside the box" in bench.ui.messageLabel.text)
    assert bench.ui.boxButton.checked, "the next box can be placed at once"
    bench.place("Red", place)
    proposal = bench.wait_suggested().proposals[segment]
    bench.picture("correct-box")
    corners = bench.panel.correct.prompts(segment)[1].around(scan)
    assert proposal.added.any()
    for side, limit in zip(proposal.box, corners, strict=True):
        assert limit.start <= side.start
        assert side.stop <= limit.stop


def test_a_box_alone_is_answered_by_the_model_that_comes_along(bench: Bench) -> None:
    scan, truth = phantom()
    bench.load(scan)
    segment = bench.new_segment()
    draw_box(bench, middle_of(truth, RIGHT_KIDNEY))
    proposal = bench.wait_suggested().proposals[segment]
    assert "click-ct-mr" in bench.ui.clickModelSelector.currentData
    kidney = truth.voxels[proposal.box] == RIGHT_KIDNEY
    assert (proposal.added & kidney).sum() > 0.5 * proposal.added.sum()


def test_accepting_at_once_needs_no_button_and_can_be_undone(bench: Bench) -> None:
    scan, truth = phantom()
    bench.load(scan)
    segment = bench.new_segment()
    bench.app.click(bench.ui.acceptAtOnceCheckBox)
    bench.place("Red", middle_of(truth, LIVER))
    bench.app.wait_until(lambda: bench.mask(segment).any(), 60)
    bench.wait_idle()
    assert not bench.ui.acceptButton.visible
    bench.panel.editor.undo()
    assert not bench.mask(segment).any()


def test_undo_and_redo_go_through_what_was_accepted_step_by_step(bench: Bench) -> None:
    scan, truth = phantom()
    bench.load(scan)
    bench.parameters.clickModel = "-"  # grey values only ever add to a segment
    segment = bench.new_segment()
    sizes = [0]
    for organ in (LIVER, RIGHT_KIDNEY):
        bench.place("Red", middle_of(truth, organ))
        bench.wait_suggested()
        bench.app.click(bench.ui.acceptButton)
        bench.wait_idle()
        sizes.append(int(bench.mask(segment).sum()))
    assert sizes == sorted(set(sizes))
    bench.panel.editor.undo()
    assert bench.mask(segment).sum() == sizes[1]
    bench.panel.editor.undo()
    assert bench.mask(segment).sum() == sizes[0]
    bench.panel.editor.redo()
    assert bench.mask(segment).sum() == sizes[1]


def test_a_locked_neighbour_is_not_touched(bench: Bench) -> None:
    scan, truth = phantom()
    bench.load(scan)
    place = middle_of(truth, LIVER)
    neighbour = bench.new_segment()
    bench.place("Red", place)
    bench.wait_suggested()
    bench.app.click(bench.ui.acceptButton)
    bench.wait_idle()
    before = bench.mask(neighbour)
    bench.app.click(bench.ui.lockSegmentButton)
    assert not bench.ui.positiveButton.enabled
    assert "locked" in bench.ui.positiveButton.toolTip
    other = bench.new_segment()
    bench.place("Red", place + np.array([0, 0, scan.spacing[2]]))
    bench.wait_suggested() if bench.work.operation else bench.app.wait(0.5)
    if bench.work.suggestion is not None:
        bench.app.click(bench.ui.acceptButton)
        bench.wait_idle()
    assert (bench.mask(neighbour) == before).all()
    assert not (bench.mask(other) & before).any()


def test_another_segment_begins_with_positive_clicks(bench: Bench) -> None:
    scan, truth = phantom()
    bench.load(scan)
    first = bench.new_segment()
    bench.place("Red", middle_of(truth, LIVER))
    bench.wait_suggested()
    bench.app.click(bench.ui.negativeButton)
    bench.new_segment()
    bench.app.turn(5)
    assert bench.ui.positiveButton.checked
    assert not bench.ui.negativeButton.checked
    assert bench.ui.promptList.count == 0, "each segment has prompts of its own"
    bench.app.choose(bench.ui.segmentSelector, "Segment 1")
    bench.app.turn(5)
    assert bench.panel.editor.segmentId == first
    assert bench.ui.promptList.count == 1


def test_what_is_painted_is_a_prompt(bench: Bench) -> None:
    from SSLSegmentationLib.proposal import Cropped, propose

    scan, truth = phantom()
    bench.load(scan)
    segment = bench.new_segment()
    place = middle_of(truth, LIVER)
    bench.app.view("Red").jump_to(tuple(place))
    k, j, i = np.rint(scan.to_ijk(place)).astype(int)[::-1]
    box = (slice(k, k + 1), slice(j - 3, j + 4), slice(i - 3, i + 4))
    bits = np.ones((1, 7, 7), dtype=bool)
    painted = propose(box, ~bits, bits, score=1.0, segment=segment)
    bench.work._writer.accept(painted, segment)
    assert Cropped(box, bits).bits.sum() == bench.mask(segment).sum()
    bench.app.turn(5)
    bench.app.click(bench.ui.paintedButton)
    bench.app.wait_until(lambda: bench.work.suggestion is not None or bench.work.message.sentence, 60)
    bench.wait_idle()
    assert bench.mask(segment).sum() == bits.sum()


def test_the_parts_of_a_segment_become_segments_and_undo_joins_them(bench: Bench) -> None:
    from SSLSegmentationLib.proposal import propose

    scan, _truth = phantom()
    bench.load(scan)
    assert not bench.ui.splitButton.enabled
    assert "Choose a segment" in bench.ui.splitButton.toolTip
    segment = bench.new_segment()
    bits = np.zeros((20, 30, 30), dtype=bool)
    bits[:5, :5, :5] = bits[10:18, 10:20, 10:20] = bits[0, 29, 29] = True
    box = (slice(10, 30), slice(20, 50), slice(20, 50))
    bench.work._writer.accept(propose(box, np.zeros_like(bits), bits, score=1.0, segment=segment), segment)
    bench.app.turn(5)
    bench.app.click(bench.ui.splitButton)
    bench.wait_idle()
    names = [bench.segments.GetSegment(one).GetName() for one in bench.segments.GetSegmentIDs()]
    assert names == ["Segment 1.1", "Segment 1.2", "Segment 1.3"]
    assert [bench.mask(one).sum() for one in bench.segments.GetSegmentIDs()] == [800, 125, 1]
    assert "split into 3" in bench.ui.messageLabel.text
    bench.app.turn(5)
    assert bench.ui.segmentSelector.count == 3
    bench.picture("split")
    bench.app.click(bench.ui.splitButton)
    bench.wait_idle()
    assert "nothing to split" in bench.ui.messageLabel.text
    bench.panel.editor.undo()
    assert bench.segments.GetNumberOfSegments() == 1
    assert bench.mask(segment).sum() == bits.sum()
    bench.app.turn(5)
    bench.app.click(bench.ui.splitButton)
    bench.app.wait_until(lambda: bench.segments.GetNumberOfSegments() > 1 or not bench.work.operation)
    bench.app.click(bench.ui.cancelButton) if bench.work.operation else bench.panel.editor.undo()
    bench.app.wait_until(lambda: not bench.work.operation)
    assert bench.mask(segment).sum() == bits.sum()
