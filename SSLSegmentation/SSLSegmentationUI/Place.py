"""Where the engine runs: in this Slicer's Python, in another one on this machine, or on a server.

It is a setting of the user, not of the scene: tokens and paths must not travel with a scene that is given away.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import slicer
from SSLSegmentationLib.errors import InputError

SLICER, ENVIRONMENT, SERVER = "slicer", "environment", "server"

_SETTINGS = "SSLSegmentation/Engine/"
# As SSLSegmentationLib.engine.launch starts it: without the working folder, and with the library looked for last.
_PROGRAM = (
    "import sys; sys.path.append(sys.argv[1]); from SSLSegmentationLib.engine.serve import with_parent; with_parent()"
)


@dataclass(frozen=True)
class Place:
    kind: str = SLICER
    python: str = ""
    """The interpreter, or the folder, of an environment."""
    address: str = ""
    token: str = ""
    certificate: str = ""
    """A file with the certificate of the authority that vouches for the server, if the system does not know it."""

    @property
    def isRemote(self) -> bool:
        return self.kind == SERVER

    def command(self) -> list[str]:
        import SSLSegmentationLib

        library = str(Path(SSLSegmentationLib.__file__).parents[1])
        return [self.interpreter(), "-P", "-c", _PROGRAM, library]

    def interpreter(self) -> str:
        if self.kind == SLICER:
            # Slicer puts PythonSlicer into its path; it sets up what Slicer's Python needs.
            return shutil.which("PythonSlicer") or sys.executable
        path = Path(self.python).expanduser()
        inside = ("bin/python", "Scripts/python.exe", "python.exe")
        found = path if path.is_file() else next((path / part for part in inside if (path / part).is_file()), None)
        if not self.python or found is None:
            raise InputError(
                f"{self.python or 'Nothing'} is no Python environment: choose its folder or its python, under Advanced."
            )
        return str(found)

    def environment(self) -> Mapping[str, str] | None:
        """The variables for it; None for those of Slicer, which another Python must not inherit."""
        if self.kind == SLICER:
            return None
        return dict(slicer.util.startupEnvironment()) | _chosenFolders()

    def server(self) -> tuple[str, str]:
        """Address and token, if they can be those of an engine."""
        parts = urlsplit(self.address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            said = self.address or "Nothing"
            raise InputError(f"{said} is not the address of an engine: give one such as https://gpu.example:8443.")
        if not self.token:
            raise InputError("The engine wants a token: paste the one that it was started with, under Advanced.")
        return self.address, self.token


def load() -> Place:
    settings = slicer.app.userSettings()

    def read(name: str) -> str:
        return str(settings.value(_SETTINGS + name, "") or "")

    kind = read("Place")
    known = kind if kind in (SLICER, ENVIRONMENT, SERVER) else SLICER
    return Place(known, read("Python"), read("Address"), read("Token"), read("Certificate"))


def save(place: Place) -> None:
    settings = slicer.app.userSettings()
    for name, value in (
        ("Place", place.kind),
        ("Python", place.python),
        ("Address", place.address),
        ("Token", place.token),
        ("Certificate", place.certificate),
    ):
        settings.setValue(_SETTINGS + name, value)


def _chosenFolders() -> dict[str, str]:
    """Where models are, if Slicer was told."""
    return {name: os.environ[name] for name in ("SSLSEG_MODELS",) if name in os.environ}
