"""Work list: the cases that were segmented overnight, the most doubtful first, and who looks at which.

Whoever leaves a case with corrections that are in no dataset is asked in the panel what is to become of them; until
then nothing happens, and they stay in the scene unless they were exported.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import qt
from slicer.i18n import tr as _
from SSLSegmentationLib.dataset.provenance import Step, this_user
from SSLSegmentationLib.dataset.worklist import Item, WorkList, made_by
from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.scene.nodes import remove

from SSLSegmentationUI.CaseFiles import Case, Read, loaded, reading
from SSLSegmentationUI.Errand import Errand
from SSLSegmentationUI.ExportSection import ExportSection
from SSLSegmentationUI.Widgets import allow, firstOf
from SSLSegmentationUI.Work import Message, Work

_FOLDER = "SSLSegmentation/WorkList/Folder"
_COLUMNS = (_("Case"), _("Doubt"), _("ml"), _("State"), _("Remarks"))
_STATES = {"open": _("free"), "taken": _("taken"), "done": _("done"), "skipped": _("skipped")}
_MOST_SHOWN = 500


class WorkListSection:
    def __init__(self, ui: Any, work: Work, export: ExportSection, use: Callable[[Case | None], None]) -> None:
        """`use` makes a case what is worked on, or with None lets go of the one that was."""
        self._ui = ui
        self._work = work
        self._export = export
        self._use = use
        self._item: Item | None = None
        self._by = ""
        self._case: Case | None = None
        self._then: Callable[[], None] | None = None
        self._asking = False
        self._read: tuple[str, str] = ("", "")
        self._errand: Errand | None = None
        ui.caseList.setHeaderLabels(list(_COLUMNS))
        ui.workListPathEdit.currentPath = str(qt.QSettings().value(_FOLDER, "") or "")
        ui.workListPathEdit.connect("currentPathChanged(QString)", self._onFolder)
        ui.workListSection.connect("contentsCollapsed(bool)", self._onCollapsed)
        ui.caseList.connect("itemDoubleClicked(QTreeWidgetItem*,int)", lambda item, column: self._onCase(item.text(0)))
        ui.nextCaseButton.connect("clicked()", self._openNext)
        ui.doneCaseButton.connect("clicked()", lambda: self._leave(lambda: self._finish("done")))
        ui.skipCaseButton.connect("clicked()", lambda: self._leave(lambda: self._finish("skipped")))
        ui.giveBackCaseButton.connect("clicked()", lambda: self._leave(self._giveBack))
        ui.exportFirstButton.connect("clicked()", self._onExportFirst)
        ui.keepOpenButton.connect("clicked()", self._goOn)
        ui.stayButton.connect("clicked()", self._stay)

    def update(self, busy: str) -> None:
        ui = self._ui
        if self._case is not None and self._case.scan.GetScene() is None:
            self._forget()
        here = "" if self._item is not None else _("No case of the work list is open: press Next case.")
        still = _("Press Done, Skip or Give back first: a case is still open.") if self._item is not None else ""
        folder = "" if self._folder() else _("Choose the folder that sslseg batch has written.")
        answer = _("Answer below first.") if self._asking else ""
        ui.unexportedFrame.visible = self._asking
        allow(ui.nextCaseButton, firstOf(busy, folder, still))
        for button in (ui.doneCaseButton, ui.skipCaseButton, ui.giveBackCaseButton):
            allow(button, firstOf(busy, here, answer))
        for button in (ui.exportFirstButton, ui.keepOpenButton):
            allow(button, busy)
        allow(ui.caseList, busy)

    def end(self) -> None:
        """The module goes away."""
        if self._errand is not None:
            self._errand.drop()

    def _forget(self) -> None:
        """The scene was closed, or the scan removed. The case is still this reader's: Next case opens it again."""
        self._then, self._item, self._case, self._asking = None, None, None, False

    # The list

    def read(self) -> None:
        """Look at the folder again."""
        if self._errand is not None:
            self._errand.drop()
        self._errand = Errand(self._reading(), None, self._tellOfFolder).start()

    def _reading(self) -> Generator[None, Any, None]:
        tree, folder = self._ui.caseList, self._folder()
        if not folder:
            tree.clear()
            return
        items = yield from WorkList(folder).reading()
        tree.clear()
        # What is still to be done first: thousands of reviewed cases would only be in the way.
        items.sort(key=lambda item: item.state in ("done", "skipped"))
        for number, item in enumerate(items[:_MOST_SHOWN]):
            tree.addTopLevelItem(_row(item, self._item is not None and item.name == self._item.name))
            if number % 50 == 49:
                yield
        for column in range(len(_COLUMNS) - 1):
            tree.resizeColumnToContents(column)
        self._showNote(items)

    def _showNote(self, items: list[Item]) -> None:
        reviewed = sum(item.state in ("done", "skipped") for item in items)
        said = _("{reviewed} of {count} cases are reviewed.").format(reviewed=reviewed, count=len(items))
        if self._item is not None:
            said = _("Open: {name}.").format(name=self._item.name) + " " + said
        self._ui.caseNoteLabel.text = said

    def _tellOfFolder(self, error: Exception) -> None:
        self._ui.caseList.clear()
        self._ui.caseNoteLabel.text = str(error) if isinstance(error, InputError) else ""
        if not isinstance(error, InputError):
            self._work.failWith(error)

    def _folder(self) -> str:
        return self._ui.workListPathEdit.currentPath.strip()

    def _onFolder(self, path: str) -> None:
        qt.QSettings().setValue(_FOLDER, path)
        self.read()
        self._work.tell(self._work.message)

    def _onCollapsed(self, collapsed: bool) -> None:
        if not collapsed:
            self.read()
            self._work.tell(self._work.message)  # what is folded out is all shown at first

    # Opening a case

    def _me(self) -> str:
        return self._export.by or this_user() or "unknown"

    def _openNext(self) -> None:
        def claimed(items: WorkList, by: str) -> Item:
            item = items.next(by)
            if item is None:
                raise InputError(_("Every case is reviewed, or somebody has it open: look again later."))
            return item

        self._claim(claimed)

    def _onCase(self, name: str) -> None:
        if self._work.operation or (self._item is not None and self._item.name == name):
            return
        if self._item is not None:
            self._work.tell(Message(_("Press Done, Skip or Give back first: a case is still open."), True))
            return
        self._claim(lambda items, by: items.take(name, by))

    def _claim(self, claim: Callable[[WorkList, str], Item]) -> None:
        by = self._me()
        try:
            items = WorkList(self._folder())
            item = claim(items, by)
        except (InputError, OSError) as error:
            self._work.failWith(_told(error))
            self.read()
            return

        def giveBack() -> None:
            # Nobody looks at it, so that others may.
            items.give_back(item.name, by)
            self.read()

        def steps(progress: Callable[[str, float], None]) -> Generator[Any, Any, Read]:
            progress(_("Loading {name}").format(name=item.name), 0.0)
            try:
                return (yield from reading(item))
            except BaseException:
                giveBack()
                raise

        def done(read: Read) -> None:
            try:
                case = loaded(item, read)
            except InputError as error:
                giveBack()
                self._work.failWith(error)
                return
            self._item, self._by, self._case = item, by, case
            self._use(case)
            made = made_by(item.folder)
            step = Step("segment" if made.model else "import", "accepted", model=made.model)
            self._work.journal.imported(step, made.labels, made.absent)
            flags = "".join(f"; {flag}" for flag in item.flags)
            said = _("{name} is open: {doubt:.1f} % doubtful{flags}.")
            said = said.format(name=item.name, doubt=100 * item.doubt, flags=flags)
            self._work.tell(Message(said))
            self.read()

        self._work.run("Open", steps, done)

    # Leaving a case

    def _leave(self, then: Callable[[], None]) -> None:
        """Do something that ends the work on a case, once it is clear what becomes of the corrections."""
        if self._isWorkedOn():

            def looked(_: Any) -> None:
                if self._work.journal.isUnexported:
                    self._ask(then)
                else:
                    self._then = then
                    self._goOn(keep=False)

            self._errand = Errand(self._work.journal.looking(), looked, self._work.failWith).start()
        else:
            self._then = then
            self._goOn()

    def _isWorkedOn(self) -> bool:
        return self._case is not None and self._work.segmentationNode is self._case.segmentation

    def _ask(self, then: Callable[[], None]) -> None:
        self._then, self._asking = then, True
        self._ui.unexportedLabel.text = _("Your corrections of {name} are in no dataset yet.").format(
            name=self._item.name
        )
        self._work.tell(Message(""))

    def _onExportFirst(self) -> None:
        button = self._ui.exportButton
        if not button.enabled:
            self._work.tell(Message(button.toolTip, True))
            return
        self._export.export(lambda: self._goOn(keep=False))

    def _goOn(self, keep: bool = True) -> None:
        """What was to be done; `keep` leaves the nodes in the scene, since they hold what is nowhere else."""
        said, then, case = self._work.message, self._then, self._case
        self._stay()
        if then is None:
            return
        try:
            then()
        except (InputError, OSError) as error:
            self._work.failWith(_told(error))
            return
        self._item = self._case = None
        self._use(None)
        if case is not None and not keep:
            for node in (case.segmentation, case.scan):
                remove(node)
        elif case is not None and case.segmentation.GetDisplayNode() is not None:
            case.segmentation.GetDisplayNode().SetVisibility(False)
        self._work.tell(said)
        self.read()

    def _stay(self) -> None:
        self._then, self._asking = None, False
        self._work.tell(self._work.message)

    def _finish(self, state: Any) -> None:
        WorkList(self._folder()).finish(self._item.name, self._by, state)

    def _giveBack(self) -> None:
        WorkList(self._folder()).give_back(self._item.name, self._by)


def _row(item: Item, isOpen: bool) -> Any:
    row = qt.QTreeWidgetItem()
    state = _STATES[item.state] if not item.by else f"{_STATES[item.state]} ({item.by})"
    flags = "; ".join(item.flags)
    texts = (item.name, f"{100 * item.doubt:.1f} %", f"{item.ml:.0f}", _("open here") if isOpen else state, flags)
    for column, text in enumerate(texts):
        row.setText(column, text)
        row.setToolTip(column, flags or item.name)
    return row


def _told(error: Exception) -> Exception:
    if isinstance(error, OSError):
        return InputError(f"The work list cannot be changed ({error.strerror}): see that you may write to its folder.")
    return error
