"""One worker of a batch: while a scan is segmented, the next is read and the one before is written.

So at most three scans are in memory, however long the list is, and a network that is kept busy never waits for disks.
A scan's results appear in its folder all at once, or not at all.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

from SSLSegmentationLib.commands.archive import Scan
from SSLSegmentationLib.commands.results import REPORT, SEGMENTATION, SHEET, UNCERTAINTY, report_of
from SSLSegmentationLib.errors import Cancelled, InputError
from SSLSegmentationLib.volume import Volume

if TYPE_CHECKING:
    from SSLSegmentationLib.inference.segment import Segmentation, Settings
    from SSLSegmentationLib.models.package import ModelPackage

WRITING = ".writing-"
_DECISIVE = ("overlap", "doubt", "passes", "crop_to_body")


@dataclass(frozen=True)
class Outcome:
    name: str
    state: Literal["done", "failed"]
    reason: str = ""
    seconds: float = 0.0


def work(
    scans: Iterable[Scan],
    package: ModelPackage,
    settings: Settings,
    out: Path,
    *,
    sheets: bool = False,
    begin: Callable[[Scan], None] = lambda scan: None,
) -> Iterator[Outcome]:
    """Segment scans one after the other. `begin` is told of each before the network sees it.

    What is wrong with a scan is its outcome, and the next one follows.
    """
    from SSLSegmentationLib.inference.segment import Segmenter
    from SSLSegmentationLib.models.read import package_hash

    segment = Segmenter(package, settings)
    made_by = fingerprint(package_hash(package), settings)
    coming = iter(scans)
    with ThreadPoolExecutor(1, "reader") as reader, ThreadPoolExecutor(1, "writer") as writer:
        read = _next(coming, reader)
        written: Future[Outcome] | None = None
        while read is not None:
            scan, volume = read
            started = perf_counter()
            outcome: Outcome | None = None
            try:
                opened = volume.result()
                read = _next(coming, reader)
                begin(scan)
                found = segment(opened)
            except Cancelled:
                raise
            except Exception as error:  # noqa: BLE001 - one scan's misfortune must not be that of the rest
                outcome = Outcome(scan.name, "failed", said(error), perf_counter() - started)
                if read is not None and read[0] is scan:
                    read = _next(coming, reader)
            if written is not None:
                yield written.result()
                written = None
            if outcome is not None:
                yield outcome
            else:
                written = writer.submit(_write, scan, opened, found, package, out, sheets, made_by, started)
                del opened, found
        if written is not None:
            yield written.result()


def said(error: BaseException) -> str:
    """What a failure is called in the list at the end: our own sentences as they are, others with their kind."""
    text = " ".join(str(error).split())[:400]
    return text if isinstance(error, InputError) else f"{type(error).__name__}: {text}".removesuffix(": ")


def _next(scans: Iterator[Scan], reader: ThreadPoolExecutor) -> tuple[Scan, Future[Volume]] | None:
    from SSLSegmentationLib.io.read import read_volume

    scan = next(scans, None)
    return None if scan is None else (scan, reader.submit(read_volume, scan.path, series=scan.series))


def _write(
    scan: Scan,
    volume: Volume,
    found: Segmentation,
    package: ModelPackage,
    out: Path,
    sheets: bool,
    made_by: dict[str, Any],
    started: float,
) -> Outcome:
    from SSLSegmentationLib.io.segmentation import write_segmentation
    from SSLSegmentationLib.io.write import write_volume
    from SSLSegmentationLib.report.report import write_report
    from SSLSegmentationLib.report.sheet import write_sheet

    try:
        report: dict[str, Any] = report_of(volume, package, found)
        report["made_by"] = made_by
        report["source"] = {"path": str(scan.path), "series": scan.series, "stamp": list(scan.stamp)}
        with tempfile.TemporaryDirectory(prefix=WRITING, dir=out) as made:
            folder = Path(made) / scan.name
            folder.mkdir()
            write_segmentation(folder / SEGMENTATION, found.labels, package.labels)
            if found.uncertainty is not None:
                write_volume(found.uncertainty, folder / UNCERTAINTY)
            if sheets:
                write_sheet(folder / SHEET, volume, found.labels, found.uncertainty, package.labels, title=scan.name)
            write_report(folder / REPORT, report)
            _put(folder, out / scan.name, Path(made))
    except Exception as error:  # noqa: BLE001 - as above
        return Outcome(scan.name, "failed", said(error), perf_counter() - started)
    return Outcome(scan.name, "done", "", perf_counter() - started)


def _put(folder: Path, target: Path, aside: Path) -> None:
    """Rename a folder into its place; what was there is gone only when the new one is whole."""
    if target.exists():
        os.rename(target, aside / "before")
    os.rename(folder, target)


def sweep(out: Path) -> None:
    """Remove what a killed batch has left half-written."""
    for left in out.glob(f"{WRITING}*"):
        before, names = left / "before", [one for one in left.iterdir() if one.name != "before"]
        if before.is_dir() and names and not (out / names[0].name).exists():
            os.rename(before, out / names[0].name)  # killed between the two renamings
        shutil.rmtree(left, ignore_errors=True)


def fingerprint(weights_sha256: str, settings: Settings) -> dict[str, Any]:
    """What decides how a result looks; device and backend are a matter of speed."""
    chosen = asdict(settings)
    return {"weights_sha256": weights_sha256, **{name: chosen[name] for name in _DECISIVE}}
