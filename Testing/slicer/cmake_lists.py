"""Writes the lists of files that CMake packages: what is not listed does not reach the user.

    python -m Testing.slicer.cmake_lists

Run it after adding, renaming or removing a file of the library, of the module, or of Resources.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[2]
NOTE = "# Written by `python -m Testing.slicer.cmake_lists`, which finds every file.\n"


def wanted() -> dict[Path, str]:
    """The files of lists, with what they ought to say."""
    library, module = ROOT / "SSLSegmentationLib", ROOT / "SSLSegmentation"
    return {
        library / "Files.cmake": NOTE
        + _list("LIBRARY_PYTHON_SCRIPTS", _files(library, "*.py", ROOT))
        + _list("LIBRARY_RESOURCES", _files(ROOT / "Resources", "*", ROOT)),
        module / "Files.cmake": NOTE
        + _list("MODULE_PYTHON_SCRIPTS", _files(module, "*.py", module))
        + _list("MODULE_PYTHON_RESOURCES", _files(module / "Resources", "*", module)),
    }


def _files(folder: Path, pattern: str, relative_to: Path) -> list[str]:
    found = (path for path in folder.rglob(pattern) if path.is_file() and "__pycache__" not in path.parts)
    return sorted(path.relative_to(relative_to).as_posix() for path in found)


def _list(name: str, files: Iterable[str]) -> str:
    return "".join([f"\nset({name}\n", *(f"  {file}\n" for file in files), "  )\n"])


if __name__ == "__main__":
    for path, text in wanted().items():
        path.write_text(text, "utf-8", newline="\n")
