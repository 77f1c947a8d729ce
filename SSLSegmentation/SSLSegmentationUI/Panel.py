"""The panel: its sections, what they do together, and what holds at every moment in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import qt
import slicer
import vtk
from slicer.i18n import tr as _
from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.plane import cut
from SSLSegmentationLib.prompts import BoxPrompt, MaskPrompt
from SSLSegmentationLib.scene.nodes import Watch
from SSLSegmentationLib.scene.planes import plane_of
from SSLSegmentationLib.scene.segments import is_locked, mask_of, new_segmentation
from SSLSegmentationLib.scene.volumes import volume_of
from SSLSegmentationLib.scene.writer import Written

from SSLSegmentationUI import Place, Requirements
from SSLSegmentationUI.AdvancedSection import AdvancedSection
from SSLSegmentationUI.CaseFiles import Case
from SSLSegmentationUI.CorrectSection import CorrectSection, isPlacing
from SSLSegmentationUI.DoubtSection import DoubtSection
from SSLSegmentationUI.EditorSection import EditorSection
from SSLSegmentationUI.Engine import KEEP_ALIVE, NONE
from SSLSegmentationUI.ExportSection import ExportSection
from SSLSegmentationUI.Models import Models
from SSLSegmentationUI.ModelSection import ModelSection
from SSLSegmentationUI.Parameters import Parameters
from SSLSegmentationUI.ScanSection import ScanSection
from SSLSegmentationUI.Shortcuts import Shortcuts
from SSLSegmentationUI.SpreadSection import SpreadSection
from SSLSegmentationUI.StatusSection import StatusSection
from SSLSegmentationUI.Suggestion import Suggestion
from SSLSegmentationUI.Work import Message, Work
from SSLSegmentationUI.WorkListSection import WorkListSection


class Panel:
    def __init__(self, ui: Any, work: Work, models: Models, requirements: Path) -> None:
        self.ui = ui
        self.work = work
        self.models = models
        self._requirements = requirements
        self._lacking: list[str] | None = None
        self._parameters: Parameters | None = None
        self._modelsShown: tuple[Any, ...] = ()
        self.editor = EditorSection(ui)
        self.scan = ScanSection(ui)
        self.model = ModelSection(ui, models, self._onModel, self._segment)
        self.doubt = DoubtSection(ui, work.failWith)
        self.correct = CorrectSection(ui, models, self.editor, self._ask, self._onClickModel, self._begin)
        self.spread = SpreadSection(ui, self._spread)
        self.export = ExportSection(ui, work, lambda: self.doubt.volume, self.updateSoon)
        self.workList = WorkListSection(ui, work, self.export, self._useCase)
        self.status = StatusSection(ui, work, self._nextStep, work.cancel)
        self.advanced = AdvancedSection(ui, work, models, self._move, self._setUp)
        ui.setupButton.connect("clicked()", self._setUp)
        ui.paintedButton.connect("clicked()", self._usePainted)
        ui.refineButton.connect("clicked()", self._refine)
        ui.splitButton.connect("clicked()", lambda: self.work.split(self.editor.segmentId))
        work.onSuggested = self._onSuggested
        work.onAccepted = self._onAccepted
        self.shortcuts = Shortcuts(
            {
                "P": lambda: self.correct.toggle("positive"),
                "M": lambda: self.correct.toggle("negative"),
                "B": lambda: self.correct.toggle("box"),
                "A": work.accept,
                "X": work.reject,
                "C": self._stop,
                "N": self.doubt.goToNext,
            }
        )
        # Much may change in one go; the panel is brought up to date once, when Qt has nothing more urgent to do.
        self._soon = qt.QTimer()
        self._soon.setSingleShot(True)
        self._soon.setInterval(0)
        self._soon.connect("timeout()", self.update)
        self._watch = Watch()
        self._mayStart = False
        self._segmentId = ""
        self._later: list[Callable[[], None]] = []
        self._pulse = qt.QTimer()
        self._pulse.setInterval(int(KEEP_ALIVE / 3 * 1000))
        self._pulse.connect("timeout()", work.beat)

    # The scene and the module come and go

    def use(self, parameters: Parameters | None) -> None:
        """Work with the parameters of a scene; None before it is closed."""
        self._parameters = parameters
        if parameters is None:
            self.close()
            return
        self.editor.begin()
        self.follow()

    def follow(self) -> None:
        """Whatever the parameters say now, do it."""
        parameters = self._parameters
        if parameters is None:
            return
        scan, segmentation = parameters.scan, parameters.segmentation
        if (scan, segmentation) != (self.work.scanNode, self.work.segmentationNode):
            self._open(scan, segmentation)
        self.work.acceptAtOnce = parameters.acceptAtOnce
        self.doubt.set(parameters.showDoubt, parameters.doubtOpacity, parameters.doubtThreshold)
        self._fillModels()
        self.updateSoon()

    def enter(self) -> None:
        self._lacking = None
        self._mayStart = True
        self.editor.enter()
        self.shortcuts.enable()
        if self.work.engine.place.isRemote:
            self._pulse.start()
        self.updateSoon()

    def exit(self) -> None:
        self._mayStart = False
        self.shortcuts.disable()
        self.correct.stopPlacing()
        self.editor.exit()

    def close(self) -> None:
        """Let go of the scene."""
        self._watch.end()
        self.work.close()
        self.work.journal.forget()
        self.correct.close()
        self.doubt.close()
        self.editor.end()

    def end(self) -> None:
        """The module goes away."""
        self.workList.end()
        self.close()
        self._soon.stop()
        self._pulse.stop()
        self.shortcuts.disable()
        self.work.engine.stop(atEnd=True)

    def _open(self, scan: Any, segmentation: Any) -> None:
        if scan is not self.work.scanNode:
            self.doubt.close()
        self.editor.open(scan, segmentation)
        self.work.open(scan, segmentation, self.editor.node, self.editor)
        self.correct.open(scan, segmentation)
        self._observe(scan, segmentation)

    def _observe(self, scan: Any, segmentation: Any) -> None:
        """Look again when the user, or another module, does something with what is worked on."""
        self._watch.end()
        soon = self.updateSoon
        if scan is not None:
            self._watch.on(scan, slicer.vtkMRMLVolumeNode.ImageDataModifiedEvent, soon)
            self._watch.on(scan, slicer.vtkMRMLTransformableNode.TransformModifiedEvent, soon)
            self._watch.on(scan, vtk.vtkCommand.ModifiedEvent, soon)
        if segmentation is not None:
            self._watch.on(segmentation, vtk.vtkCommand.ModifiedEvent, soon)
            for event in (slicer.vtkSegmentation.SegmentAdded, slicer.vtkSegmentation.SegmentRemoved):
                self._watch.on(segmentation, event, soon)
            self._watch.on(segmentation, slicer.vtkSegmentation.SegmentModified, soon)
        if self.editor.node is not None:
            self._watch.on(self.editor.node, vtk.vtkCommand.ModifiedEvent, self._onEditor)
        interaction = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLInteractionNode")
        if interaction is not None:
            self._watch.on(interaction, interaction.InteractionModeChangedEvent, self._onInteraction)

    def _onEditor(self) -> None:
        if self.editor.segmentId != self._segmentId:
            self._segmentId = self.editor.segmentId
            self.later(self.correct.segmentChanged)

    def _onInteraction(self) -> None:
        # In a moment: between two boxes Slicer stops placing for an instant.
        self.later(lambda: self.correct.followInteraction(isPlacing()))

    # What holds at every moment

    def updateSoon(self) -> None:
        self._soon.start()

    def later(self, do: Callable[[], None]) -> None:
        """Do something when what is going on now is over."""
        self._later.append(do)
        self._soon.start()

    def update(self) -> None:
        later, self._later = self._later, []
        for do in later:
            do()
        if self._parameters is None:
            return
        work, busy = self.work, self._busy()
        self.scan.check(self._parameters.scan)
        work.dropMissing()
        self._startEarly()
        self.models.follow()
        self._fillModels()
        self.status.update()
        self.model.update(self._whyNoScan() or busy or self._whyWaiting(), busy)
        self.doubt.update()
        self.correct.update(self._whyNoScan(), busy, self._whyWaiting())
        self.spread.update(
            self._whyNoScan() or busy or self._whyNoSegment() or self._whyWaiting() or self.correct.choice.obstacle()
        )
        self.export.update(self.scan.obstacle or busy or self._whyWaiting())
        self.workList.update(busy)
        self.advanced.update(busy, self.lacking)
        self.ui.setupButton.visible = self._mustSetUp() and not work.operation

    def _startEarly(self) -> None:
        """Once a scan is chosen, the models are asked for: the list is there, and the engine ready, at the first click.

        Only once each time the module is entered, so that an engine that was stopped stays so.
        """
        if self._mayStart and not self._whyNoScan() and self.work.engine.state == NONE:
            self._mayStart = False
            self.models.ask()

    @property
    def lacking(self) -> list[str]:
        """What is not installed, if the engine is to run in this Slicer."""
        if self._lacking is None:
            here = self.work.engine.place.kind == Place.SLICER
            self._lacking = Requirements.missing(self._requirements) if here else []
        return self._lacking

    def _mustSetUp(self) -> bool:
        return bool(self.lacking) and not self.work.engine.isReady

    def _busy(self) -> str:
        return _("Something is running: wait for it, or press Cancel.") if self.work.operation else ""

    def _whyWaiting(self) -> str:
        return _("Accept or reject what is suggested first.") if self.work.suggestion is not None else ""

    def _whyNoScan(self) -> str:
        if self._mustSetUp():
            return _("First install what is needed, with the button at the top.")
        return self.scan.obstacle

    def _whyNoSegment(self) -> str:
        segmentId = self.editor.segmentId
        if not segmentId:
            return _("Choose a segment under Correct.")
        locked = self.work.segmentationNode is not None and is_locked(self.work.segmentationNode, segmentId)
        return _("This segment is locked: press Lock again to change it.") if locked else ""

    def _nextStep(self) -> str:
        """What somebody who has never seen this might do now."""
        if self._mustSetUp():
            return _("Before the first use, some packages have to be installed.")
        if self._parameters is None or self._parameters.scan is None:
            return _("Load a scan and choose it below; the module Sample Data has one to try.")
        if self.scan.obstacle:
            return ""
        node = self.work.segmentationNode
        if node is None or node.GetSegmentation().GetNumberOfSegments() == 0:
            return _("Press Segment (2), or press + Belongs (4) and click on what you are after.")
        if self.work.lastSuggested == "Segment":
            return _("Next: see where the model is unsure (3), and correct it with clicks (4).")
        return _("Correct it with clicks (4), or paint with the editor below.")

    # What the user does

    def _segment(self, model: str) -> None:
        parameters = self._parameters
        self._begin()
        if not model:
            self._startEngine()
            return
        self.work.segment(model, {"device": parameters.device, "doubt": parameters.doubtSource})

    def _begin(self) -> None:
        """A segmentation is there when it is needed."""
        if self._parameters.segmentation is None:
            self._parameters.segmentation = new_segmentation(self._parameters.scan)
            self.follow()

    def _startEngine(self) -> None:
        """Before the engine has told its models, all there is to do is to start it; then Segment goes on."""

        def steps(progress: Callable[[str, float], None]) -> Any:
            progress(_("Starting the engine"), 0.0)
            return (yield from self.models.asking())

        self.work.run("Start", steps, lambda _: self._afterStart())

    def _afterStart(self) -> None:
        self._fillModels()
        if self.model.choice.id and not self.model.choice.obstacle():
            self._segment(self.model.choice.id)

    def _ask(self, segmentId: str) -> None:
        """The user has placed, moved or deleted a prompt."""
        work = self.work
        if work.scanNode is None or work.segmentationNode is None:
            return
        if work.segmentationNode.GetSegmentation().GetSegment(segmentId) is None:
            return
        try:
            prompts = self.correct.prompts(segmentId)
        except InputError as error:
            work.failWith(error)
            return
        if prompts and self.correct.choice.obstacle():
            work.tell(Message(self.correct.choice.obstacle(), True))
        elif prompts and not self.correct.choice.id and all(isinstance(one, BoxPrompt) for one in prompts):
            work.tell(Message(_("Grey values need a click as well: click inside the box on what belongs to it.")))
        elif prompts:
            work.prompt(segmentId, prompts, self.correct.choice.id)
        else:
            work.withdraw(segmentId)
        self.updateSoon()

    def _usePainted(self) -> None:
        """The segment as it is painted on the slice of a view, as a prompt."""
        work, segmentId = self.work, self.editor.segmentId
        try:
            plane = plane_of(self._view(), volume_of(work.scanNode))
            mask = mask_of(work.segmentationNode, segmentId, work.scanNode)
            if not mask.bits.size:
                raise InputError("Nothing is painted in this segment: paint a part of it first, with the editor below.")
            part = volume_of(work.scanNode).cropped(mask.box)
            pixels = np.asarray(cut(part.with_voxels(mask.bits.astype(np.float32)), plane)) > 0.5
            if not pixels.any():
                name = self._parameters.spreadView
                raise InputError(f"Nothing is painted on the slice of the {name} view: go to the slice you painted.")
        except InputError as error:
            work.failWith(error)
            return
        prompts = [*self.correct.prompts(segmentId), MaskPrompt(pixels, plane.pixel_to_ras)]
        work.prompt(segmentId, prompts, self.correct.choice.id)

    def _refine(self) -> None:
        self.work.refine([self.editor.segmentId], self.correct.choice.id)

    def _spread(self) -> None:
        parameters = self._parameters
        try:
            view = self._view()
            plane = plane_of(view, volume_of(self.work.scanNode))
        except InputError as error:
            self.work.failWith(error)
            return
        self.work.spread(
            [self.editor.segmentId],
            plane,
            self.correct.choice.id,
            self.spread.towards(parameters.spreadDirection, view),
            parameters.spreadSlices or None,
        )

    def _view(self) -> Any:
        """The slice node of the chosen view."""
        widget = slicer.app.layoutManager().sliceWidget(self._parameters.spreadView)
        if widget is None:
            raise InputError(f"There is no {self._parameters.spreadView} view in this layout: choose another view.")
        return widget.mrmlSliceNode()

    def _stop(self) -> None:
        if self.work.operation:
            self.work.cancel()
        else:
            self.correct.stopPlacing()

    def _useCase(self, case: Case | None) -> None:
        """Work on what was loaded from the work list; with None, let go of it."""
        parameters = self._parameters
        if parameters is None:
            return
        parameters.segmentation = None
        parameters.scan = case.scan if case is not None else None
        parameters.segmentation = case.segmentation if case is not None else None
        self.follow()
        if case is not None and case.doubt is not None:
            self.doubt.use(case.scan, case.doubt)

    def _onModel(self, id: str) -> None:
        if self._parameters is not None:
            self._parameters.model = id
        self.updateSoon()

    def _onClickModel(self, id: str) -> None:
        if self._parameters is not None:
            self._parameters.clickModel = id
        self.updateSoon()

    def _setUp(self) -> None:
        try:
            Requirements.install(self._requirements)
        except Exception as error:  # noqa: BLE001 - pip may fail in any way; the user is told
            self.work.failWith(error)
        self._lacking = None
        self.updateSoon()

    def _move(self, place: Place.Place) -> None:
        Place.save(place)
        self.work.cancel()
        self.work.engine.move(place)
        self._lacking = None
        self.enter()
        self.work.tell(Message(_("The engine is used from there with the next click.")))

    # What comes of it

    def _onSuggested(self, suggestion: Suggestion) -> None:
        if suggestion.uncertainty is not None:
            self.doubt.use(self.work.scanNode, suggestion.uncertainty)

    def _onAccepted(self, suggestion: Suggestion, written: list[Written]) -> None:
        self.doubt.learn(suggestion.proposals)
        if suggestion.prompted and not self._parameters.keepPrompts:
            self.correct.forget(suggestion.prompted)
        if not self.editor.segmentId and written:
            self.editor.select(written[0].segment_id)
        self.updateSoon()

    def _fillModels(self) -> None:
        parameters = self._parameters
        if parameters is None or not self.models.known:
            return
        state = (self.models.version, parameters.model, parameters.clickModel)
        if state != self._modelsShown:
            self._modelsShown = state
            self.model.fill(parameters.model)
            self.correct.fill(parameters.clickModel)
