"""`sslseg models` as a user gives it."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from SSLSegmentationLib import cli
from SSLSegmentationLib.commands import models as command
from SSLSegmentationLib.errors import Cancelled, InputError
from Testing.models.server import Server, file, serving
from Testing.models.test_catalogue import OWN, WEIGHTS, written

DATA = bytes(range(256)) * 400
HASH = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(autouse=True)
def narrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 80 columns, a store of its own, no bundled models, nobody at the keyboard."""
    (tmp_path / "none").mkdir()
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("SSLSEG_MODELS", str(tmp_path / "store"))
    monkeypatch.delenv("SSLSEG_CATALOGUE", raising=False)
    monkeypatch.setattr("SSLSegmentationLib.models.store.resource", lambda *parts: tmp_path / "none")


def sslseg(*arguments: object, answer: str | None = None) -> Result:
    return CliRunner().invoke(cli.app, ["models", *map(str, arguments)], input=answer)


def refusal(*arguments: object) -> str:
    result = sslseg(*arguments)
    assert isinstance(result.exception, InputError), result.output
    return str(result.exception)


def offered(folder: Path, server: Server, **changes: object) -> Path:
    """A catalogue with one small model that the server has."""
    entry = WEIGHTS | {"id": "small-sam", "title": "Small SAM", "address": server.address("w.pth"), "bytes": len(DATA)}
    return written(folder, entry | {"sha256": HASH, "pinned_on_first_download": False} | changes)


def test_the_list_fits_into_80_columns_and_names_every_model() -> None:
    result = sslseg("list")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    for id_ in ("sam-vit-h", "sam2.1-base-plus", "medsam-vit-b", "medsam2"):
        (line,) = [line for line in lines if line.split()[:1] == [id_]]
        assert "available" in line or "by hand" in line
    assert "not commercial" in result.stdout


def test_the_list_as_json_holds_what_the_table_leaves_out(tmp_path: Path) -> None:
    listed = json.loads(sslseg("list", "--json").stdout)
    assert listed["folder"] == str(tmp_path / "store")
    (row,) = [row for row in listed["models"] if row["id"] == "medsam2"]
    assert row["state"] == "available"
    assert row["licence"]["commercial"] is False
    assert row["sha256"]
    assert row["source"]


def test_a_model_is_got_listed_verified_and_removed(tmp_path: Path) -> None:
    with serving(file(DATA)) as server:
        own = offered(tmp_path, server)
        result = sslseg("get", "small-sam", "--accept-licence", "--catalogue", own)
    assert result.exit_code == 0, result.output
    assert "CC-BY-4.0; commercial use allowed" in result.stderr
    assert (tmp_path / "store" / "small-sam" / "w.pth").read_bytes() == DATA
    assert json.loads((tmp_path / "store" / "small-sam" / "installed.json").read_text())["licence_accepted"]
    rows = json.loads(sslseg("list", "--json", "--catalogue", own).stdout)["models"]
    assert [row["state"] for row in rows if row["id"] == "small-sam"] == ["installed"]
    assert "small-sam is as it should be" in sslseg("verify", "--catalogue", own).stderr
    assert "installed already" in sslseg("get", "small-sam", "--catalogue", own).stderr
    assert "add --yes" in refusal("remove", "small-sam")
    assert sslseg("remove", "small-sam", "--yes").exit_code == 0
    assert not (tmp_path / "store" / "small-sam").exists()


def test_without_a_terminal_the_licence_has_to_be_accepted_by_an_option(tmp_path: Path) -> None:
    with serving(file(DATA)) as server:
        words = refusal("get", "small-sam", "--catalogue", offered(tmp_path, server))
        assert server.requests == []
    assert "CC-BY-4.0" in words
    assert "--accept-licence" in words


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 1), ("\n", 1)])
def test_at_a_terminal_the_licence_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    monkeypatch.setattr(command, "can_ask", lambda: True)
    with serving(file(DATA)) as server:
        result = sslseg("get", "small-sam", "--catalogue", offered(tmp_path, server), answer=answer)
        assert len(server.requests) == (1 if code == 0 else 0)
    assert result.exit_code == code
    assert result.stderr.index("CC-BY-4.0") < result.stderr.index("Do you accept")


def test_a_model_without_a_hash_says_which_one_it_is_pinned_to(tmp_path: Path) -> None:
    with serving(file(DATA)) as server:
        own = offered(tmp_path, server, sha256=None, pinned_on_first_download=True)
        result = sslseg("get", "small-sam", "--accept-licence", "--catalogue", own)
    assert f"from now on it has to be {HASH}" in result.stderr


def test_a_forgotten_hash_is_pinned_anew(tmp_path: Path) -> None:
    with serving(file(DATA), file(DATA[::-1])) as server:
        own = offered(tmp_path, server, sha256=None, pinned_on_first_download=True)
        get = ("get", "small-sam", "--accept-licence", "--catalogue", own)
        sslseg(*get)
        sslseg("remove", "small-sam", "--yes")
        assert "--forget-hash" in refusal(*get)
        assert "its hash is forgotten" in sslseg("remove", "small-sam", "--forget-hash").stderr
        assert sslseg(*get).exit_code == 0


