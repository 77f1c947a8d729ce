"""`sslseg worklist` on a folder of results."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from SSLSegmentationLib import cli
from Testing.dataset.test_worklist import a_result


def sslseg(*arguments: object):
    done = CliRunner().invoke(cli.app, ["worklist", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done


def test_a_day_with_the_work_list(tmp_path: Path) -> None:
    for name, doubt in (("a", 0.1), ("b", 0.5), ("c", 0.3)):
        a_result(tmp_path, name, doubt)
    assert sslseg("show", tmp_path).output.index("b ") < sslseg("show", tmp_path).output.index("c ")
    first = json.loads(sslseg("next", tmp_path, "--by", "anna", "--json").stdout)
    assert first["name"] == "b"
    assert first["scan"] == "/archive/b.nii.gz"
    assert "taken (anna)" in sslseg("show", tmp_path).output
    sslseg("done", tmp_path, "b", "--by", "anna")
    assert "c:" in sslseg("next", tmp_path, "--by", "anna").output
    sslseg("give-back", tmp_path, "c", "--by", "anna")
    sslseg("skip", tmp_path, "c", "--by", "anna", "--note", "motion")
    left = json.loads(sslseg("show", tmp_path, "--json").stdout)
    assert [item["name"] for item in left] == ["a"]
    assert "2 of 3 cases are reviewed" in sslseg("show", tmp_path, "--all").output
    sslseg("done", tmp_path, "a")
    assert json.loads(sslseg("next", tmp_path, "--json").stdout) is None
