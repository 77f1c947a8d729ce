"""First use, engines elsewhere, models: nothing is installed, downloaded or deleted before the user has said yes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import slicer

from SSLSegmentationLib.engine import calls
from SSLSegmentationLib.engine.launch import LocalEngine
from SSLSegmentationLib.resources import resource
from Testing.engine.test_serve import serving
from Testing.slicer.module.bench import LIVER, PATIENCE, Bench, middle_of, phantom

REQUIREMENTS = Path(__file__).parents[3] / "SSLSegmentation" / "Resources" / "requirements.txt"


@pytest.fixture
def elsewhere(bench: Bench) -> Iterator[Bench]:
    """Whatever a test says about where the engine runs, afterwards it runs in Slicer's Python again."""
    from SSLSegmentationUI import Place

    place = bench.engine.place
    yield bench
    Place.save(place)
    bench.engine.move(place)
    bench.panel.advanced.show(place)
    bench.panel.enter()


def choose_place(bench: Bench, name: str) -> None:
    bench.ui.advancedSection.collapsed = False
    bench.app.choose(bench.ui.placeSelector, name)
    bench.app.turn(5)


def wait_for_error(bench: Bench) -> None:
    """Until an error is told, and seen."""
    bench.app.wait_until(lambda: bench.work.message.isError and not bench.work.operation, 60)
    bench.app.turn(5)


def ask_once(bench: Bench) -> Any:
    scan, truth = phantom()
    bench.load(scan)
    bench.new_segment()
    bench.place("Red", middle_of(truth, LIVER))
    return bench.wait_suggested()


def test_an_engine_in_another_environment(elsewhere: Bench) -> None:
    bench = elsewhere
    choose_place(bench, "A Python environment")
    bench.ui.pythonPathEdit.currentPath = sys.executable
    bench.app.click(bench.ui.applyPlaceButton)
    assert bench.engine.place.kind == "environment"
    assert ask_once(bench).proposals
    assert bench.engine.pid


def test_a_folder_without_python_is_refused_in_one_sentence(elsewhere: Bench, tmp_path: Path) -> None:
    bench = elsewhere
    choose_place(bench, "A Python environment")
    bench.ui.pythonPathEdit.currentPath = str(tmp_path)
    bench.app.click(bench.ui.applyPlaceButton)
    scan, truth = phantom()
    bench.load(scan)
    bench.new_segment()
    bench.place("Red", middle_of(truth, LIVER))
    wait_for_error(bench)
    assert "is no Python environment" in bench.ui.messageLabel.text
    assert "Advanced" in bench.ui.messageLabel.text
    assert bench.ui.detailsButton.visible
    bench.app.click(bench.ui.detailsButton)
    assert "Traceback" in bench.ui.detailsText.plainText
    bench.picture("error")
    bench.app.click(bench.ui.detailsButton)


def test_an_environment_without_the_engine_says_what_is_missing(elsewhere: Bench, tmp_path: Path) -> None:
    bench = elsewhere
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f"#!/bin/sh\nexec {sys.executable} -c 'raise ModuleNotFoundError(\"No module named uvicorn\")'\n")
    python.chmod(0o755)
    choose_place(bench, "A Python environment")
    bench.ui.pythonPathEdit.currentPath = str(tmp_path)
    bench.app.click(bench.ui.applyPlaceButton)
    bench.load(phantom()[0])
    bench.app.click(bench.ui.segmentButton)
    wait_for_error(bench)
    assert "No module named uvicorn" in bench.ui.messageLabel.text
    assert bench.ui.engineLabel.text == "Engine: not reachable"


def test_a_server_with_address_and_token(elsewhere: Bench) -> None:
    """An engine that somebody else has started; a wrong token is told in one sentence."""
    bench = elsewhere
    server = LocalEngine(sys.executable)
    server.start()
    try:
        choose_place(bench, "A server")
        bench.ui.addressEdit.text = server.url
        bench.ui.tokenEdit.text = "not-the-token-of-this-server"
        bench.app.click(bench.ui.applyPlaceButton)
        scan, truth = phantom()
        bench.load(scan)
        bench.new_segment()
        bench.place("Red", middle_of(truth, LIVER))
        wait_for_error(bench)
        assert "token" in bench.ui.messageLabel.text.lower()

        bench.ui.tokenEdit.text = server.token
        bench.app.click(bench.ui.applyPlaceButton)
        bench.app.click(bench.ui.clearPromptsButton)
        bench.place("Red", middle_of(truth, LIVER))
        assert bench.wait_suggested().proposals
        bench.work.beat()
        bench.app.turn(5)

        # The server goes away; it is not ours to start again.
        bench.app.click(bench.ui.rejectButton)
        server.stop()
        bench.app.click(bench.ui.clearPromptsButton)
        bench.place("Red", middle_of(truth, LIVER))
        wait_for_error(bench)
        assert "does not answer" in bench.ui.messageLabel.text
        assert bench.ui.engineLabel.text == "Engine: not reachable"
    finally:
        server.stop()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")
