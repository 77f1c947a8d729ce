"""Take files out of a zip that may have been made to do harm: everything is checked before anything is written."""

from __future__ import annotations

import hashlib
import os
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.models.catalogue import is_device_of_windows, size_text
from SSLSegmentationLib.models.download import check_room
from SSLSegmentationLib.progress import Tick, silent

CHUNK = 2**20
_MOST_MEMBERS = 10_000
_MOST_GROWTH = 20  # weights hardly shrink in a zip, so an archive that grows more than this is a bomb
_SMALL = 64 * 2**20
_LEFT_BY_MACOS = ("__MACOSX/", ".DS_Store")


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """An archive for reading; whatever is wrong with its bytes becomes a sentence with its name."""
    try:
        archive = zipfile.ZipFile(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}): correct its path.") from None
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise InputError(f"{path.name} is not a zip file ({error}): copy or download it again.") from None
    try:
        with archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise InputError(f"{path.name} is damaged ({error}): copy or download it again.") from None


def members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Path and entry of every file in an archive; an archive with anything else than plain files is refused."""
    name = Path(str(archive.filename)).name
    files: dict[str, zipfile.ZipInfo] = {}
    seen: set[str] = set()
    if len(archive.infolist()) > _MOST_MEMBERS:
        raise InputError(f"{name} holds more than {_MOST_MEMBERS} files, too many for a model: nothing was unpacked.")
    for info in archive.infolist():
        path = safe_path(info.orig_filename.removesuffix("/"), name)
        kind = stat.S_IFMT(info.external_attr >> 16)
        fact = ""
        if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
            fact = "is a link or a device"
        elif info.flag_bits & 0x1:
            fact = "is encrypted"
        elif info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            fact = "is compressed in an unusual way"
        if fact:
            raise InputError(f'{name}: "{path}" {fact}, which no model needs: nothing was unpacked.')
        if info.is_dir():
            continue
        folded = _folded(path)
        if folded in seen:
            raise InputError(f'{name}: "{path}" is in it twice: nothing was unpacked.')
        seen.add(folded)
        files[path] = info
    for path in files:
        for parent in list(PurePosixPath(path).parents)[:-1]:
            if _folded(str(parent)) in seen:
                raise InputError(f'{name}: "{parent}" is a file and a folder: nothing was unpacked.')
    return files


def safe_path(path: str, where: str) -> str:
    """A path inside a folder, as written, if it means the same on every system and cannot lead out of the folder."""
    parts = path.split("/")
    wrong = (
        not path
        or len(path) > 500
        or not path.isprintable()
        or any(character in '\\:*?"<>|' for character in path)
        or any(part in {"", ".", ".."} or part[-1] in ". " or len(part.encode()) > 255 for part in parts)
        or any(is_device_of_windows(part) for part in parts)
    )
    if wrong:
        shown = ascii(path[:80])
        raise InputError(
            f"{where} holds a file with the name {shown}, which is not safe on every system: it is refused."
        )
    return path


def extract(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path, watch: Callable[[int], None] = lambda count: None
) -> str:
    """Write one file to `target` and return its SHA-256; never more bytes than the archive declares for it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    count = 0
    with archive.open(info) as source, target.open("xb") as file:
        while chunk := source.read(CHUNK):
            count += len(chunk)
            if count > info.file_size:
                raise zipfile.BadZipFile(f"{info.filename} is longer than declared")
            file.write(chunk)
            digest.update(chunk)
            watch(len(chunk))
        file.flush()
        os.fsync(file.fileno())
    if count != info.file_size:
        raise zipfile.BadZipFile(f"{info.filename} is shorter than declared")
    return digest.hexdigest()


def extract_package(path: Path, folder: Path, tick: Tick = silent) -> None:
    """Unpack the zip of a model package into `folder`, without the folder that may lie around it in the zip."""
    with opened(path) as archive:
        files = {
            name: info
            for name, info in members(archive).items()
            if not name.startswith(_LEFT_BY_MACOS[0]) and Path(name).name != _LEFT_BY_MACOS[1]
        }
        total = sum(info.file_size for info in files.values())
        if total > _MOST_GROWTH * path.stat().st_size + _SMALL:
            raise InputError(
                f"{path.name} would grow to {size_text(total)}, which no weights do: nothing was unpacked."
            )
        check_room(folder.parent, total, path.name)
        tops = {name.split("/")[0] for name in files}
        around = tops.pop() + "/" if len(tops) == 1 and "configs/metadata.json" not in files else ""
        if around + "configs/metadata.json" not in files:
            raise InputError(
                f"{path.name} holds no model package: there has to be a configs/metadata.json at its top, or in the "
                "one folder at its top."
            )
        done = 0

        def watch(count: int) -> None:
            nonlocal done
            done += count
            tick(f"Unpacking {path.name}", done / max(total, 1))

        for name, info in files.items():
            extract(archive, info, folder / name.removeprefix(around), watch)


def _folded(path: str) -> str:
    """What two paths share that some file system takes for the same."""
    return unicodedata.normalize("NFC", path).casefold()
