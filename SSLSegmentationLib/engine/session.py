"""Session: one Volume, opened, and the operations that work on it. Plain Python, for a notebook or a service.

    session = Session(read_volume("ct.nii.gz"))
    labelling = session.segment("organs")
    proposal = session.prompt([PointPrompt((12.0, -40.0, 88.0))], segment="cyst")
    session.accept(proposal)

This is the only file of the engine that knows models and networks.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SSLSegmentationLib.engine.results import Labelling, Result
from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.progress import Tick, silent
from SSLSegmentationLib.prompts import Prompt
from SSLSegmentationLib.proposal import NOTHING, Cropped, Proposal
from SSLSegmentationLib.volume import Volume

if TYPE_CHECKING:
    from SSLSegmentationLib.inference.segment import Segmenter
    from SSLSegmentationLib.models.package import ModelPackage

Operation = Callable[["Session", Any, Tick], Result | Generator[Result, None, Result]]
"""What a session can do with a request. It returns its result, or yields partial results before it does.

It reports to the Tick between steps and lets what the Tick raises pass. It changes nothing in the session but caches of
what can be computed again: results are put into the session by whoever runs the operation, once they are whole.
"""


@dataclass(frozen=True)
class SegmentRequest:
    model: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Fields of inference's Settings."""


@dataclass(frozen=True)
class PromptRequest:
    prompts: tuple[Prompt, ...]
    segment: str = ""
    """The segment that the prompts correct; its voxels are known by `Session.put`."""


class Models:
    """The packages that may be used, by id, and the networks of the last ones, which stay loaded between scans."""

    def __init__(self, packages: Callable[[], Sequence[ModelPackage]] | None = None, kept: int = 2) -> None:
        self.packages = packages or installed_packages
        self._kept = kept
        self._segmenters: OrderedDict[tuple[str, Path, tuple[Any, ...]], Segmenter] = OrderedDict()

    def segmenter(self, model: str, settings: Mapping[str, Any]) -> Segmenter:
        """Ready to run, and the same one as before for the same model and settings."""
        from SSLSegmentationLib.inference.segment import Segmenter, Settings

        # Compared with the ids there are, never used as a path: what a client sends opens nothing else.
        package = next((package for package in self.packages() if package.id == model), None)
        if package is None:
            there = ", ".join(package.id for package in self.packages()) or "none"
            raise InputError(f'The model "{model}" is not installed here: choose one of these: {there}.')
        unknown = sorted(set(settings) - {field.name for field in fields(Settings)})
        if unknown:
            raise InputError(f'There is no setting "{unknown[0]}": leave it out.')
        key = (package.id, package.folder, tuple(sorted(settings.items())))
        if key not in self._segmenters:
            made = Segmenter(package, Settings(**settings))
            while len(self._segmenters) >= self._kept:
                self._segmenters.popitem(last=False)
            self._segmenters[key] = made
        self._segmenters.move_to_end(key)
        return self._segmenters[key]


def installed_packages() -> list[ModelPackage]:
    """Every sound model package on this machine."""
    from SSLSegmentationLib.models.read import read_package
    from SSLSegmentationLib.models.store import installed

    return [read_package(one.path) for one in installed() if one.kind == "package" and not one.damage]


class Session:
    def __init__(
        self,
        volume: Volume,
        models: Models | None = None,
        operations: Mapping[str, Operation] | None = None,
    ) -> None:
        self.volume = volume
        self.models = models or Models()
        self.segments: dict[str, Cropped] = {}
        """The segments as the user has them now, so that prompts need not send them along."""
        self.last: dict[str, Result] = {}
        """The last whole result of each operation."""
        self._operations = OPERATIONS if operations is None else operations

    def begin(self, operation: str, request: Any, tick: Tick) -> Generator[Result, None, Result]:
        """Partial results as they come; the whole result is what the generator returns."""
        if operation not in self._operations:
            raise InputError(
                f'This engine cannot "{operation}" yet: install a model that takes prompts, or use one of '
                f"{', '.join(sorted(self._operations))}."
            )
        outcome = self._operations[operation](self, request, tick)
        return (yield from outcome) if isinstance(outcome, Generator) else outcome

    def run(self, operation: str, request: Any, tick: Tick = silent) -> Result:
        """The whole result, which is also remembered. After an error nothing has changed."""
        steps = self.begin(operation, request, tick)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                self.last[operation] = end.value
                return end.value

    def segment(self, model: str, tick: Tick = silent, **settings: Any) -> Labelling:
        """Segment the whole scan with an installed model."""
        return self.run("segment", SegmentRequest(model, settings), tick)

    def prompt(self, prompts: Sequence[Prompt], segment: str = "", tick: Tick = silent) -> Proposal:
        """What the prompts suggest for a segment."""
        return self.run("prompt", PromptRequest(tuple(prompts), segment), tick)

    def refine(self, request: Any = None, tick: Tick = silent) -> Result:
        return self.run("refine", request, tick)

    def propagate(self, request: Any = None, tick: Tick = silent) -> Result:
        return self.run("propagate", request, tick)

    def put(self, segment: str, mask: Cropped) -> None:
        """Say how a segment looks now."""
        ends = [side.stop for side in mask.box]
        if any(end > n for end, n in zip(ends, self.volume.shape, strict=True)):
            raise InputError(f'The segment "{segment}" reaches over the edge of {self.volume.name}: crop it.')
        self.segments[segment] = mask

    def accept(self, proposal: Proposal) -> None:
        """Make a proposal a part of its segment."""
        self.put(proposal.segment, proposal.accepted_into(self.segments.get(proposal.segment, NOTHING)))


def _segment(session: Session, request: SegmentRequest, tick: Tick) -> Labelling:
    tick("Loading", 0.0)
    segmenter = session.models.segmenter(request.model, request.settings)
    found = segmenter(session.volume, tick)
    return Labelling(
        labels=found.labels,
        names=segmenter.package.labels,
        uncertainty=found.uncertainty,
        disagreement=found.disagreement,
        model=segmenter.package.id,
        device=found.device,
        ladder=tuple(found.ladder),
        seconds=dict(found.seconds),
    )


def _prompt(session: Session, request: PromptRequest, tick: Tick) -> Proposal:
    from dataclasses import replace

    from SSLSegmentationLib.prompting.grow import grow

    before = session.segments.get(request.segment, NOTHING)
    return replace(grow(session.volume, request.prompts, before, tick), segment=request.segment)


OPERATIONS: Mapping[str, Operation] = {"segment": _segment, "prompt": _prompt}
