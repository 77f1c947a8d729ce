"""The walk with curl in the docs is run as it is written there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from SSLSegmentationLib.engine.session import Models
from SSLSegmentationLib.io.nifti import read_nifti
from SSLSegmentationLib.io.segmentation import read_segmentation
from SSLSegmentationLib.io.write import write_volume
from SSLSegmentationLib.models.package import IntensityRule, Preprocessing, Sliding
from SSLSegmentationLib.models.read import read_package
from SSLSegmentationLib.models.write import write_package
from Testing.engine.engines import LONG, TOKEN, keeper_with, scan_with_ball, served
from Testing.models.packages import small_package, state_of

PAGE = Path(__file__).parents[2] / "docs" / "engine.md"


def test_every_address_is_in_the_docs_and_no_other() -> None:
    from SSLSegmentationLib.engine.service import _service

    keeper = keeper_with()
    described = {
        (method.upper(), path) for path, methods in _service(keeper).openapi()["paths"].items() for method in methods
    }
    keeper.close_all()
    rows = re.findall(r"^\| (`(?:GET|PUT|POST|DELETE).*?`) \|", PAGE.read_text("utf-8"), re.MULTILINE)
    told = set()
    for row in rows:
        paths = re.findall(r"(/[^`?, ]*)", row)
        methods = re.findall(r"GET|PUT|POST|DELETE", row)
        told |= {(method, path) for method, path in zip(methods, paths * len(methods), strict=False)}
    plain = {(method, re.sub(r"\{[^}]*\}", "{}", path)) for method, path in described}
    assert {(method, re.sub(r"\{[^}]*\}", "{}", path)) for method, path in told} == plain


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("bash")), reason="needs curl and bash")
def test_a_session_driven_by_curl_alone_segments_a_file(tmp_path: Path) -> None:
    (walk,) = re.findall(r"```bash\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    package = small_package(
        sliding=Sliding((16, 16, 16), 0.25),
        preprocessing=Preprocessing("RAS", None, IntensityRule("window", 0.0, 200.0), crop_to_body=False),
    )
    folder = tmp_path / "models" / package.id
    folder.parent.mkdir()
    write_package(folder, package, [state_of(package.network)], "Free for the tests.")
    scan = scan_with_ball((6, 6, 6))
    matrix = scan.ijk_to_ras.copy()
    matrix[:3, 3] = -6.0  # the click of the walk is at the origin, which is now in the ball
    write_volume(type(scan)(scan.voxels, matrix), tmp_path / "ct.nii.gz")
    with served(keeper_with(models=Models(lambda: [read_package(folder)]))) as engine:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", walk.replace("http://127.0.0.1:8765", engine.url)],  # noqa: S607
            cwd=tmp_path,
            env={**os.environ, "SSLSEG_TOKEN": TOKEN, "no_proxy": "*"},
            capture_output=True,
            text=True,
            check=False,
            timeout=6 * LONG,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.count("event: done") == 2
        assert not engine.keeper.opened
    segmentation = read_segmentation(tmp_path / "ct.seg.nrrd")
    assert [label.name for label in segmentation.labels] == ["liver", "spleen"]
    assert segmentation.layers[0].shape == scan.shape
    assert read_nifti(tmp_path / "cyst.nii.gz", "cyst").voxels.sum() > 500
