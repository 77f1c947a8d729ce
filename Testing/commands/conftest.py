"""A small model package and a scan in a folder of their own, for the commands that work on files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from SSLSegmentationLib.io.write import write_volume
from SSLSegmentationLib.models.package import UncertaintyRule
from SSLSegmentationLib.models.write import write_package
from SSLSegmentationLib.volume import Volume
from Testing.models.packages import SMALL_UNET, small_package, state_of


@pytest.fixture(scope="session")
def package_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of two organs with random weights."""
    folder = tmp_path_factory.mktemp("packages") / "two-organs"
    package = small_package(uncertainty=UncertaintyRule("flips", flip_axes=(0,), temperature=1.5))
    write_package(folder, package, [state_of(SMALL_UNET)], "Apache License, Version 2.0")
    return folder


@pytest.fixture
def scan() -> Volume:
    """A bright ball in air, on an oblique and anisotropic grid."""
    turn = np.radians(20)
    matrix = np.eye(4)
    matrix[:3, :3] = [[-np.cos(turn), np.sin(turn), 0], [-np.sin(turn), -np.cos(turn), 0], [0, 0, 1]]
    matrix[:3, :3] *= (1.2, 1.2, 2.5)
    matrix[:3, 3] = (30, -20, 400)
    k, j, i = np.ogrid[:18, :40, :36]
    ball = (k - 9) ** 2 * 4 + (j - 20) ** 2 + (i - 18) ** 2 < 15**2
    noise = np.random.default_rng(0).integers(-40, 40, ball.shape)
    return Volume(np.where(ball, 60 + noise, -1000).astype(np.int16), matrix, "patient", "CT")


@pytest.fixture
def scan_file(scan: Volume, tmp_path: Path) -> Path:
    path = tmp_path / "patient.nrrd"
    write_volume(scan, path)
    return path
