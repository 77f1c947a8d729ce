"""Where the files that come with the program are: bundled model packages, the catalogue, colour tables."""

from __future__ import annotations

from pathlib import Path


def resource(*parts: str) -> Path:
    """The path of a bundled file: inside the package when installed, beside it in a checkout."""
    here = Path(__file__).parent
    root = here / "Resources"
    return (root if root.is_dir() else here.parent / "Resources").joinpath(*parts)
