"""History: what was done to the segments of a scan, noted as it happens, and kept with the scene as text.

Whoever undoes something, with a key, a button or another program, brings back a state that was there before. So every
step knows the state before and after it by a key, and a state that is seen again tells what was undone or redone.
A change between two known states that nobody had suggested was made by hand.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from SSLSegmentationLib.dataset.provenance import Model, Step
from SSLSegmentationLib.labels import Label

MOST_STEPS = 1000
MOST_CHARACTERS = 1_000_000
_LONGEST_PROMPT = 20_000  # characters; only painted masks are longer, and are told without their pixels then

Counts = Mapping[str, tuple[int, int]]
"""Voxels that were added to a segment and removed from it, by its id."""

_IN_FORCE = ("accepted", "redone")


@dataclass(frozen=True)
class Entry:
    step: Step
    segment: str = ""
    """The id of the segment it was meant for; empty if it concerned several."""
    counts: Counts = field(default_factory=dict)
    """What it did to every segment, also to those that gave way."""
    before: str = ""
    after: str = ""
    """Keys of the states; empty where the step changed nothing, or belongs to an earlier sitting."""


class History:
    def __init__(self, entries: Iterable[Entry] = (), left_out: int = 0) -> None:
        self.entries = list(entries)
        self.left_out = left_out
        """Steps that were too many to keep."""
        self.key = ""
        """Of the state that was seen last."""
        self.given: str | None = None
        """The key of what was there at first, from a file or an archive."""
        self.exported: str | None = None
        """The key of what was exported last."""
        self.expected: tuple[Label, ...] = ()
        """The labels of the model that segmented the scan, with its values."""
        self.absent: tuple[str, ...] = ()
        """Names of what it has looked for and not found."""

    # What happens

    def begin(self, key: str) -> None:
        """The state at the start of a sitting. What was done in earlier ones can no longer be undone."""
        if self.exported is not None and self.key == self.exported:
            self.exported = key
        if self.given is not None and self.key == self.given:
            self.given = key
        self.key = key
        self.entries = [replace(entry, before="", after="") for entry in self.entries]

    def accept(self, step: Step, segment: str, counts: Counts, after: str) -> None:
        self._add(Entry(step, segment, dict(counts), self.key, after))
        self.key = after

    def reject(self, step: Step, segment: str) -> None:
        self._add(Entry(replace(step, outcome="rejected"), segment))

    def recalls(self, key: str) -> bool:
        """Whether a state is the present one, or one that undoing or redoing leads to; then that is noted."""
        if key == self.key:
            return True
        known = self._undone_to(key) or self._redone_to(key)
        if known:
            self.key = key
        return known

    def paint(self, counts: Counts, after: str, when: str, names: Mapping[str, str]) -> None:
        """A change by hand."""
        segment = next(iter(counts)) if len(counts) == 1 else ""
        added, removed = (sum(one[n] for one in counts.values()) for n in (0, 1))
        step = Step("paint", "accepted", names.get(segment, ""), added=added, removed=removed, when=when)
        self.accept(step, segment, counts, after)

    def _undone_to(self, key: str) -> bool:
        places = [n for n, entry in enumerate(self.entries) if entry.step.outcome in _IN_FORCE]
        reached = next((n for n in reversed(places) if key and self.entries[n].before == key), None)
        if reached is None:
            return False
        for n in places:
            if n >= reached:
                self._set_outcome(n, "undone")
        return True

    def _redone_to(self, key: str) -> bool:
        """Only what was undone last can be redone: a new step ends it."""
        waiting = []
        for n in reversed(range(len(self.entries))):
            outcome = self.entries[n].step.outcome
            if outcome in _IN_FORCE:
                break
            if outcome == "undone":
                waiting.insert(0, n)
        reached = next((n for n in waiting if key and self.entries[n].after == key), None)
        if reached is None:
            return False
        for n in waiting:
            if n <= reached:
                self._set_outcome(n, "redone")
        return True

    def _set_outcome(self, number: int, outcome: Any) -> None:
        entry = self.entries[number]
        self.entries[number] = replace(entry, step=replace(entry.step, outcome=outcome))

    def _add(self, entry: Entry) -> None:
        prompts = tuple(_plain(prompt) for prompt in entry.step.prompts)
        self.entries.append(replace(entry, step=replace(entry.step, prompts=prompts)))
        surplus = len(self.entries) - MOST_STEPS
        if surplus > 0:
            del self.entries[:surplus]
            self.left_out += surplus

    # What it tells

    @property
    def model(self) -> Model | None:
        """What made the first labels that are still there."""
        made = (entry.step for entry in self.entries if entry.step.outcome in _IN_FORCE)
        return next((step.model for step in made if step.operation in ("segment", "import") and step.model), None)

    @property
    def is_unexported(self) -> bool:
        """Whether the segments are not as they were given, nor as they are in a dataset."""
        return bool(self.entries) and self.key not in (self.given, self.exported)

    def last_of_model(self, segment: str) -> Entry | None:
        """The last step in force, not by hand, that changed a segment."""
        return next(
            (entry for entry in reversed(self.entries) if segment in entry.counts and _is_models(entry.step)), None
        )

    def painted(self, segment: str) -> int:
        """Voxels that were painted or erased by hand since then, stroke by stroke."""
        count = 0
        for entry in reversed(self.entries):
            if segment not in entry.counts or entry.step.outcome not in _IN_FORCE:
                continue
            if _is_models(entry.step):
                break
            count += sum(entry.counts[segment])
        return count

    def steps(self, names: Mapping[str, str]) -> tuple[Step, ...]:
        """For a provenance: with the names that segments have now, and strokes that follow each other as one."""
        told: list[Step] = []
        for entry in self.entries:
            step = replace(entry.step, segment=names.get(entry.segment, entry.step.segment))
            last = told[-1] if told else None
            if (
                last is not None
                and step.operation == last.operation == "paint"
                and (step.segment, step.outcome) == (last.segment, last.outcome)
            ):
                told[-1] = replace(last, added=last.added + step.added, removed=last.removed + step.removed)
            else:
                told.append(step)
        return tuple(told)

    # As text

    def as_text(self) -> str:
        """Bounded: the oldest steps are left out where all would be too long."""
        lines = [json.dumps(asdict(entry), allow_nan=False) for entry in self.entries]
        total, kept = 0, 0
        for line in reversed(lines):
            total += len(line)
            if total > MOST_CHARACTERS:
                break
            kept += 1
        head = {
            "key": self.key,
            "given": self.given,
            "exported": self.exported,
            "left_out": self.left_out + len(lines) - kept,
            "expected": [asdict(label) for label in self.expected],
            "absent": list(self.absent),
        }
        entries = ",".join(lines[len(lines) - kept :])
        return f'{json.dumps(head, allow_nan=False)[:-1]}, "entries": [{entries}]}}'

    @staticmethod
    def of_text(text: str) -> History:
        """What `as_text` wrote; an empty history where it cannot be read, as from another version."""
        try:
            said = json.loads(text)
            history = History((_entry(one) for one in said["entries"]), int(said["left_out"]))
            history.key, history.given, history.exported = str(said["key"]), said["given"], said["exported"]
            history.expected = tuple(Label(**{**one, "color": tuple(one["color"])}) for one in said["expected"])
            history.absent = tuple(str(name) for name in said["absent"])
        except (ValueError, TypeError, KeyError, AttributeError):
            return History()
        return history


def _is_models(step: Step) -> bool:
    return step.outcome in _IN_FORCE and step.operation != "paint"


def _entry(said: Mapping[str, Any]) -> Entry:
    step, counts = said["step"], said["counts"]
    model = None if step["model"] is None else Model(**step["model"])
    return Entry(
        Step(**{**step, "prompts": tuple(step["prompts"]), "model": model}),
        said["segment"],
        {name: (int(added), int(removed)) for name, (added, removed) in counts.items()},
        said["before"],
        said["after"],
    )


def _plain(prompt: Mapping[str, Any]) -> dict[str, Any]:
    """As it will be read again; a painted mask that is too large to be kept is told by its shape and place."""
    kept = {name: value for name, value in prompt.items() if name != "bits" or len(value) <= _LONGEST_PROMPT}
    return json.loads(json.dumps(kept, allow_nan=False))
