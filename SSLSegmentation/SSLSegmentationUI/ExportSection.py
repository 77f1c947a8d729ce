"""Export for training: what was corrected becomes a case of a dataset, with the history of how it came about."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _
from SSLSegmentationLib.dataset.dataset import Case
from SSLSegmentationLib.dataset.handing import Parcel, handing_over
from SSLSegmentationLib.dataset.provenance import Provenance, this_user
from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.scene.exporting import flattening, visible_segments
from SSLSegmentationLib.scene.names import label_of
from SSLSegmentationLib.scene.segments import segment_of
from SSLSegmentationLib.scene.volumes import volume_of
from SSLSegmentationLib.volume import Volume

from SSLSegmentationUI.Program import running
from SSLSegmentationUI.Widgets import allow, firstOf
from SSLSegmentationUI.Work import Message, Work

_FOLDER, _BY = "SSLSegmentation/Export/Folder", "SSLSegmentation/Export/By"
VISIBLE, ALL = 0, 1
_FEW = 4


class ExportSection:
    def __init__(self, ui: Any, work: Work, doubt: Callable[[], Volume | None], changed: Callable[[], None]) -> None:
        """`doubt` gives what is known of the doubt about the scan; `changed` is called when the user has chosen."""
        self._ui = ui
        self._work = work
        self._doubt = doubt
        self._changed = changed
        settings = qt.QSettings()
        ui.datasetPathEdit.currentPath = str(settings.value(_FOLDER, "") or "")
        ui.exportByEdit.text = str(settings.value(_BY, "") or "") or this_user()
        ui.datasetPathEdit.connect("currentPathChanged(QString)", self._onFolder)
        ui.exportByEdit.connect("textChanged(QString)", self._onBy)
        ui.exportSegmentsSelector.connect("currentIndexChanged(int)", lambda index: self._showChoice())
        ui.exportButton.connect("clicked()", self.export)

    @property
    def by(self) -> str:
        return self._ui.exportByEdit.text.strip()

    def update(self, obstacle: str) -> None:
        ui = self._ui
        self._showChoice()
        chosen, folder = self._chosen(), ui.datasetPathEdit.currentPath.strip()
        allow(
            ui.exportButton,
            firstOf(
                obstacle,
                "" if chosen else _("There is no segment to export: segment the scan first, or show a segment."),
                "" if folder else _("Choose the folder of the dataset first; a new one is made."),
            ),
        )
        allow(ui.exportDoubtCheckBox, "" if self._doubt() is not None else _("Nothing is known of doubt in this scan."))

    def export(self, then: Callable[[], None] = lambda: None) -> None:
        """Export what is worked on; `then` is called when it is in the dataset."""
        work, told = self._work, {}

        def done(answer: dict[str, Any]) -> None:
            work.tell(Message(_said(answer, **told)))
            then()

        work.run("Export", lambda progress: self._steps(progress, told), done)

    def _steps(self, progress: Callable[[str, float], None], told: dict[str, Any]) -> Generator[Any, Any, Any]:
        work, journal = self._work, self._work.journal
        scanNode, node = work.scanNode, work.segmentationNode
        segmentIds, folder = self._chosen(), Path(self._ui.datasetPathEdit.currentPath.strip()).expanduser()
        if not folder.is_absolute():
            raise InputError(f"{folder} does not say where it lies: choose the folder of the dataset with the button.")
        doubt = self._doubt() if self._ui.exportDoubtCheckBox.checked else None
        by = self.by
        progress(_("Looking at the segments"), 0.0)
        yield from journal.looking()
        history = journal.history
        byHand = yield from journal.handmade(segmentIds)
        segments = [segment_of(node, one) for one in segmentIds]
        labels = tuple(label_of(segment, value) for value, segment in enumerate(segments, start=1))
        everything = {one: node.GetSegmentation().GetSegment(one).GetName() for one in _ids(node)}
        provenance = Provenance(
            model=history.model,
            history=history.steps(everything),
            left_out=history.left_out,
            by_hand=byHand,
            by=by,
        )
        key = history.key
        flat = yield from flattening(node, scanNode, segmentIds)
        names = (*labels, *_absent(history.expected, history.absent, set(everything.values()), len(labels)))
        scan = volume_of(scanNode)
        case = Case(scan, scan.with_voxels(flat.voxels, name="labels"), names, provenance, doubt)
        told |= {"labels": labels, "shared": flat.shared, "absent": names[len(labels) :]}
        progress(_("Writing"), 0.0)
        with tempfile.TemporaryDirectory(
            dir=slicer.app.temporaryPath, prefix="case-", ignore_cleanup_errors=True
        ) as parcel:
            yield from handing_over(Path(parcel), Parcel(case, folder, history.expected))
            progress(_("Compressing"), 0.0)
            answer = yield running("main", "SSLSegmentationLib.dataset.handing", [parcel])
        journal.exported(key)
        return answer

    def _chosen(self) -> list[str]:
        node = self._work.segmentationNode
        if node is None or self._work.scanNode is None:
            return []
        return visible_segments(node) if self._ui.exportSegmentsSelector.currentIndex == VISIBLE else _ids(node)

    def _showChoice(self) -> None:
        node, chosen = self._work.segmentationNode, self._chosen()
        if not chosen:
            self._ui.exportNoteLabel.text = ""
            return
        names = [segment_of(node, one).GetName() for one in chosen]
        hidden = len(_ids(node)) - len(chosen)
        said = _("Goes in: {names}.").format(names=_some(names))
        if hidden:
            said += " " + _("Stays out, since it is hidden: {count}.").format(count=hidden)
        self._ui.exportNoteLabel.text = said

    def _onFolder(self, path: str) -> None:
        qt.QSettings().setValue(_FOLDER, path)
        self._changed()

    def _onBy(self, name: str) -> None:
        qt.QSettings().setValue(_BY, name)


def _ids(node: Any) -> list[str]:
    return list(node.GetSegmentation().GetSegmentIDs())


def _absent(expected: Sequence[Label], absent: Sequence[str], there: set[str], count: int) -> tuple[Label, ...]:
    """What the model has looked for and not found, and nobody has drawn: it counts as not there."""
    missing = [label for label in expected if label.name in absent and label.name not in there]
    return tuple(
        Label(count + n, label.name, label.color, label.terminology) for n, label in enumerate(missing, start=1)
    )


def _said(answer: dict[str, Any], labels: Sequence[Label], shared: int, absent: Sequence[Label]) -> str:
    segments = _("1 segment") if len(labels) == 1 else _("{count} segments").format(count=len(labels))
    said = [
        _("Exported as {name}, revision {revision}, with {segments}.").format(
            name=answer["name"], revision=answer["revision"], segments=segments
        )
    ]
    if absent:
        names = _some([label.name for label in absent])
        said.append(_("Noted as looked for and not there: {names}.").format(names=names))
    if shared:
        said.append(
            _("{count} voxels lie in several segments: they went to the first of them in the list.").format(
                count=shared
            )
        )
    return " ".join(said)


def _some(names: Sequence[str]) -> str:
    if len(names) <= _FEW:
        return ", ".join(names)
    return _("{names} and {count} more").format(names=", ".join(names[: _FEW - 1]), count=len(names) - _FEW + 1)
