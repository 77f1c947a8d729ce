"""The catalogue: which models there are, what they segment, under which licence, and where they come from.

The catalogue of the program is Resources/Models.json. A hospital can add a file of its own, in the same format, for the
models that it trained or keeps on a server of its own.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.io.text import text_of
from SSLSegmentationLib.models.read import WEIGHTS_ENDINGS, from_plain
from SSLSegmentationLib.resources import resource

FORMAT = 1
VARIABLE = "SSLSEG_CATALOGUE"

Kind = Literal["package", "click", "sam", "sam2"]
"""package: a package folder that segments; click: one that answers prompts; sam, sam2: weights for the networks of
segment-anything and of sam2. Packages are downloaded as zip files."""

FOLDERS = ("package", "click")
"""The kinds that are whole folders, where the others are single weights files."""

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_HASH = re.compile(r"[0-9a-f]{64}")
_DEVICES_OF_WINDOWS = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


@dataclass(frozen=True)
class Licence:
    name: str
    """SPDX identifier, or the name the licence gives itself."""
    link: str = ""
    commercial: bool | None = None
    """Whether commercial use is allowed; None if nobody has looked."""
    note: str = ""


@dataclass(frozen=True)
class MeasuredTime:
    """A time that a script of Testing/benchmarks printed, with the machine it ran on."""

    what: str
    machine: str
    seconds: float


@dataclass(frozen=True)
class Entry:
    id: str
    title: str
    segments: str
    """What it segments, in a few words."""
    kind: Kind
    licence: Licence
    source: str
    """Where the facts of this entry come from."""
    modality: str = ""
    """DICOM's code of what it was trained on (CT, MR); empty if any."""
    address: str | None = None
    """Where the file itself can be downloaded; None if only people can get it, from `page`."""
    page: str = ""
    file: str = ""
    """Name of the weights file; empty for packages."""
    bytes: int | None = None
    sha256: str | None = None
    pinned_on_first_download: bool = False
    """The mark of an entry without a hash: the first download on a machine decides what later ones have to be."""
    config: str = ""
    """What segment-anything ("vit_b") or sam2 (the name of a YAML file) calls the network."""
    image_size: int | None = None
    """Side of the square image the network sees."""
    times: tuple[MeasuredTime, ...] = ()


def load_catalogue(own: Path | str | None = None) -> dict[str, Entry]:
    """Id and entry of every model of the program, and of the user's own catalogue if there is one.

    `own` is its path; without one, the environment variable SSLSEG_CATALOGUE names it. An own entry takes the place of
    the program's with the same id, so that a hospital can offer the same file at another address.
    """
    entries = {entry.id: entry for entry in read_catalogue(resource("Models.json"))}
    own = own or os.environ.get(VARIABLE) or None
    for entry in read_catalogue(Path(own).expanduser()) if own else ():
        known = entries.get(entry.id)
        if known and known.sha256:
            if entry.sha256 not in (None, known.sha256):
                raise InputError(
                    f'{Path(str(own)).name}: "{entry.id}" is another file (by its SHA-256) than the model of that name '
                    "that the program knows: give it an id of its own."
                )
            entry = replace(entry, sha256=known.sha256, pinned_on_first_download=False)  # noqa: PLW2901
        entries[entry.id] = entry
    return entries


def read_catalogue(path: Path) -> list[Entry]:
    """The entries of one catalogue file, all of them checked."""
    data = _read_json(path)
    if not isinstance(data, dict) or set(data) != {"format", "models"} or not isinstance(data["models"], list):
        raise InputError(f'{path.name} is not a catalogue: it has to hold "format" and a list of "models".')
    if data["format"] != FORMAT:
        raise InputError(
            f"{path.name} is a catalogue of format {data['format']!r}, but this program knows format {FORMAT}: "
            "install a newer version."
        )
    entries: list[Entry] = []
    for number, item in enumerate(data["models"], start=1):
        name = item.get("id") if isinstance(item, dict) else None
        where = f"{path.name}, model {number}" + (f' ("{name}")' if isinstance(name, str) else "")
        entry = from_plain(Entry, item, where)
        _check(entry, where)
        if any(entry.id.lower() == other.id.lower() for other in entries):
            raise InputError(f'{where}: the id "{entry.id}" is there twice: give one of them another.')
        entries.append(entry)
    return entries


