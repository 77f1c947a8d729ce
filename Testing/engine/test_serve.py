"""`sslseg serve`: where it may listen, what it prints, and TLS."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from SSLSegmentationLib.engine.calls import EngineLostError
from SSLSegmentationLib.engine.client import connect
from SSLSegmentationLib.engine.serve import Address, is_loopback
from SSLSegmentationLib.errors import InputError
from Testing.engine.engines import LONG

ROOT = Path(__file__).parents[2]
TOKEN = "t" * 32
RUN = "from SSLSegmentationLib.cli import main; main()"


def sslseg(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", RUN, "serve", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )


@contextmanager
def serving(*arguments: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    with sslseg("--json", *arguments, **environment) as process:
        try:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            yield process, json.loads(line)
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(LONG) in (0, -signal.SIGTERM)
            process.stdout.read()
            process.stderr.read()


def refused(*arguments: str, **environment: str) -> str:
    with sslseg(*arguments, **environment) as process:
        _, said = process.communicate(timeout=LONG)
    assert process.returncode == 2
    assert "Traceback" not in said
    return said.strip()


def test_it_prints_one_ready_line_and_serves() -> None:
    with serving() as (_, ready):
        assert ready["ready"]
        assert ready["url"].startswith("http://127.0.0.1:")
        with connect(ready["url"], ready["token"]) as client:
            assert client.health()["sessions"] == 0


def test_a_token_that_was_given_is_used_and_never_printed(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    for arguments, environment in ((("--token-file", str(file)), {}), ((), {"SSLSEG_TOKEN": TOKEN})):
        with serving(*arguments, **environment) as (process, ready):
            assert "token" not in ready
            assert TOKEN not in " ".join(process.args)
            with connect(ready["url"], TOKEN) as client:
                assert client.health()["waiting"] == 0


def test_beyond_loopback_a_token_must_be_given() -> None:
    assert "a token is needed: give --token-file, and --tls-cert" in " ".join(refused("--host", "0.0.0.0").split())  # noqa: S104


def test_a_port_that_is_taken_is_named() -> None:
    with serving() as (_, ready):
        port = ready["url"].rpartition(":")[2]
        assert f"port {port} cannot be used" in " ".join(refused("--port", port).split())


@pytest.mark.parametrize("content", [None, "", "short", "token with spaces in it"])
def test_a_token_that_is_none_is_refused(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
    assert "token" in refused("--token-file", str(file))


def test_a_certificate_needs_its_key(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="both a certificate and its key"):
        Address(certificate=tmp_path / "cert.pem").checked()
    with pytest.raises(InputError, match="does not exist"):
        Address(certificate=tmp_path / "cert.pem", key=tmp_path / "key.pem").checked()


def test_without_tls_beyond_loopback_it_warns(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        Address("192.0.2.1", token=TOKEN).checked()
    assert "unencrypted" in caplog.text


def test_it_answers_to_its_own_names_only() -> None:
    assert "localhost" in (Address().hosts or ())
    assert Address("192.0.2.1", token=TOKEN, names=("gpu.ward.example",)).hosts == ("gpu.ward.example",)
    assert Address("192.0.2.1", token=TOKEN).hosts is None


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("gpu", False)],  # noqa: S104
)
def test_what_is_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) == loopback


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")
def test_tls_is_used_and_a_stranger_is_not_trusted(tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    command += ["-keyout", str(key), "-out", str(cert)]
    subprocess.run(
        command,
        check=True,
        capture_output=True,
    )
    with serving("--tls-cert", str(cert), "--tls-key", str(key), SSLSEG_TOKEN=TOKEN) as (_, ready):
        assert ready["url"].startswith("https://")
        with connect(ready["url"], TOKEN, verify=str(cert)) as client:
            assert client.health()["sessions"] == 0
        with pytest.raises(EngineLostError, match="does not answer"):
            connect(ready["url"], TOKEN)
