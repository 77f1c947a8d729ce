"""Session: one Volume, opened, and the operations that work on it. Plain Python, for a notebook or a service.

    session = Session(read_volume("ct.nii.gz"))
    labelling = session.segment("organs")
    proposal = session.prompt([PointPrompt((12.0, -40.0, 88.0))], segment="cyst")
    session.accept(proposal)

This is the only file of the engine that knows models and networks.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from SSLSegmentationLib.engine.results import Labelling, Result
from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.plane import Plane
from SSLSegmentationLib.progress import Tick, silent
from SSLSegmentationLib.prompts import Prompt
from SSLSegmentationLib.proposal import NOTHING, Cropped, Proposal
from SSLSegmentationLib.volume import Volume

if TYPE_CHECKING:
    from SSLSegmentationLib.inference.segment import Segmenter
    from SSLSegmentationLib.models.package import ModelPackage
    from SSLSegmentationLib.prompting.compose import Kept
    from SSLSegmentationLib.prompting.embeddings import Embeddings
    from SSLSegmentationLib.prompting.picture import Window
    from SSLSegmentationLib.prompting.protocol import Promptable
    from SSLSegmentationLib.prompting.stack import Stack

R = TypeVar("R")

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
    model: str = ""
    """Id of a promptable model; without one a region is grown."""
    window: tuple[float, float] | None = None
    """Width and level through which the user looks."""
    locked: str = ""
    """A segment, put like any other, whose voxels must not change."""
    keep_others: bool = True
    """Whether the other segments keep their voxels."""


@dataclass(frozen=True)
class RefineRequest:
    """Parts of segments are refined slice by slice; each slice comes as a partial result, as does each whole segment.

    The result is the Proposal of the segment named last.
    """

    model: str
    segments: tuple[str, ...]
    axis: int | None = None
    """0, 1, 2 for slices along k, j, i; by default along the axis with the largest spacing."""
    plane: Plane | None = None
    """Slices parallel to this plane instead."""
    window: tuple[float, float] | None = None
    one_box: bool = False
    locked: str = ""
    keep_others: bool = True


@dataclass(frozen=True)
class PropagateRequest:
    """Segments are followed from known slices; partial results and the result are those of RefineRequest."""

    segments: tuple[str, ...]
    slices: tuple[int, ...] = ()
    """Numbers of the known slices, counted along the axis or across the plane."""
    model: str = ""
    """Id of a model that takes prompts; without one grey values are followed."""
    axis: int | None = None
    plane: Plane | None = None
    """The known slice, as the view showed it; it counts as one of `slices`."""
    window: tuple[float, float] | None = None
    max_frames: int | None = None
    stride: int | None = None
    redo: int | None = None
    """A slice that was corrected: only what lies beyond it is done again."""
    locked: str = ""
    keep_others: bool = True


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

    def promptable(self, model: str) -> Promptable:
        """A model that takes prompts, by its id; it stays loaded until another is wanted."""
        from SSLSegmentationLib.models.store import installed
        from SSLSegmentationLib.prompting.backends import LOADERS, load_backend

        # Compared with the ids there are, as above.
        there = [one.id for one in installed() if one.kind in LOADERS and not one.damage]
        if model not in there:
            raise InputError(f'"{model}" is no model that takes prompts: choose one of these: {_listed(there)}.')
        return load_backend(model)

    @cached_property
    def embeddings(self) -> Embeddings:
        from SSLSegmentationLib.prompting.embeddings import Embeddings

        return Embeddings()


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
        """By a RefineRequest, or its fields by name as a client sends them."""
        return self.run("refine", request, tick)

    def propagate(self, request: Any = None, tick: Tick = silent) -> Result:
        """By a PropagateRequest, or its fields by name as a client sends them."""
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

    from SSLSegmentationLib.prompting.ask import ask
    from SSLSegmentationLib.prompting.grow import grow

    if not request.model:
        before = session.segments.get(request.segment, NOTHING)
        return replace(grow(session.volume, request.prompts, before, tick), segment=request.segment)
    return ask(
        session.volume,
        {request.segment: request.prompts},
        session.models.promptable(request.model),
        segments=session.segments,
        window=_window(request.window),
        kept=_kept(session, (request.segment,), request),
        embeddings=session.models.embeddings,
        tick=tick,
    )[request.segment]


def _refine(session: Session, request: Any, tick: Tick) -> Generator[Result, None, Result]:
    from SSLSegmentationLib.prompting.refine import refine

    request = _read(RefineRequest, request)
    refined = yield from refine(
        _stack(session, request),
        _chosen(session, request.segments),
        session.models.promptable(request.model),
        window=_window(request.window),
        one_box=request.one_box,
        kept=_kept(session, request.segments, request),
        embeddings=session.models.embeddings,
        tick=tick,
    )
    return (yield from _whole(refined.proposals, request.segments))


def _propagate(session: Session, request: Any, tick: Tick) -> Generator[Result, None, Result]:
    from dataclasses import replace

    from SSLSegmentationLib.prompting.propagate import DEFAULT_RULE, GREY_RULE, propagate

    request = _read(PropagateRequest, request)
    stack = _stack(session, request)
    here = () if request.plane is None else (stack.number_at(request.plane.pixel_to_ras[:3, 3]),)
    found = yield from propagate(
        stack,
        _chosen(session, request.segments),
        (*request.slices, *here),
        session.models.promptable(request.model) if request.model else None,
        window=_window(request.window),
        rule=replace(DEFAULT_RULE if request.model else GREY_RULE, max_frames=request.max_frames),
        stride=request.stride,
        redo=request.redo,
        kept=_kept(session, request.segments, request),
        tick=tick,
    )
    return (yield from _whole(found.proposals, request.segments))


def _read(kind: type[R], said: Any) -> R:
    """A request from its fields by name: each must be there, and be what it is meant to be."""
    if isinstance(said, kind):
        return said
    given = dict(said or {})
    whole, name = (lambda value: type(value) is int), (lambda value: isinstance(value, str))
    checks: dict[str, Callable[[Any], bool]] = {
        "segments": lambda values: len(values) > 0 and all(map(name, values)),
        "slices": lambda values: all(map(whole, values)),
        "window": lambda values: len(values) == 2,
        "model": name,
        "locked": name,
        "one_box": lambda value: isinstance(value, bool),
        "keep_others": lambda value: isinstance(value, bool),
        "plane": lambda value: isinstance(value, Plane),
        "axis": whole,
        "redo": whole,
        "max_frames": lambda value: whole(value) and value > 0,
        "stride": lambda value: whole(value) and value > 0,
    }
    known = {one.name: one for one in fields(kind)}
    for key, value in list(given.items()):
        try:
            if key == "plane" and isinstance(value, Mapping):
                rows, columns = (int(side) for side in value["shape"])
                given[key] = Plane(np.array(value["pixel_to_ras"], dtype=float), (rows, columns))
            elif isinstance(value, list):
                given[key] = tuple(float(one) for one in value) if key == "window" else tuple(value)
            sound = key in known and ((value is None and known[key].default is None) or checks[key](given[key]))
        except (TypeError, ValueError, KeyError) as error:
            raise InputError(f'The request has a "{key}" that cannot be read ({error}): correct it.') from error
        if not sound:
            raise InputError(f'The request has a "{key}" that cannot be used: correct it, or leave it out.')
    missing = [one.name for one in known.values() if one.default is MISSING and one.name not in given]
    if missing:
        raise InputError(f'The request lacks "{missing[0]}": name it.')
    return kind(**given)


def _whole(proposals: Mapping[str, Proposal], names: Sequence[str]) -> Generator[Result, None, Result]:
    for name in names[:-1]:
        yield proposals[name]
    return proposals[names[-1]]


def _stack(session: Session, request: RefineRequest | PropagateRequest) -> Stack:
    from SSLSegmentationLib.prompting.stack import acquired, slices_along, slices_beside

    if request.plane is not None:
        return slices_beside(session.volume, request.plane)
    if request.axis is None:
        return acquired(session.volume)
    if request.axis not in (0, 1, 2):
        raise InputError(f"There is no axis {request.axis}: choose 0, 1 or 2 for k, j or i.")
    return slices_along(session.volume, request.axis)


def _chosen(session: Session, names: Sequence[str]) -> dict[str, Cropped]:
    if not names:
        raise InputError("No segment is named: choose at least one.")
    for name in names:
        if name not in session.segments:
            raise InputError(f'There is no segment "{name}": choose one of these: {_listed(session.segments)}.')
    return {name: session.segments[name] for name in names}


def _kept(
    session: Session, names: Sequence[str], request: PromptRequest | RefineRequest | PropagateRequest
) -> dict[str, Kept]:
    from SSLSegmentationLib.prompting.compose import Kept

    locked = _chosen(session, (request.locked,))[request.locked] if request.locked else NOTHING
    others = [mask for name, mask in session.segments.items() if name not in (*names, request.locked)]
    return {name: Kept(locked, tuple(others) if request.keep_others else ()) for name in names}


def _window(width_and_level: tuple[float, float] | None) -> Window | None:
    from SSLSegmentationLib.prompting.picture import Window

    return None if width_and_level is None else Window(*width_and_level)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


OPERATIONS: Mapping[str, Operation] = {
    "segment": _segment,
    "prompt": _prompt,
    "refine": _refine,
    "propagate": _propagate,
}
