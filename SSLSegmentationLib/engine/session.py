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
from dataclasses import asdict, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SSLSegmentationLib.engine.requests import (
    PromptRequest,
    PropagateRequest,
    RefineRequest,
    Request,
    SegmentRequest,
    operation_of,
)
from SSLSegmentationLib.engine.results import Labelling, Proposals, Result
from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.progress import Tick, silent
from SSLSegmentationLib.prompts import Prompt
from SSLSegmentationLib.proposal import NOTHING, Cropped, Proposal
from SSLSegmentationLib.volume import Volume

if TYPE_CHECKING:
    from SSLSegmentationLib.inference.segment import Segmenter
    from SSLSegmentationLib.models.overview import Known
    from SSLSegmentationLib.models.package import ModelPackage
    from SSLSegmentationLib.prompting.compose import Kept
    from SSLSegmentationLib.prompting.embeddings import Embeddings
    from SSLSegmentationLib.prompting.picture import Window
    from SSLSegmentationLib.prompting.protocol import Promptable
    from SSLSegmentationLib.prompting.stack import Stack

Operation = Callable[["Session", Any, Tick], Result | Generator[Result, None, Result]]
"""What a session can do with a request. It returns its result, or yields partial results before it does.

It reports to the Tick between steps and lets what the Tick raises pass. It changes nothing in the session but caches of
what can be computed again: results are put into the session by whoever runs the operation, once they are whole.
"""


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

    def listed(self) -> list[dict[str, Any]]:
        """All models in plain values: those that are installed, and those that can be."""
        from SSLSegmentationLib.models.overview import Known, known_models
        from SSLSegmentationLib.models.store import Installed, record_of

        packages = {package.id: package for package in self.packages()}
        known = known_models()
        elsewhere = packages.keys() - {one.id for one in known}
        known = [
            Known(id_, None, Installed(packages[id_].folder, record_of(packages[id_]))) for id_ in elsewhere
        ] + known
        return [_model_row(one, packages.get(one.id)) for one in known]

    def install(self, model: str, tick: Tick) -> None:
        """Download a model whose licence the user has accepted; one that is there and sound stays."""
        from SSLSegmentationLib.models.catalogue import load_catalogue
        from SSLSegmentationLib.models.install import get
        from SSLSegmentationLib.models.store import now

        entries = load_catalogue()
        if model not in entries:
            raise InputError(f"{model} is not in the catalogue, so that it cannot be downloaded: copy its folder here.")
        get(entries[model], now(), tick=tick)

    def remove(self, model: str) -> None:
        """Delete an installed model, also from memory."""
        from SSLSegmentationLib.models.store import remove
        from SSLSegmentationLib.prompting.backends import unload

        remove(model)
        unload()  # it may be this one; another is loaded again when it is wanted
        for key in [key for key in list(self._segmenters) if key[0] == model]:
            self._segmenters.pop(key, None)

    @cached_property
    def embeddings(self) -> Embeddings:
        from SSLSegmentationLib.prompting.embeddings import Embeddings

        return Embeddings()


