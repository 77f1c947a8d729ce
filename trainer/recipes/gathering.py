"""Folders of cases that are put together from several places: links to real ones, and phantoms beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from SSLSegmentationLib.io.write import write_volume
from SSLSegmentationLib.phantom import abdomen_phantom

_KINDS = ("images", "labels")


def link_cases(source: Path, folder: Path, most: int | None = None) -> list[str]:
    """The names of the first cases of a set, or of all, which are now in the folder as well."""
    files = sorted(path.name for path in (source / "images").glob("*.nii.gz"))[:most]
    for kind in _KINDS:
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for file in files:
            link = folder / kind / file
            if not link.exists():
                link.symlink_to((source / kind / file).resolve())
    return [file.removesuffix(".nii.gz") for file in files]


def add_phantoms(folder: Path, seeds: Sequence[int]) -> list[str]:
    """The names of synthetic abdomens, which are now in the folder."""
    names = [f"phantom_{seed}" for seed in seeds]
    for seed, name in zip(seeds, names, strict=True):
        image, labels = (folder / kind / f"{name}.nii.gz" for kind in _KINDS)
        if not labels.exists():
            for volume, path in zip(abdomen_phantom(seed), (image, labels), strict=True):
                write_volume(volume, path)
    return names