def test_a_far_server_is_sent_packed_scans_under_a_certificate_of_its_own(
    elsewhere: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from SSLSegmentationUI import Engine

    bench, token = elsewhere, "a-token-of-some-length-for-a-test"
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*make.split(), "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    sent: list[int] = []
    send_frame = calls.send_frame

    def noting(frame: Any) -> Any:
        sent.append(sum(len(part) for part in frame))
        return send_frame(frame)

    monkeypatch.setattr(calls, "send_frame", noting)
    monkeypatch.setattr(Engine, "is_loopback", lambda host: False)
    with serving("--tls-cert", str(cert), "--tls-key", str(key), SSLSEG_TOKEN=token) as (_, ready):
        choose_place(bench, "A server")
        bench.ui.addressEdit.text, bench.ui.tokenEdit.text = ready["url"], token
        bench.app.click(bench.ui.applyPlaceButton)
        bench.load(phantom()[0])
        bench.new_segment()
        bench.place("Red", middle_of(phantom()[1], LIVER))
        wait_for_error(bench)
        assert "does not answer" in bench.ui.messageLabel.text, "nobody vouches for it"
        bench.ui.certificatePathEdit.currentPath = str(key)
        bench.app.click(bench.ui.applyPlaceButton)
        bench.app.click(bench.ui.clearPromptsButton)
        bench.place("Red", middle_of(phantom()[1], LIVER))
        wait_for_error(bench)
        assert "key.pem holds no certificate: choose a file in PEM form" in bench.ui.messageLabel.text
        bench.ui.certificatePathEdit.currentPath = str(cert)
        bench.app.click(bench.ui.applyPlaceButton)
        bench.app.click(bench.ui.clearPromptsButton)
        bench.place("Red", middle_of(phantom()[1], LIVER))
        assert bench.wait_suggested().proposals
        assert len(sent) == 1
        assert sent[0] < 0.6 * phantom()[0].voxels.nbytes
        bench.app.click(bench.ui.rejectButton)


def test_the_token_is_not_in_the_scene(elsewhere: Bench, tmp_path: Path) -> None:
    bench = elsewhere
    choose_place(bench, "A server")
    bench.ui.addressEdit.text = "http://127.0.0.1:9"
    bench.ui.tokenEdit.text = "a-secret-of-some-length"
    bench.app.click(bench.ui.applyPlaceButton)
    bench.load(phantom()[0])
    path = tmp_path / "scene.mrml"
    assert slicer.util.saveScene(str(path))
    assert "a-secret-of-some-length" not in path.read_text("utf-8")


def test_a_model_of_ones_own_is_added_from_a_file_and_can_be_chosen(bench: Bench, tmp_path: Path) -> None:
    package = shutil.copytree(resource("Models/hippocampus-mr"), tmp_path / "own")
    metadata = package / "configs" / "metadata.json"
    said = json.loads(metadata.read_text("utf-8"))
    said["name"], said["sslsegmentation"]["id"] = "Hippocampus of our own", "own"
    metadata.write_text(json.dumps(said), "utf-8")
    bench.load(phantom()[0])
    bench.app.wait_until(lambda: bench.panel.models.known, PATIENCE)
    bench.ui.advancedSection.collapsed = False
    assert not bench.ui.addModelButton.enabled
    assert "Choose the file" in bench.ui.addModelButton.toolTip
    bench.ui.addModelPathEdit.currentPath = str(package / "LICENSE")
    bench.app.turn(5)
    bench.app.click(bench.ui.addModelButton)
    wait_for_error(bench)
    assert "none of the weights files" in bench.ui.messageLabel.text

    bench.ui.addModelPathEdit.currentPath = str(metadata)
    bench.app.click(bench.ui.addModelButton)
    bench.wait_idle()
    assert bench.ui.messageLabel.text.startswith("Hippocampus of our own can be chosen now.")
    bench.picture("own-model")
    bench.app.wait_until(lambda: bench.panel.models.find("own") is not None, PATIENCE)
    bench.app.turn(5)
    bench.app.choose(bench.ui.modelSelector, "Hippocampus of our own")
    assert bench.ui.segmentButton.enabled
    assert bench.ui.deleteModelButton.visible


def test_what_is_missing_is_installed_after_asking(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lacking = tmp_path / "requirements.txt"
    lacking.write_text("surely-not-installed-anywhere>=1.0\n")
    bench.engine.stop()
    monkeypatch.setattr(bench.panel, "_requirements", lacking)
    bench.panel._lacking = None
    bench.load(phantom()[0])
    bench.panel.updateSoon()
    bench.app.turn(5)
    assert bench.ui.setupButton.visible
    assert "have to be installed" in bench.ui.messageLabel.text
    assert not bench.ui.segmentButton.enabled
    assert "install" in bench.ui.segmentButton.toolTip
    bench.picture("first-use")

    bench.app.answer(False)
    bench.app.click(bench.ui.setupButton)
    assert bench.app.installed == [], "the user has said no"
    bench.app.answer(True)
    bench.app.click(bench.ui.setupButton)
    assert [str(one) for one in bench.app.installed] == ["surely-not-installed-anywhere>=1.0"]
    monkeypatch.undo()
    bench.panel._lacking = None
    bench.panel.updateSoon()


def test_on_slicer_5_10_the_module_asks_itself(bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from SSLSegmentationUI import Requirements

    lacking = tmp_path / "requirements.txt"
    lacking.write_text("surely-not-installed-anywhere>=1.0\n# a note\nnumpy>=1.0\n")
    installed: list[Any] = []
    with bench.app.without_packaging():
        monkeypatch.setattr(slicer.util, "pip_install", installed.append)
        assert Requirements.missing(lacking) == ["surely-not-installed-anywhere>=1.0"]
        bench.app.answer(False)
        assert bench.app.in_loop(lambda: Requirements.install(lacking)) is False
        assert installed == []
        bench.app.answer(True)
        bench.app.in_loop(lambda: Requirements.install(lacking))
        assert installed == [["surely-not-installed-anywhere>=1.0"]]


def test_without_torch_the_pytorch_extension_is_asked_for(monkeypatch: pytest.MonkeyPatch, bench: Bench) -> None:
    from SSLSegmentationUI import Requirements

    from SSLSegmentationLib.errors import InputError

    monkeypatch.setattr(Requirements, "_installed", lambda name: name != "torch")
    assert Requirements.missing(REQUIREMENTS)[0].startswith("torch")
    with pytest.raises(InputError, match="Extensions Manager"):
        Requirements.install(REQUIREMENTS)


def test_all_of_the_engine_is_named_in_the_requirements() -> None:
    """Starting the engine in an environment with these, torch and what Slicer has must work."""
    import tomllib

    project = tomllib.loads((REQUIREMENTS.parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
    lines = [line for line in REQUIREMENTS.read_text("utf-8").splitlines() if not line.startswith("#")]
    declared = [line.partition("#")[0].strip() for line in project["dependencies"]]
    declared += project["optional-dependencies"]["engine"]
    assert set(lines) <= set(declared), "versions as in pyproject.toml"
    assert set(project["optional-dependencies"]["engine"]) <= set(lines)


def test_a_model_is_fetched_only_after_its_licence_was_shown(bench: Bench) -> None:
    bench.load(phantom()[0])
    bench.new_segment()
    bench.panel.models.ask()
    bench.app.wait_until(lambda: bench.panel.models.known, PATIENCE)
    bench.app.turn(5)
    there = [bench.ui.clickModelSelector.itemText(n) for n in range(bench.ui.clickModelSelector.count)]
    assert there[0].startswith("Grey values")
    absent = next(text for text in there if "not installed" in text)
    bench.app.choose(bench.ui.clickModelSelector, absent)
    bench.app.turn(5)
    assert bench.ui.getClickModelButton.visible
    assert "licence" in bench.ui.clickModelAboutLabel.text
    before = len(bench.app.asked)
    bench.app.answer(False)
    bench.app.click(bench.ui.getClickModelButton)
    assert "Licence:" in bench.app.asked[before]
    assert not bench.work.operation, "the user has said no"
    # Prompts say what is missing, and do not ask a model that is not there.
    bench.place("Red", middle_of(phantom()[1], LIVER))
    wait_for_error(bench)
    assert "not on this machine yet" in bench.ui.messageLabel.text
    bench.app.choose(bench.ui.clickModelSelector, there[0])


def test_without_a_network_a_download_fails_in_one_sentence(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    bench.engine.stop()
    bench.load(phantom()[0])
    bench.new_segment()
    bench.panel.models.ask()
    bench.app.wait_until(lambda: bench.engine.isReady, PATIENCE)
    bench.app.wait_until(lambda: bench.ui.clickModelSelector.count > 1, 30)
    texts = [bench.ui.clickModelSelector.itemText(n) for n in range(bench.ui.clickModelSelector.count)]
    bench.app.choose(bench.ui.clickModelSelector, next(text for text in texts if "not installed" in text))
    bench.app.turn(5)
    bench.app.answer(True)
    bench.app.click(bench.ui.getClickModelButton)
    wait_for_error(bench)
    assert "could not be downloaded" in bench.ui.messageLabel.text
    bench.picture("no-network")
    bench.app.choose(bench.ui.clickModelSelector, texts[0])
    monkeypatch.undo()
    bench.engine.stop()