def is_id(text: str) -> bool:
    """Whether a text can name a model, and with that a folder on every system."""
    return bool(_ID.fullmatch(text)) and not text.endswith(".") and not is_device_of_windows(text)


def is_device_of_windows(name: str) -> bool:
    """Names such as "aux" and "nul.txt", which Windows takes for devices in every folder."""
    return bool(_DEVICES_OF_WINDOWS.fullmatch(name))


def is_hash(text: str) -> bool:
    return bool(_HASH.fullmatch(text))


def check_address(address: str, where: str) -> None:
    """Refuse what is not fetched safely: anything but https, save for http on this very machine."""
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise InputError(f"{where}: {address!r} is not an address: correct it.") from None
    if parts.username or parts.password:
        raise InputError(f"{where}: the address holds a user name or password: remove it, catalogues are not secret.")
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))):
        raise InputError(f"{where}: {address!r} is not fetched, because it does not begin with https://: correct it.")


def is_loopback(host: str) -> bool:
    return host in {"localhost", "::1"} or bool(re.fullmatch(r"127(\.\d{1,3}){3}", host))


def near(name: str, known: Iterable[str]) -> list[str]:
    """The known ids that look most like a name that is none of them."""
    by_lower = {item.lower(): item for item in known}
    matches = difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.5)
    starts = [lower for lower in by_lower if name and (lower.startswith(name.lower()) or name.lower() in lower)]
    return [by_lower[lower] for lower in dict.fromkeys([*matches, *starts])][:4]


def size_text(count: int | None) -> str:
    """Bytes as people say them, in powers of ten as servers and file managers do."""
    if count is None:
        return "unknown"
    for unit, step in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= step:
            value = count / step
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return f"{count} bytes"


def _check(entry: Entry, where: str) -> None:
    packaged = entry.kind in FOLDERS
    weights = Path(entry.file).name == entry.file and entry.file.endswith(WEIGHTS_ENDINGS) and is_id(entry.file)
    texts = (entry.title, entry.segments, entry.source, entry.licence.name)
    problems = (
        ("id", not is_id(entry.id), "has to be letters, digits, dots and dashes"),
        ("title", not all(map(_is_line, texts)), "and segments, source and licence.name need a line of text each"),
        ("licence.link", not entry.licence.link.startswith("https://"), "has to begin with https://"),
        ("licence.commercial", entry.licence.commercial is None, "has to say true or false"),
        ("address", not entry.address and not entry.page, "or page has to say where the model comes from"),
        ("page", bool(entry.page) and not entry.page.startswith("https://"), "has to begin with https://"),
        ("file", not packaged and not weights, "has to be the name of a .pth, .pt or .safetensors file"),
        ("file", packaged and bool(entry.file), "belongs to single weights files, not to packages"),
        ("bytes", entry.bytes is not None and entry.bytes < 1, "has to be above zero"),
        ("sha256", entry.sha256 is not None and not is_hash(entry.sha256), "has to be 64 digits in lower case, 0 to f"),
        (
            "sha256",
            (entry.sha256 is None) != entry.pinned_on_first_download,
            'has to be there, or to be null with "pinned_on_first_download" set to true',
        ),
        ("config", not packaged and not entry.config, "has to name the network"),
        ("image_size", not packaged and not 1 <= (entry.image_size or 0) <= 8192, "has to be from 1 to 8192"),
        ("times", not all(time.seconds > 0 for time in entry.times), "have to be above zero seconds"),
    )
    for key, wrong, needed in problems:
        if wrong:
            raise InputError(f'{where}: "{key}" {needed}.')
    if entry.address:
        check_address(entry.address, where)


def _is_line(text: str) -> bool:
    return bool(text.strip()) and text.isprintable() and len(text) <= 1000


def _read_json(path: Path) -> Any:
    text = text_of(path, path.name, f"correct the catalogue {path}, or its path.")
    try:
        return json.loads(text, object_pairs_hook=_without_doubles)
    except RecursionError:
        raise InputError(f"{path.name} is nested too deeply for a catalogue.") from None
    except ValueError as error:
        raise InputError(f"{path.name} is not JSON ({error}): correct it there.") from None


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError("a key is there twice in one table")
    return table