def _model_row(known: Known, package: ModelPackage | None) -> dict[str, Any]:
    about, licence = known.about, known.about.licence
    return {
        "id": known.id,
        "title": about.title,
        "kind": "segments" if about.kind == "package" else "promptable",
        "version": package.version if package else "",
        "sha256": known.model.record.sha256 if known.model else "",
        "modality": about.modality,
        "segments": about.segments,
        "licence": licence.name,
        "licence_link": licence.link,
        "licence_note": licence.note,
        "commercial": licence.commercial,
        "bytes": known.bytes,
        "installed": known.model is not None and not known.model.damage,
        "bundled": known.model is not None and known.model.bundled,
        "downloadable": known.entry is not None and bool(known.entry.address),
        "page": known.entry.page if known.entry else "",
        "damage": known.model.damage if known.model else "",
        "description": package.description if package else "",
        "labels": [asdict(label) for label in package.labels] if package else [],
    }


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

    def run(self, request: Request, tick: Tick = silent, partial: Callable[[Result], None] | None = None) -> Result:
        """The whole result, which is also remembered. `partial` is given what comes before it.

        After an error nothing has changed.
        """
        operation = operation_of(request)
        steps = self.begin(operation, request, tick)
        while True:
            try:
                part = next(steps)
            except StopIteration as end:
                self.last[operation] = end.value
                return end.value
            if partial is not None:
                partial(part)

    def segment(self, model: str, tick: Tick = silent, **settings: Any) -> Labelling:
        """Segment the whole scan with an installed model."""
        return self.run(SegmentRequest(model, settings), tick)

    def prompt(self, prompts: Sequence[Prompt], segment: str = "", tick: Tick = silent, **more: Any) -> Proposal:
        """What the prompts suggest for a segment. `more` are other fields of a PromptRequest, such as the model."""
        return self.run(PromptRequest(tuple(prompts), segment, **more), tick)

    def refine(
        self, request: RefineRequest, tick: Tick = silent, partial: Callable[[Proposal], None] | None = None
    ) -> Proposals:
        """Refine segments; `partial` is given each slice as it comes."""
        return self.run(request, tick, partial)

    def propagate(
        self, request: PropagateRequest, tick: Tick = silent, partial: Callable[[Proposal], None] | None = None
    ) -> Proposals:
        """Follow segments from known slices; `partial` is given each slice as it comes."""
        return self.run(request, tick, partial)

    def put(self, segment: str, mask: Cropped) -> None:
        """Say how a segment looks now."""
        ends = [side.stop for side in mask.box]
        if any(end > n for end, n in zip(ends, self.volume.shape, strict=True)):
            raise InputError(f'The segment "{segment}" reaches over the edge of {self.volume.name}: crop it.')
        self.segments[segment] = mask

    def accept(self, suggested: Proposal | Proposals) -> None:
        """Make a proposal a part of its segment, or several of theirs."""
        several = suggested.segments.values() if isinstance(suggested, Proposals) else (suggested,)
        for proposal in several:
            self.put(proposal.segment, proposal.accepted_into(self.segments.get(proposal.segment, NOTHING)))


def _segment(session: Session, request: SegmentRequest, tick: Tick) -> Labelling:
    from SSLSegmentationLib.models.read import package_hash

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
        version=segmenter.package.version,
        weights_sha256=package_hash(segmenter.package),
    )


def _prompt(session: Session, request: PromptRequest, tick: Tick) -> Proposal:
    from SSLSegmentationLib.prompting.ask import ask
    from SSLSegmentationLib.prompting.grow import grow

    kept = _kept(session, (request.segment,), request)
    if not request.model:
        before = session.segments.get(request.segment, NOTHING)
        return grow(
            session.volume, request.prompts, before, kept=kept[request.segment], segment=request.segment, tick=tick
        )
    return ask(
        session.volume,
        {request.segment: request.prompts},
        session.models.promptable(request.model),
        segments=session.segments,
        window=_window(request.window),
        kept=kept,
        embeddings=session.models.embeddings,
        tick=tick,
    )[request.segment]


def _refine(session: Session, request: RefineRequest, tick: Tick) -> Generator[Result, None, Proposals]:
    from SSLSegmentationLib.prompting.refine import refine

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
    return Proposals({name: refined.proposals[name] for name in request.segments}, parts=tuple(refined.report))


def _propagate(session: Session, request: PropagateRequest, tick: Tick) -> Generator[Result, None, Proposals]:
    from SSLSegmentationLib.prompting.propagate import propagate, usual_rule

    stack = _stack(session, request)
    here = () if request.plane is None else (stack.number_at(request.plane.pixel_to_ras[:3, 3]),)
    chosen = _chosen(session, request.segments)
    model = session.models.promptable(request.model) if request.model else None
    found = yield from propagate(
        stack,
        chosen,
        (*request.slices, *here),
        model,
        window=_window(request.window),
        rule=usual_rule(model, request.max_frames),
        direction=_direction(stack, request),
        stride=request.stride,
        redo=request.redo,
        kept=_kept(session, request.segments, request),
        tick=tick,
    )
    return Proposals({name: found.proposals[name] for name in request.segments}, ends=tuple(found.ends))


def _stack(session: Session, request: RefineRequest | PropagateRequest) -> Stack:
    from SSLSegmentationLib.prompting.stack import acquired, slices_along, slices_beside

    if request.plane is not None:
        return slices_beside(session.volume, request.plane)
    if request.axis is None:
        return acquired(session.volume)
    if request.axis not in (0, 1, 2):
        raise InputError(f"There is no axis {request.axis}: choose 0, 1 or 2 for k, j or i.")
    return slices_along(session.volume, request.axis)


def _direction(stack: Stack, request: PropagateRequest) -> str:
    """The slices of a stack may be counted against the normal of the plane that they lie beside."""
    counted_down = request.plane is not None and request.plane.normal @ stack.first.normal < 0
    return {"up": "down", "down": "up"}.get(request.direction, request.direction) if counted_down else request.direction


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
