"""The plan of a training: everything about data and network that a user may want to change, and a first proposal."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np

from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.models.package import IntensityRule, Preprocessing, Sliding
from trainer.data.augment import Augmentation
from trainer.data.fingerprint import Fingerprint

Budget = Literal["cpu", "gpu"]

_STEP = 16  # four poolings halve a side four times
_UPRIGHT = ("ASR", "RSA", "RAS")  # by the axis along which slices were acquired, which comes last: R, A or S
_ANISOTROPIC = 3.0


@dataclass(frozen=True)
class Plan:
    name: str
    data: Path
    modality: str
    """DICOM's code, for scans that do not say theirs."""
    labels: tuple[Label, ...]
    """In the order of the classes: class c is labels[c - 1], and 0 is the background."""
    preprocessing: Preprocessing
    patch: tuple[int, int, int]
    batch: int
    dims: Literal[2, 3]
    network: dict[str, Any]
    augmentation: Augmentation = field(default_factory=Augmentation)
    foreground: float = 0.67
    """Part of the patches that surely show a labelled structure."""
    overlap: float = 0.5
    padding: Literal["zero", "edge"] = "zero"
    background: tuple[int, ...] = ()
    """Values in the label files that are not learnt."""
    keep_surest: tuple[int, ...] = ()
    """Values of labels of which only the parts count that the network is surest of, in judging and in use."""
    seed: int = 0

    @property
    def classes(self) -> int:
        """With the background."""
        return len(self.labels) + 1

    @property
    def sliding(self) -> Sliding:
        return Sliding(self.patch, self.overlap, "gaussian", self.padding)


@dataclass(frozen=True)
class _Room:
    """What a machine can train with in reasonable time."""

    patch: int
    """Voxels."""
    side: int
    """Of a flat patch."""
    batch: int
    """Voxels in all patches of a batch."""
    features: tuple[int, ...]


_ROOMS: dict[Budget, _Room] = {
    "cpu": _Room(64**3, 192, 2 * 64**3, (16, 16, 32, 64, 128, 16)),
    "gpu": _Room(112 * 112 * 96, 320, 4 * 112 * 112 * 96, (32, 32, 64, 128, 256, 32)),
}
_MOST_PATCHES = {2: 24, 3: 8}
_MOST_TO_COVER = 64  # patches that a scan may need, side by side; a finer grid would show too little at once


