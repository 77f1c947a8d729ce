"""The models the engine has, or could get; what is said about each."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from SSLSegmentationLib.dataset import provenance
from SSLSegmentationLib.engine import calls

from SSLSegmentationUI import Job
from SSLSegmentationUI.Engine import Engine
from SSLSegmentationUI.Errand import Errand
from SSLSegmentationUI.Program import running


@dataclass(frozen=True)
class Model:
    id: str
    title: str
    takesClicks: bool
    modality: str
    segments: str
    licence: str
    licenceLink: str
    licenceNote: str
    commercial: bool | None
    bytes: int | None
    installed: bool
    bundled: bool
    downloadable: bool
    page: str
    damage: str
    version: str = ""
    sha256: str = ""

    @staticmethod
    def of(said: dict[str, Any]) -> Model:
        return Model(
            id=str(said["id"]),
            title=str(said.get("title") or said["id"]),
            takesClicks=said.get("kind") == "promptable",
            modality=str(said.get("modality") or ""),
            segments=str(said.get("segments") or ""),
            licence=str(said.get("licence") or "not stated"),
            licenceLink=str(said.get("licence_link") or ""),
            licenceNote=str(said.get("licence_note") or ""),
            commercial=said.get("commercial"),
            bytes=said.get("bytes"),
            installed=bool(said.get("installed", True)),
            bundled=bool(said.get("bundled")),
            downloadable=bool(said.get("downloadable")),
            page=str(said.get("page") or ""),
            damage=str(said.get("damage") or ""),
            version=str(said.get("version") or ""),
            sha256=str(said.get("sha256") or ""),
        )


Make = Callable[[Job.Progress], Generator[Any, Any, Any]]
Run = Callable[[str, Make, Callable[[Any], None]], None]


class Models:
    def __init__(self, engine: Engine, changed: Callable[[], None], run: Run) -> None:
        """`run` does steps as an operation that the user sees and can cancel."""
        self._engine = engine
        self._changed = changed
        self._run = run
        self._asked = 0
        self._errand: Errand | None = None
        self._models: list[Model] = []
        self.known = False
        self.version = 0
        """Counts how often they were learnt."""

    @property
    def thatSegment(self) -> list[Model]:
        """Those on this machine first."""
        return sorted((one for one in self._models if not one.takesClicks), key=lambda one: not one.installed)

    @property
    def thatTakeClicks(self) -> list[Model]:
        """Those on this machine first, and of these what the user brought before what came along."""
        clicked = (one for one in self._models if one.takesClicks)
        return sorted(clicked, key=lambda one: (not one.installed, one.bundled))

    def find(self, id: str) -> Model | None:
        return next((one for one in self._models if one.id == id), None)

    def madeBy(self, id: str) -> provenance.Model | None:
        """What a history says of a model; None for grey values, which need none."""
        known = self.find(id)
        return provenance.Model(id, known.version, known.sha256) if known else provenance.Model(id) if id else None

    def follow(self) -> None:
        """Ask a new engine what it has."""
        if self._engine.generation != self._asked and self._engine.isReady:
            self._asked = self._engine.generation
            self.ask()

    def ask(self) -> None:
        self._errand = Errand(self.asking(), lambda _: self._changed(), lambda error: None).start()

    def asking(self) -> Generator[Any, Any, None]:
        """In an Errand: learn what models there are."""
        said = yield from self._engine.ask(calls.models())
        self._asked = self._engine.generation
        self._models, self.known = [Model.of(one) for one in said], True
        self.version += 1

    def get(self, model: Model) -> None:
        """Download a model whose licence the user has accepted."""

        def steps(progress: Job.Progress) -> Generator[Any, Any, None]:
            state = yield from self._engine.ask(calls.install_model(model.id, model.licence))
            yield from Job.follow(self._engine, state, progress)

        self._run("Get", steps, lambda _: self.ask())

    def add(self, path: str, consents: Callable[[Model], bool], added: Callable[[list[str]], None]) -> None:
        """Copy a model from a file; `consents` asks for the licence of one that the catalogue knows."""

        def take(*more: str) -> None:
            self._run("Add", lambda progress: steps(progress, *more), done)

        def steps(progress: Job.Progress, *more: str) -> Generator[Any, Any, Any]:
            progress("Copying", 0.0)
            return (yield running("main", "SSLSegmentationLib.models.adding", [path, *more]))

        def done(answer: dict[str, Any]) -> None:
            model = self.find(str(answer.get("accept")))
            if model is not None:
                if consents(model):
                    take("accepted")
                return
            self.ask()
            added(list(answer.get("added", ())))

        take()

    def delete(self, model: Model) -> None:
        self._run("Delete", lambda progress: self._engine.ask(calls.remove_model(model.id)), lambda _: self.ask())
