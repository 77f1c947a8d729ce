from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from SSLSegmentationLib import cli
from SSLSegmentationLib.commands import doctor


def test_a_machine_without_models_is_told_where_they_are(monkeypatch):
    monkeypatch.setattr("SSLSegmentationLib.models.store.installed", lambda: [])
    done = CliRunner().invoke(cli.app, ["doctor"])
    assert done.exit_code == 1
    assert "Models: sslseg models list" in done.stderr


def test_what_is_only_recommended_does_not_fail(monkeypatch):
    missing = doctor.Finding("Extra", "missing", good=False, remedy="pip install it", needed=False)
    monkeypatch.setattr(doctor, "examine", lambda: [missing])
    done = CliRunner().invoke(cli.app, ["doctor"])
    assert done.exit_code == 0
    assert "Extra: pip install it" in done.stderr


def test_findings_come_as_json(monkeypatch):
    done = CliRunner().invoke(cli.app, ["doctor", "--json"])
    findings = {finding["what"]: finding for finding in json.loads(done.stdout)}
    assert findings["Python"]["good"]
    assert {"torch", "MONAI", "OpenVINO", "Memory"} <= set(findings)


def test_a_missing_extra_is_named_with_its_command(monkeypatch):
    monkeypatch.setitem(doctor.EXTRAS, "engine", ("no_such_module",))
    finding = next(found for found in doctor.examine() if found.what == "Extra engine")
    assert finding.state == "missing: no_such_module"
    assert ".[engine]" in finding.remedy


@pytest.mark.parametrize("part", ["segment", "demo", "doctor"])
def test_every_command_explains_itself(part: str):
    done = CliRunner().invoke(cli.app, [part, "--help"])
    assert done.exit_code == 0
    assert "Usage" in done.output


def test_the_command_line_starts_without_torch():
    """Help and errors come at once, not after seconds of imports."""
    import subprocess
    import sys

    code = "import sys, SSLSegmentationLib.cli; print({'torch', 'monai', 'SimpleITK', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.cwd())
    assert done.stdout.strip() == "set()"
