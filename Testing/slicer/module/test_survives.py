"""What the module outlives: a scene that is closed in the middle, a scan that goes away, an engine that dies."""

from __future__ import annotations

import os
import signal
import sys

import numpy as np
import pytest
import slicer

from Testing.slicer.module.bench import LIVER, PATIENCE, Bench, middle_of, phantom


def begin_segmenting(bench: Bench) -> None:
    bench.app.click(bench.ui.segmentButton)
    bench.app.wait_until(lambda: bench.work.operation == "Segment" and bench.work.stage == "Segmenting", PATIENCE)


def test_the_scene_is_closed_during_a_job(bench: Bench) -> None:
    bench.load(phantom()[0])
    begin_segmenting(bench)
    slicer.mrmlScene.Clear(False)
    bench.app.turn(10)
    assert not bench.work.operation
    assert bench.work.scanNode is None
    assert "Choose a scan" in bench.ui.segmentButton.toolTip
    # The engine has let go of the job: the next one is served at once.
    scan, truth = phantom()
    bench.load(scan)
    bench.new_segment()
    bench.place("Red", middle_of(truth, LIVER))
    assert bench.wait_suggested().proposals


def test_the_scan_is_removed_during_a_job(bench: Bench) -> None:
    node = bench.load(phantom()[0])
    begin_segmenting(bench)
    slicer.mrmlScene.RemoveNode(node)
    bench.app.turn(10)
    assert not bench.work.operation
    assert bench.parameters.scan is None
    assert not bench.ui.segmentButton.enabled


def test_the_scan_is_removed_while_something_is_suggested(bench: Bench) -> None:
    scan, truth = phantom()
    node = bench.load(scan)
    bench.new_segment()
    bench.place("Red", middle_of(truth, LIVER))
    bench.wait_suggested()
    slicer.mrmlScene.RemoveNode(node)
    bench.app.turn(10)
    assert bench.work.suggestion is None
    assert not bench.ui.acceptButton.visible


def test_the_segmentation_is_removed_while_something_is_suggested(bench: Bench) -> None:
    scan, truth = phantom()
    bench.load(scan)
    bench.new_segment()
    bench.place("Red", middle_of(truth, LIVER))
    bench.wait_suggested()
    slicer.mrmlScene.RemoveNode(bench.parameters.segmentation)
    bench.app.turn(10)
    assert bench.work.suggestion is None
    assert bench.work.segmentationNode is None
    segment = bench.new_segment()
    bench.place("Red", middle_of(truth, LIVER))
    assert segment in bench.wait_suggested().proposals


def test_the_segment_is_removed_while_it_is_asked_for(bench: Bench) -> None:
    scan, truth = phantom()
    bench.load(scan)
    segment = bench.new_segment()
    bench.place("Red", middle_of(truth, LIVER))
    bench.wait_suggested()
    bench.segments.RemoveSegment(segment)
    bench.app.turn(10)
    assert bench.work.suggestion is None
    assert not bench.ui.acceptButton.visible


def test_another_scan_is_chosen(bench: Bench) -> None:
    """Each scan is asked about with its own voxels, and what was suggested for the other is gone."""
    first, truth = phantom()
    bench.load(first, "first")
    bench.new_segment()
    bench.place("Red", middle_of(truth, LIVER))
    bench.wait_suggested()
    second, second_truth = phantom(8)
    node = bench.load(second, "second")
    bench.app.choose(bench.ui.scanSelector, "second")
    bench.app.turn(5)
    assert bench.work.scanNode is node
    assert bench.work.suggestion is None
    bench.parameters.segmentation = None
    segment = bench.new_segment()
    place = middle_of(second_truth, LIVER)
    bench.place("Red", place)
    proposal = bench.wait_suggested().proposals[segment]
    k, j, i = np.rint(second.to_ijk(place)).astype(int)[::-1]
    bench.app.click(bench.ui.acceptButton)
    bench.wait_idle()
    assert bench.mask(segment)[k, j, i]
    assert proposal.segment == segment


def test_a_scan_that_was_moved_is_sent_again(bench: Bench) -> None:
    scan, truth = phantom()
    node = bench.load(scan)
    bench.new_segment()
    bench.place("Red", middle_of(truth, LIVER))
    bench.wait_suggested()
    bench.app.click(bench.ui.rejectButton)
    bench.app.click(bench.ui.clearPromptsButton)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = np.eye(4)
    matrix[:3, 3] = (0, 0, 500)
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    node.SetAndObserveTransformNodeID(transform.GetID())
    bench.parameters.segmentation.SetAndObserveTransformNodeID(transform.GetID())
    bench.app.turn(5)
    place = middle_of(truth, LIVER) + np.array([0, 0, 500])
    bench.place("Red", place)
    suggestion = bench.wait_suggested()
    assert suggestion.proposals


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL on Windows")
def test_the_engine_is_killed_during_a_job(bench: Bench) -> None:
    """The job is lost and says so; the engine is there again, with the scan and the segment it has to know."""
    scan, truth = phantom()
    bench.load(scan)
    segment = bench.new_segment()
    place = middle_of(truth, LIVER)
    bench.place("Red", place)
    bench.wait_suggested()
    bench.app.click(bench.ui.acceptButton)
    bench.wait_idle()
    before = bench.mask(segment)
    bench.app.click(bench.ui.positiveButton)
    begin_segmenting(bench)
    os.kill(bench.engine.pid, signal.SIGKILL)
    bench.app.wait_until(lambda: not bench.work.operation, 30)
    assert "nothing was changed" in bench.ui.messageLabel.text
    bench.picture("killed")
    assert (bench.mask(segment) == before).all()
    bench.app.wait_until(lambda: bench.engine.isReady, 60)
    bench.app.turn(5)
    assert bench.ui.engineLabel.text == "Engine: restarted"
    # What a click suggests stands on the segment as it is: the new engine was told of it.
    bench.place("Red", place + np.array([0, 0, 11.2]))
    proposal = bench.wait_suggested().proposals[segment]
    assert (proposal.before == before[proposal.box]).all()


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL on Windows")
def test_the_engine_is_killed_while_nothing_runs(bench: Bench) -> None:
    scan, truth = phantom()
    bench.load(scan)
    bench.new_segment()
    bench.place("Red", middle_of(truth, LIVER))
    bench.wait_suggested()
    generation = bench.engine.generation
    os.kill(bench.engine.pid, signal.SIGKILL)
    bench.app.wait_until(lambda: bench.engine.generation > generation, 60)
    assert bench.work.suggestion is not None, "what is suggested is here, not in the engine"
    bench.app.click(bench.ui.acceptButton)
    bench.wait_idle()


def test_leaving_and_entering_the_module_keeps_everything(bench: Bench) -> None:
    scan, truth = phantom()
    bench.load(scan)
    segment = bench.new_segment()
    bench.place("Red", middle_of(truth, LIVER))
    bench.wait_suggested()
    bench.app.open_module("")
    interaction = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLInteractionNode")
    assert interaction.GetCurrentInteractionMode() == interaction.ViewTransform
    bench.app.open_module("SSLSegmentation")
    bench.app.turn(5)
    assert bench.work.suggestion is not None
    bench.app.click(bench.ui.acceptButton)
    bench.wait_idle()
    assert bench.mask(segment).any()
