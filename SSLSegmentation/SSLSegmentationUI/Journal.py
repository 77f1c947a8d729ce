"""Journal: follows what is done to a segmentation, and keeps its history with it, for whoever trains on it later.

It looks at the segments after every change, a moment later and in pieces, and finds out by itself what was painted,
undone or redone. What models suggested, and what became of it, it is told.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import Any

import qt
import slicer
from SSLSegmentationLib.dataset.history import History
from SSLSegmentationLib.dataset.provenance import Step, now
from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.scene.nodes import Watch
from SSLSegmentationLib.scene.states import State, changes, looking

from SSLSegmentationUI.Errand import Errand
from SSLSegmentationUI.Suggestion import Suggestion

ATTRIBUTE = "SSLSegmentation.History"
"""Of the segmentation node: so the history is saved with the scene, and goes where the segments go."""

_SOON_MILLISECONDS = 400  # a stroke is over then


class Journal:
    def __init__(self) -> None:
        self.node: Any = None
        self.history = History()
        self._state: State | None = None
        self._results: dict[str, State] = {}
        self._errand: Errand | None = None
        self._queue: list[Generator[None, Any, None]] = []
        self._working = False
        self._watch = Watch()
        self._soon = qt.QTimer()
        self._soon.setSingleShot(True)
        self._soon.setInterval(_SOON_MILLISECONDS)
        self._soon.connect("timeout()", self._look)
        self._known: tuple[str, History, State, dict[str, State]] | None = None

    def open(self, node: Any) -> None:
        """Follow a segmentation from now on."""
        self.node = node
        text = node.GetAttribute(ATTRIBUTE) or ""
        if self._known is not None and self._known[0] == node.GetID() and text == self._known[1].as_text():
            # The same as a moment ago, as when another scan was looked at: its steps can still be undone.
            _, self.history, self._state, self._results = self._known
        else:
            self.history, self._state, self._results = History.of_text(text), None, {}
        self._known = None
        segmentation = node.GetSegmentation()
        for event in (
            slicer.vtkSegmentation.SegmentAdded,
            slicer.vtkSegmentation.SegmentRemoved,
            slicer.vtkSegmentation.SegmentModified,
            slicer.vtkSegmentation.SourceRepresentationModified,
        ):
            self._watch.on(segmentation, event, self.changedSoon)
        self._look()  # at once: what comes after it is the user's

    def close(self) -> None:
        self._soon.stop()
        self._watch.end()
        if self._errand is not None:
            self._errand.drop()
        self._queue.clear()
        self._working = False
        if self.node is not None and self._state is not None:
            self._known = (self.node.GetID(), self.history, self._state, self._results)
        self._errand, self.node, self._state, self._results = None, None, None, {}
        self.history = History()

    def forget(self) -> None:
        """The scene is closed."""
        self.close()
        self._known = None

    # What happens

    def changedSoon(self) -> None:
        """Something may have changed."""
        if self.node is not None and not self._working:
            self._soon.start()

    def looking(self) -> Generator[None, Any, None]:
        """In an Errand: be sure that all which was done until now is known."""
        self._soon.stop()
        self._queue.append(self._follow())
        yield from self._workOff()

    def accepting(self, writing: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """In an Errand: what is done meanwhile is not made by hand."""
        yield from self.looking()
        self._working = True
        try:
            return (yield from writing)
        finally:
            self._working = False
            self._soon.start()

    def accepted(self, suggestion: Suggestion, written: Sequence[Any]) -> None:
        """Right after it was written."""
        if self.node is None:
            return
        step = replace(
            suggestion.step,
            segment=self._nameOf(written[0].segment_id) if len(written) == 1 else "",
            added=sum(one.added for one in written),
            removed=sum(one.removed for one in written),
        )
        segment = written[0].segment_id if len(written) == 1 else ""
        if suggestion.expected:
            self.history.expected, self.history.absent = tuple(suggestion.expected), tuple(suggestion.absent)
        self.did(step, segment)

    def did(self, step: Step, segment: str) -> None:
        """Right after anything was done to segments that is not by hand."""
        when = now()

        def noting() -> Generator[None, Any, None]:
            before = self._state
            self._state = yield from looking(self.node, before)
            counts = yield from changes(before, self._state)
            self.history.accept(replace(step, when=when), segment, counts, self._state.key)
            self._results[self._state.key] = self._state
            self._keep()

        self._run(noting())

    def rejected(self, suggestion: Suggestion) -> None:
        if self.node is None:
            return
        (only,) = suggestion.proposals if len(suggestion.proposals) == 1 else ("",)
        proposals = suggestion.proposals.values()
        added = sum(int(p.added.sum()) for p in proposals) + sum(int(mask.bits.sum()) for _, mask in suggestion.fresh)
        removed = sum(int(p.removed.sum()) for p in proposals)
        name = self._nameOf(only) if only else ""
        self.history.reject(replace(suggestion.step, segment=name, added=added, removed=removed, when=now()), only)
        self._keep()

    def imported(self, step: Step, expected: Sequence[Label], absent: Sequence[str]) -> None:
        """The segments came from elsewhere, with what is known of how they were made."""
        self._queue.clear()
        self.history = History()
        self.history.expected, self.history.absent = tuple(expected), tuple(absent)
        self._state = None

        def noting() -> Generator[None, Any, None]:
            self._state = yield from looking(self.node)
            yield from self._begin(step)

        self._run(noting())

    def exported(self, key: str) -> None:
        """The state of this key is in a dataset now."""
        self.history.exported = key
        self._keep()

    # What it knows

    @property
    def isUnexported(self) -> bool:
        """Whether there is work of the user's that no dataset has."""
        return self.history.is_unexported

    def handmade(self, segmentIds: Sequence[str]) -> Generator[None, Any, int]:
        """In an Errand, after `looking`: voxels that differ by hand from what the model gave last."""
        total = 0
        for segmentId in segmentIds:
            entry = self.history.last_of_model(segmentId)
            given = self._results.get(entry.after) if entry is not None else None
            if given is None:
                total += self.history.painted(segmentId)
            else:
                counts = yield from changes(given, self._state, frozenset([segmentId]))
                total += sum(counts.get(segmentId, (0, 0)))
        return total

    # How it looks

    def _look(self) -> None:
        if self.node is not None and not self._working:
            self._run(self._follow())

    def _run(self, steps: Generator[None, Any, None]) -> None:
        """Without a word to the user: nothing of it concerns her."""
        self._queue.append(steps)
        if self._errand is None or self._errand.ended:
            self._errand = Errand(self._workOff()).start()

    def _workOff(self) -> Generator[None, Any, None]:
        """One after the other, so that states follow each other as they happened, whoever waits for it."""
        while self._queue:
            steps = self._queue[0]
            try:
                next(steps)
            except StopIteration:
                self._queue.remove(steps)
            except BaseException:
                self._queue.clear()
                raise
            yield

    def _follow(self) -> Generator[None, Any, None]:
        if self._state is None:
            self._state = yield from looking(self.node)
            if self.history.entries:
                self.history.begin(self._state.key)
            elif self._state.segments:
                yield from self._begin(Step("import", "accepted"))
            else:
                self.history.begin(self._state.key)
            return
        before = self._state
        state = yield from looking(self.node, before)
        if not self.history.recalls(state.key):
            counts = yield from changes(before, state)
            if counts:
                names = {one: self._nameOf(one) for one in counts}
                self.history.paint(counts, state.key, now(), names)
            else:
                self.history.key = state.key
        self._state = state
        if state.key != before.key:
            self._keep()

    def _begin(self, step: Step) -> Generator[None, Any, None]:
        counts = yield from changes(State((), {}), self._state)
        self.history.begin("")
        if counts:
            added = sum(one for one, _ in counts.values())
            self.history.accept(replace(step, added=added, when=step.when or now()), "", counts, self._state.key)
            self._results[self._state.key] = self._state
        self.history.key = self.history.given = self._state.key
        self._keep()

    def _nameOf(self, segmentId: str) -> str:
        segment = self.node.GetSegmentation().GetSegment(segmentId)
        return segment.GetName() if segment is not None else ""

    def _keep(self) -> None:
        self.node.SetAttribute(ATTRIBUTE, self.history.as_text())