def test_verify_ends_with_1_and_says_how_to_mend_what_is_damaged(tmp_path: Path) -> None:
    with serving(file(DATA)) as server:
        own = offered(tmp_path, server)
        sslseg("get", "small-sam", "--accept-licence", "--catalogue", own)
    (tmp_path / "store" / "small-sam" / "w.pth").write_bytes(DATA[::-1])
    result = sslseg("verify", "small-sam", "--catalogue", own)
    assert result.exit_code == 1
    assert "w.pth has changed" in result.stderr
    assert 'get it again with "sslseg models get small-sam"' in result.stderr
    (answer,) = json.loads(sslseg("verify", "--json", "--catalogue", own).stdout)
    assert not answer["good"]


def test_a_model_that_verify_found_changed_is_downloaded_again(tmp_path: Path) -> None:
    with serving(file(DATA)) as server:
        get = ("get", "small-sam", "--accept-licence", "--catalogue", offered(tmp_path, server))
        sslseg(*get)
        (tmp_path / "store" / "small-sam" / "w.pth").write_bytes(DATA[::-1])
        assert sslseg(*get).exit_code == 0
    assert (tmp_path / "store" / "small-sam" / "w.pth").read_bytes() == DATA


def test_a_file_from_the_browser_is_added_after_its_licence_was_accepted(tmp_path: Path) -> None:
    entry = WEIGHTS | {"id": "by-hand", "address": None, "page": "https://models.example/", "sha256": HASH}
    own = written(tmp_path, entry | {"pinned_on_first_download": False})
    (tmp_path / "w.pth").write_bytes(DATA)
    words = refusal("get", "by-hand", "--catalogue", own)
    assert "https://models.example/" in words
    assert "sslseg models add" in words
    assert "--accept-licence" in refusal("add", tmp_path / "w.pth", "--catalogue", own)
    result = sslseg("add", tmp_path / "w.pth", "--accept-licence", "--catalogue", own)
    assert "by-hand is installed" in result.stderr


def test_models_are_packed_and_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(file(DATA)) as server:
        sslseg("get", "small-sam", "--accept-licence", "--catalogue", offered(tmp_path, server))
    out = tmp_path / "models.zip"
    assert "holds small-sam" in sslseg("pack", out).stderr
    assert "--replace" in refusal("pack", out)
    assert sslseg("pack", out, "--replace").exit_code == 0
    monkeypatch.setenv("SSLSEG_MODELS", str(tmp_path / "there"))
    result = sslseg("unpack", out)
    assert "small-sam: CC-BY-4.0" in result.stderr
    assert (tmp_path / "there" / "small-sam" / "w.pth").read_bytes() == DATA
    assert "sslseg models unpack" in refusal("add", out)


def test_ctrl_c_says_that_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command.install, "get", stopped)
    with serving(file(DATA)) as server:
        result = sslseg("get", "small-sam", "--accept-licence", "--catalogue", offered(tmp_path, server))
    assert isinstance(result.exception, Cancelled)
    assert "the same command goes on from there" in result.stderr


def test_quiet_says_nothing(tmp_path: Path) -> None:
    with serving(file(DATA)) as server:
        result = sslseg("get", "small-sam", "--accept-licence", "-q", "--catalogue", offered(tmp_path, server))
    assert result.exit_code == 0
    assert result.output == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("get", "sam-vitb"), "did you mean sam-vit-b"),
        (("get", "medsam-vit-b"), "drive.google.com"),
        (("get", "../../etc"), "not in the catalogue"),
        (("verify", "sam-vit-b"), "not installed"),
        (("remove", "sam-vit-b"), "nothing to remove"),
        (("add", "missing.pth"), "missing.pth is not there"),
        (("unpack", "missing.zip"), "missing.zip cannot be read"),
        (("pack", "out.zip"), "nothing to pack"),
        (("pack", "out.zip", "sam-vit-b"), "not installed"),
        (("list", "--catalogue", "missing.json"), "missing.json"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(arguments: tuple[str, ...], words: str) -> None:
    said = refusal(*arguments)
    assert words in said
    assert "\n" not in said


def test_a_refusal_ends_with_code_2(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["sslseg", "models", "get", "nonsense"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert '"nonsense" is not in the catalogue' in capsys.readouterr().err


@pytest.mark.parametrize("name", ["list", "get", "verify", "remove", "add", "pack", "unpack"])
def test_help_teaches(name: str) -> None:
    result = sslseg(name, "--help")
    assert result.exit_code == 0
    assert "--models-dir" in result.output


def test_a_package_without_its_catalogue_is_listed_too(tmp_path: Path) -> None:
    (tmp_path / "store" / "spoilt").mkdir(parents=True)
    result = sslseg("list", "--catalogue", written(tmp_path, OWN))
    assert "damaged" in result.stdout
    assert "spoilt is damaged" in result.stderr
    assert "hospital-liver" in result.stdout
