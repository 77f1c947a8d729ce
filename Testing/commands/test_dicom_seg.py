"""`sslseg dicom-seg` on files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from SSLSegmentationLib import cli
from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.io.read import read_volume
from SSLSegmentationLib.io.segmentation import read_segmentation, write_segmentation
from SSLSegmentationLib.phantom.names import organ_labels
from Testing.io.test_dicom import scan, write
from Testing.io.test_dicom_seg import as_from_an_archive


def sslseg(*arguments: object):
    return CliRunner().invoke(cli.app, [*map(str, arguments)])


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    write(tmp_path / "series", scan(4), as_from_an_archive)
    volume = read_volume(tmp_path / "series")
    voxels = np.zeros(volume.shape, np.uint8)
    voxels[1:3, 1:, 1:] = 6
    write_segmentation(tmp_path / "s.seg.nrrd", volume.with_voxels(voxels), organ_labels())
    return tmp_path / "series", tmp_path / "s.seg.nrrd"


def test_a_segmentation_becomes_dicom_and_is_read_wherever_one_is_taken(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    done = sslseg("dicom-seg", *files, tmp_path / "seg.dcm", "--model", "organs 1")
    assert done.exit_code == 0, done.output
    assert "(1 segment)" in done.output
    assert [label.name for label in read_segmentation(tmp_path / "seg.dcm").labels] == ["liver"]
    assert sslseg("export", files[0], tmp_path / "seg.dcm", tmp_path / "ds", "-q").exit_code == 0


def test_a_file_is_not_replaced_unasked(files: tuple[Path, Path], tmp_path: Path) -> None:
    sslseg("dicom-seg", *files, tmp_path / "seg.dcm", "-q")
    assert isinstance(sslseg("dicom-seg", *files, tmp_path / "seg.dcm", "-q").exception, InputError)
    assert sslseg("dicom-seg", *files, tmp_path / "seg.dcm", "-q", "--overwrite").exit_code == 0
    assert isinstance(sslseg("dicom-seg", *files, tmp_path / "seg.nrrd").exception, InputError)