def propose(
    fingerprint: Fingerprint, *, dims: Literal[2, 3] = 3, budget: Budget = "cpu", name: str | None = None, seed: int = 0
) -> Plan:
    """A plan that trains well enough to start from."""
    room = _ROOMS[budget]
    spacing, thick = _spacing(fingerprint)
    size = np.median([np.array(one.size) * one.spacing for one in fingerprint.facts], axis=0) / spacing
    if dims == 3:
        coarser = float(np.prod(size) / (room.patch * _MOST_TO_COVER)) ** (1 / 3)
        if coarser > 1:
            spacing, size = spacing * coarser, size / coarser
    orientation = _UPRIGHT[thick]
    order = ["RAS".index(letter) for letter in orientation]
    spacing, size = spacing[order], size[order]
    patch = _flat_patch(size, room) if dims == 2 else _patch(size, spacing, room)
    labels = fingerprint.labels
    classes = len(labels) + 1
    network = {"_target_": "SliceUNet", "in_channels": 1, "out_channels": classes}
    if dims == 3:
        network = {"_target_": "BasicUNet", "spatial_dims": 3, "in_channels": 1, "out_channels": classes}
        network["features"] = list(room.features)
    return Plan(
        name=name or fingerprint.folder.name,
        data=fingerprint.folder,
        modality=fingerprint.modality,
        labels=labels,
        preprocessing=Preprocessing(
            orientation,
            tuple(float(f"{mm:.4g}") for mm in spacing),
            _intensity(fingerprint),
            crop_to_body=_crop(fingerprint),
        ),
        patch=patch,
        batch=int(np.clip(room.batch // np.prod(patch), 2, _MOST_PATCHES[dims])),
        dims=dims,
        network=network,
        augmentation=Augmentation(mirror=_mirror(fingerprint, dims)),
        seed=seed,
    )


def _spacing(fingerprint: Fingerprint) -> tuple[np.ndarray, int]:
    """The middle spacing in the order right, anterior, superior, and the axis along which slices lie.

    Where slices are thick, their spacing is one of the finer ones of the set: what is interpolated between them costs
    little, while what is thrown away is lost. (The rule of nnU-Net.)
    """
    spacings = np.array([one.spacing for one in fingerprint.facts])
    middle = np.median(spacings, axis=0)
    thick = int(np.argmax(middle))
    others = np.delete(middle, thick)
    if middle[thick] < 1.05 * others.max():
        return middle, 2  # cubic: slices are cut as they are usually read
    if middle[thick] >= _ANISOTROPIC * others.max():
        middle[thick] = max(np.percentile(spacings[:, thick], 10), others.max())
    return middle, thick


def _patch(size: np.ndarray, spacing: np.ndarray, room: _Room) -> tuple[int, int, int]:
    """Sides of equal millimetres, none much longer than the scans, as many voxels as there is room for."""
    most = np.maximum(_STEP, np.round(size / _STEP).astype(int) * _STEP)
    patch = np.minimum(most, _rounded(np.full(3, spacing.max() * 4096) / spacing))
    while np.prod(patch) > room.patch and (patch > _STEP).any():
        # The side that sees most millimetres gives way first.
        longest = int(np.argmax(np.where(patch > _STEP, patch * spacing, 0)))
        patch[longest] -= _STEP
    if (patch == _STEP).all():  # the deepest layer would see a single voxel, which cannot be normalised
        patch[int(np.argmax(size))] = 2 * _STEP
    return int(patch[0]), int(patch[1]), int(patch[2])


def _flat_patch(size: np.ndarray, room: _Room) -> tuple[int, int, int]:
    first, second = (int(n) for n in np.clip(_rounded(size[:2]), _STEP, room.side // _STEP * _STEP))
    return first, second, 1


def _rounded(size: np.ndarray) -> np.ndarray:
    return np.maximum(_STEP, np.round(size / _STEP).astype(int) * _STEP)


def _intensity(fingerprint: Fingerprint) -> IntensityRule:
    """HU mean the same everywhere, so one window holds for all; the values of MR mean nothing but within one scan."""
    if fingerprint.modality == "CT":
        values = fingerprint.foreground or fingerprint.whole
        low, high = np.floor(values.low), np.ceil(values.high)
        return IntensityRule("window", float(low), float(max(high, low + 1)))
    return IntensityRule("zscore", nonzero=bool(np.median([one.zeros for one in fingerprint.facts]) > 0.25))


def _crop(fingerprint: Fingerprint) -> bool:
    """Only where there is air to leave out, and no label would be lost with it."""
    facts = fingerprint.facts
    return bool(np.median([one.body for one in facts]) < 0.9 and max(one.cut for one in facts) == 0)


def _mirror(fingerprint: Fingerprint, dims: int) -> tuple[int, ...]:
    """A mirrored patient has the right kidney on the left: not where names tell sides, or labels come in pairs."""
    words = {word for label in fingerprint.labels for word in label.name.lower().replace("_", " ").split()}
    if words & {"left", "right", "l", "r"} or _has_pairs(fingerprint):
        return ()
    return (0, 1) if dims == 2 else (0, 1, 2)


def _has_pairs(fingerprint: Fingerprint) -> bool:
    """Whether two labels are about each other's mirror image: as large, and as far to the right as to the left."""
    middles = []
    for label in fingerprint.labels:
        places = [one.centres[label.value] for one in fingerprint.facts if label.value in one.centres]
        sizes = [one.volumes[label.value] for one in fingerprint.facts if label.value in one.centres]
        if places:
            middles.append((*np.median(places, axis=0), np.median(sizes)))
    for (x, y, z, ml), (other_x, other_y, other_z, other_ml) in combinations(middles, 2):
        apart = abs(x - other_x)
        level = np.hypot(y - other_y, z - other_z) < apart / 2 and abs(x + other_x) < apart / 2
        if level and max(ml, other_ml) < 2 * min(ml, other_ml):
            return True
    return False
