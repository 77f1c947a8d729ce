"""Work: everything the module does with a scan, without its window. One thing at a time, and all of it can be stopped.

An operation ends in a Suggestion, which is shown and then accepted or rejected. If the engine dies on the way, nothing
in the scene has changed, and the next operation finds an engine that knows the scan and the segments again.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
from SSLSegmentationLib.dataset.provenance import Model, Step
from SSLSegmentationLib.engine.calls import EngineError, EngineLostError, NotThereError
from SSLSegmentationLib.engine.requests import PromptRequest, PropagateRequest, RefineRequest, Request, SegmentRequest
from SSLSegmentationLib.engine.results import Result
from SSLSegmentationLib.engine.wire import plane_json, prompt_json
from SSLSegmentationLib.errors import Cancelled, InputError
from SSLSegmentationLib.plane import Plane
from SSLSegmentationLib.prompts import Prompt
from SSLSegmentationLib.proposal import NOTHING, Proposal
from SSLSegmentationLib.scene.labelling import reading
from SSLSegmentationLib.scene.planes import window_of
from SSLSegmentationLib.scene.preview import Preview
from SSLSegmentationLib.scene.segments import binary_name, is_locked, mask_of, segment_of
from SSLSegmentationLib.scene.writer import History, SegmentWriter, Written

from SSLSegmentationUI import Job
from SSLSegmentationUI.Engine import Engine
from SSLSegmentationUI.Errand import Errand
from SSLSegmentationUI.Glimpses import Glimpses
from SSLSegmentationUI.Journal import Journal
from SSLSegmentationUI.OpenScan import OpenScan
from SSLSegmentationUI.Suggestion import (
    Suggestion,
    describeEnds,
    describeLabelling,
    describeParts,
    describeProposals,
)

LOCKED = "SSLSegmentation locked"
"""The name under which the engine knows the voxels that must not change."""

UNKNOWN = "Something went wrong that should not have ({kind}); the details tell more. Nothing was changed."


@dataclass(frozen=True)
class Message:
    sentence: str
    isError: bool = False
    details: str = ""


ONE_PART = "{} hangs together: there is nothing to split."
BUSY = Message("Something else is running: wait for it, or cancel it.", True)


class Work:
    def __init__(self, engine: Engine, changed: Callable[[], None]) -> None:
        """`changed` is called after each change of what is said here."""
        self.engine = engine
        self.operation = ""
        """What runs now, in a word; empty if nothing does."""
        self.stage = ""
        self.part = 0.0
        self.suggestion: Suggestion | None = None
        self.message = Message("")
        self.lastSuggested = ""
        """What the last suggestion came from."""
        self.acceptAtOnce = False
        self.onSuggested: Callable[[Suggestion], None] = lambda suggestion: None
        self.onAccepted: Callable[[Suggestion, list[Written]], None] = lambda suggestion, written: None
        self.scanNode: Any = None
        self.segmentationNode: Any = None
        self.journal = Journal()
        """What was done to the segments, for whoever trains on them later."""
        self.modelOf: Callable[[str], Model | None] = lambda id: Model(id) if id else None
        """What is known of the model of an id."""
        self._changed = changed
        self._errand: Errand | None = None
        self._scan: OpenScan | None = None
        self._writer: SegmentWriter | None = None
        self._preview: Preview | None = None

    # What is worked on

    def open(self, scanNode: Any, segmentationNode: Any, editorNode: Any, history: History | None = None) -> None:
        """From now on work on these; what ran on others is cancelled, and what was suggested for them is dropped."""
        self.close()
        self.scanNode, self.segmentationNode = scanNode, segmentationNode
        if scanNode is None or segmentationNode is None:
            return
        self._writer = SegmentWriter(editorNode, history)
        self._preview = Preview(scanNode)
        self.journal.open(segmentationNode)

    def close(self) -> None:
        """Leave the scene as if nothing had been begun."""
        if self._errand is not None:
            self._errand.drop()
        self._errand = None
        self.operation, self.suggestion, self.message = "", None, Message("")
        if self._preview is not None:
            self._preview.close()
        if self._writer is not None:
            self._writer.close()
        if self._scan is not None:
            self._scan.close()
        self.journal.close()
        self._preview = self._writer = self._scan = self.scanNode = self.segmentationNode = None
        self._changed()

    def beat(self) -> None:
        if self._scan is not None:
            self._scan.beat()

    # Operations

    def segment(self, model: str, settings: dict[str, Any]) -> None:
        def steps() -> Generator[Any, Any, Suggestion]:
            labelling = yield from self._asked(SegmentRequest(model, settings), ())
            self._progress("Reading the result", 1.0)
            found = yield from reading(labelling.labels, labelling.names, self.segmentationNode, self.scanNode)
            sentence = describeLabelling(labelling, found)
            return Suggestion(
                sentence,
                dict(found.proposals),
                list(found.fresh),
                labelling.uncertainty,
                step=Step(
                    "segment", "accepted", model=Model(labelling.model, labelling.version, labelling.weights_sha256)
                ),
                expected=labelling.names,
                absent=found.missing,
            )

        self._suggest("Segment", steps())

    def prompt(self, segmentId: str, prompts: Sequence[Prompt], model: str) -> None:
        """What prompts suggest for a segment. It takes the place of what was asked or suggested before."""

        def steps() -> Generator[Any, Any, Suggestion]:
            request = PromptRequest(
                tuple(prompts),
                segmentId,
                model=model,
                window=window_of(self.scanNode),
                locked=self._lockedName(segmentId),
                keep_others=self._keepsOthers(),
            )
            proposal = yield from self._asked(request, (segmentId,))
            proposals = {segmentId: proposal}
            told = tuple(prompt_json(one) for one in prompts)
            step = Step("prompt", "accepted", prompts=told, model=self.modelOf(model))
            return Suggestion(self._said(proposals), proposals, prompted=segmentId, step=step)

        self._suggest("Correct", steps(), instead=True)

    def refine(self, segmentIds: Sequence[str], model: str) -> None:
        def steps() -> Generator[Any, Any, Suggestion]:
            request = RefineRequest(
                model,
                tuple(segmentIds),
                window=window_of(self.scanNode),
                locked=self._lockedName(*segmentIds),
                keep_others=self._keepsOthers(),
            )
            found = yield from self._asked(request, segmentIds)
            step = Step("refine", "accepted", model=self.modelOf(model))
            return Suggestion(self._said(found.segments) + describeParts(found), dict(found.segments), step=step)

        self._suggest("Refine", steps())

    def spread(
        self, segmentIds: Sequence[str], plane: Plane, model: str, towards: np.ndarray | None, slices: int | None
    ) -> None:
        """Follow segments from a slice, in both directions or only towards one."""

        def steps() -> Generator[Any, Any, Suggestion]:
            request = PropagateRequest(
                tuple(segmentIds),
                model=model,
                plane=plane,
                window=window_of(self.scanNode),
                max_frames=slices,
                direction=_direction(plane, towards),
                locked=self._lockedName(*segmentIds),
                keep_others=self._keepsOthers(),
            )
            found = yield from self._asked(request, segmentIds)
            proposals = dict(found.segments)
            told = {"kind": "slice", "plane": plane_json(plane), "slices": slices}
            told["towards"] = None if towards is None else [float(part) for part in towards]
            step = Step("propagate", "accepted", prompts=(told,), model=self.modelOf(model))
            return Suggestion(self._said(proposals) + describeEnds(found), proposals, step=step)

        self._suggest("Spread", steps())

    def run(
        self, operation: str, make: Callable[[Job.Progress], Generator[Any, Any, Any]], done: Callable[[Any], None]
    ) -> None:
        """Any other steps, with progress and Cancel, such as getting a model."""
        if self.operation:
            self.tell(BUSY)
            return

        def finished(value: Any) -> None:
            self._end(Message(""))
            done(value)

        self._begin(
            operation, make(self._progress), finished, lambda error: self._end(messageOf(error, self.engine.log))
        )

    def cancel(self) -> None:
        if self._errand is not None:
            self._errand.cancel()

    def accept(self) -> None:
        """Write what is suggested, as one undo step."""
        suggestion = self.suggestion
        if suggestion is None or self.operation:
            return

        def steps() -> Generator[Any, Any, list[Written]]:
            # The preview first: its voxels are those of the segments in a moment, and would hide them.
            self._preview.clear()
            writing = self._writer.accepting(suggestion.proposals, suggestion.fresh)
            return (yield from self.journal.accepting(writing))

        def done(written: list[Written]) -> None:
            self.suggestion = None
            self.journal.accepted(suggestion, written)
            withheld = sum(one.withheld for one in written)
            said = (
                f"Accepted. {withheld} voxels were left out: masking or a lock keeps them." if withheld else "Accepted."
            )
            self._end(Message(said))
            self.onAccepted(suggestion, written)

        def failed(error: Exception) -> None:
            self.suggestion = None
            self._fail(error)

        self._begin("Accept", steps(), done, failed)

    def split(self, segmentId: str) -> None:
        """Make segments of the parts of a segment that lie apart, as one undo step."""
        if self.operation or self.suggestion is not None:
            self.tell(BUSY)
            return
        name = segment_of(self.segmentationNode, segmentId).GetName()

        def steps() -> Generator[Any, Any, list[str]]:
            return (yield from self.journal.accepting(self._writer.splitting(segmentId)))

        def done(ids: list[str]) -> None:
            if len(ids) > 1:
                self.journal.did(Step("split", "accepted", name), segmentId)
            self._end(Message(f"{name} was split into {len(ids)} segments." if len(ids) > 1 else ONE_PART.format(name)))

        self._begin("Split", steps(), done)

    def reject(self) -> None:
        if self.suggestion is not None and not self.operation:
            self.journal.rejected(self.suggestion)
            self._drop()
            self._end(Message("Rejected; nothing was changed."))

    def withdraw(self, segmentId: str) -> None:
        """The prompts of a segment are gone, and with them what was asked or suggested for them."""
        if self.operation == "Correct":
            self.cancel()
        elif self.suggestion is not None and self.suggestion.prompted == segmentId and not self.operation:
            self._drop()
            self._end(Message(""))

    def dropMissing(self) -> None:
        """A segment was deleted: what is suggested for it goes as well."""
        if self.suggestion is not None and not self.operation and self.segmentationNode is not None:
            segments = self.segmentationNode.GetSegmentation()
            if any(segments.GetSegment(one) is None for one in self.suggestion.proposals):
                self._drop()
                self._end(Message(""))

    def tell(self, message: Message) -> None:
        self.message = message
        self._changed()

    def failWith(self, error: Exception) -> None:
        """Tell of an error that happened outside an operation."""
        self.tell(messageOf(error, self.engine.log))

    # How operations run

    def _suggest(self, operation: str, steps: Generator[Any, Any, Suggestion], instead: bool = False) -> None:
        if self.operation and not (instead and self.operation in (operation, "Show")):
            self.tell(BUSY)
            return
        if self._errand is not None:
            self._errand.drop()
        self._drop()

        def done(suggestion: Suggestion) -> None:
            if suggestion.isEmpty:
                self._end(Message(suggestion.sentence))
                return
            self.suggestion, self.lastSuggested = suggestion, operation
            if self.acceptAtOnce:
                self._end(Message(suggestion.sentence))
                self.accept()
            else:
                self._begin("Show", self._showing(suggestion), lambda _: self._end(Message(suggestion.sentence)))
            self.onSuggested(suggestion)

        self._begin(operation, steps, done)

    def _showing(self, suggestion: Suggestion) -> Generator[Any, Any, None]:
        yield
        self._preview.show(suggestion.proposals, suggestion.fresh)

    def _begin(
        self,
        operation: str,
        steps: Generator[Any, Any, Any],
        done: Callable[[Any], None],
        failed: Callable[[Exception], None] | None = None,
    ) -> None:
        self.operation, self.stage, self.part = operation, "", 0.0
        self.message = Message("")

        def finished(value: Any) -> None:
            self._errand, self.operation = None, ""
            done(value)

        self._errand = Errand(steps, finished, failed or self._fail)
        self._errand.start()
        self._changed()

    def _end(self, message: Message) -> None:
        self._errand, self.operation, self.message = None, "", message
        self._changed()

    def _fail(self, error: Exception) -> None:
        self._drop()
        self._end(messageOf(error, self.engine.log))

    def _drop(self) -> None:
        """Forget what is suggested."""
        self.suggestion = None
        if self._preview is not None:
            self._preview.clear()

    def _progress(self, stage: str, part: float) -> None:
        self.stage, self.part = stage, part
        self._changed()

    # Talking to the engine

    def _asked(self, request: Request, segmentIds: Sequence[str]) -> Generator[Any, Any, Result]:
        """What the engine answers to a request that knows these segments. Once more, if it was lost before it began."""
        for attempt in (1, 2):
            scan = self._opened()
            try:
                session = yield from scan.reach(lambda sentence: self._progress(sentence, 0.0))
                yield from self._sendSegments(scan, request, segmentIds)
            except (EngineLostError, NotThereError):
                if attempt == 2:
                    raise
                continue
            self._progress("Working", 0.0)
            glimpses = Glimpses(self.engine, scan.volume, self._preview.show)
            try:
                return (yield from Job.run(self.engine, session, request, scan.volume, self._progress, glimpses.take))
            finally:
                glimpses.end()
        raise AssertionError("unreachable")

    def _opened(self) -> OpenScan:
        if self._scan is not None and not self._scan.isCurrent:
            self._scan.close()
            self._scan = None
        if self._scan is None:
            self._scan = OpenScan(self.engine, self.scanNode)
        return self._scan

    def _sendSegments(self, scan: OpenScan, request: Request, segmentIds: Sequence[str]) -> Generator[Any, Any, None]:
        """Only those that matter to the request, and of these only those that have changed."""
        node, wanted = self.segmentationNode, list(segmentIds)
        if segmentIds and getattr(request, "keep_others", False):
            wanted = list(node.GetSegmentation().GetSegmentIDs())
        for segmentId in wanted:
            stamp = stampOf(node, segmentId)
            if not scan.knows(segmentId, stamp):
                yield from scan.put(segmentId, stamp, mask_of(node, segmentId, self.scanNode))
                yield
        if getattr(request, "locked", ""):
            locked = [one for one in node.GetSegmentation().GetSegmentIDs() if is_locked(node, one)]
            stamp = tuple((one, stampOf(node, one)) for one in locked)
            if not scan.knows(LOCKED, stamp):
                together = NOTHING
                for one in locked:
                    mask = mask_of(node, one, self.scanNode)
                    together = together.patched(mask.box, mask.bits | together.within(mask.box))
                    yield
                yield from scan.put(LOCKED, stamp, together)
        there = {*node.GetSegmentation().GetSegmentIDs(), LOCKED}
        for gone in [one for one in scan.known if one not in there]:
            yield from scan.drop(gone)

    def _lockedName(self, *segmentIds: str) -> str:
        node = self.segmentationNode
        for one in segmentIds:
            if is_locked(node, one):
                name = segment_of(node, one).GetName()
                raise InputError(f"{name} is locked: unlock it, or choose another segment.")
        return LOCKED if any(is_locked(node, one) for one in node.GetSegmentation().GetSegmentIDs()) else ""

    def _keepsOthers(self) -> bool:
        return self._writer.editor.GetOverwriteMode() == slicer.vtkMRMLSegmentEditorNode.OverwriteNone

    def _said(self, proposals: dict[str, Proposal]) -> str:
        names = {one: segment_of(self.segmentationNode, one).GetName() for one in proposals}
        return describeProposals(proposals, names, self._scan.volume)


def _direction(plane: Plane, towards: np.ndarray | None) -> str:
    if towards is None:
        return "both"
    return "up" if plane.normal @ towards > 0 else "down"


def stampOf(node: Any, segmentId: str) -> tuple[Any, ...]:
    """Changes when the voxels of a segment may have changed."""
    segment = segment_of(node, segmentId)
    labelmap = segment.GetRepresentation(binary_name())
    return (labelmap.GetMTime() if labelmap is not None else 0, segment.GetLabelValue())


def messageOf(error: Exception, log: str) -> Message:
    """An error as the user is told of it: one sentence, and the details for whoever wants to know."""
    if isinstance(error, Cancelled):
        return Message("Cancelled; nothing was changed.")
    details = "".join(traceback.format_exception(error))
    sentence = str(error) if isinstance(error, InputError | EngineError) else UNKNOWN.format(kind=type(error).__name__)
    return Message(sentence, True, f"{details}\nThe last words of the engine:\n{log}" if log else details)
