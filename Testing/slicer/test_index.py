"""What the Extensions Index checks by machine, and its questions to the code as far as a test can answer them.

The rules are those of check_description_files.py and extension_ai_analysis.py in Slicer/ExtensionsIndex/scripts.
"""

from __future__ import annotations

import ast
import json
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from Testing.slicer.cmake_lists import ROOT, wanted
from Testing.test_rooms import DEFINITIONS, imported, statements

MODULE = ROOT / "SSLSegmentation"
SOURCES = sorted(MODULE.rglob("*.py"))
SLICERS = {"slicer", "vtk", "qt", "ctk", "numpy", "scipy", "SimpleITK"}
OURS = {"SSLSegmentationLib", "SSLSegmentationUI"}
CMAKE = (ROOT / "CMakeLists.txt").read_text("utf-8")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", wanted(), ids=name_of)
def test_every_file_is_packaged(path: Path) -> None:
    said = path.read_text("utf-8") if path.exists() else ""
    missing = sorted(set(wanted()[path].splitlines()) ^ set(said.splitlines()))
    assert said == wanted()[path], f"run python -m Testing.slicer.cmake_lists: {missing}"


def test_both_lists_are_used_by_cmake() -> None:
    assert "include(SSLSegmentationLib/Files.cmake)" in CMAKE
    assert "include(Files.cmake)" in (MODULE / "CMakeLists.txt").read_text("utf-8")


def test_bundled_models_are_packaged() -> None:
    listed = (ROOT / "SSLSegmentationLib" / "Files.cmake").read_text("utf-8")
    assert "  Resources/Models/abdomen-ct-fast/models/model.safetensors\n" in listed


def test_the_description_follows_the_schema() -> None:
    """The schema allows these keys and no others (Slicer's catalogue of extensions, version 1.0.2)."""
    text = (ROOT / "SSLSegmentation.json").read_bytes()
    said = json.loads(text)
    assert b"\r" not in text
    assert said.keys() <= {
        "$schema", "build_dependencies", "build_subdirectory", "category", "dicom_support_rule", "enabled",
        "scm_revision", "scm_type", "scm_url", "tier",
    }  # fmt: skip
    assert {"$schema", "category", "scm_url"} <= said.keys()
    assert said["category"] == "Segmentation"
    assert said["tier"] in range(1, 6)


def test_names_are_as_the_index_wants_them() -> None:
    """The extension is not called Slicer…, its repository is; project and description have the same name."""
    said = json.loads((ROOT / "SSLSegmentation.json").read_text("utf-8"))
    project = re.findall(r"project\s*\(\s*([^\s\)\n\r]+)", CMAKE)
    assert project == ["SSLSegmentation"]
    assert said["scm_url"].startswith("https://")
    assert said["scm_url"].rsplit("/", 1)[1].startswith("Slicer")
    depends = re.findall(r'set\(EXTENSION_DEPENDS "([^"]+)"', CMAKE)
    assert depends[0].split() == said["build_dependencies"]


@pytest.mark.parametrize("variable", ["EXTENSION_ICONURL", "EXTENSION_SCREENSHOTURLS"])
def test_pictures_are_found_by_the_index_and_exist(variable: str) -> None:
    pattern = rf'set\s*\({variable}\s*"([^"]+)"[ ]*\)'
    (urls,) = re.findall(pattern, CMAKE)
    for url in urls.split():
        path = ROOT / url.partition("/main/")[2]
        assert path.suffix == ".png"
        assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n", path


def test_the_description_says_in_two_sentences_what_it_does_and_its_limits() -> None:
    (said,) = re.findall(r'set\(EXTENSION_DESCRIPTION "([^"]+)"', CMAKE)
    assert len(said.split(". ")) == 2, "as the template of the Extensions Index asks"
    assert "not a medical device" in said
    assert "segment" in said.lower()


def test_the_icon_has_the_size_of_icons() -> None:
    head = (MODULE / "Resources" / "Icons" / "SSLSegmentation.png").read_bytes()[16:24]
    assert struct.unpack(">II", head) == (128, 128)


def test_there_is_a_licence_at_the_root() -> None:
    assert "Apache License" in (ROOT / "LICENSE").read_text("utf-8")


def test_a_clone_is_small() -> None:
    """At most 100 MB with its history."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("this is not a clone")

    def said(*arguments: str) -> str:
        done = subprocess.run([git, "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True)
        return done.stdout

    sizes = dict(re.findall(r"([\w-]+): (\d+)", said("count-objects", "-v")))
    history = int(sizes["size-pack"]) + int(sizes["size"])
    tracked = said("ls-files", "-z").split("\0")
    files = sum((ROOT / name).stat().st_size for name in tracked if name and (ROOT / name).is_file())
    assert history / 1024 + files / 2**20 < 100


# What runs at import, and what is imported there


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_file_scope_imports_only_what_slicer_has(path: Path) -> None:
    allowed = SLICERS | OURS | sys.stdlib_module_names
    for node in statements(ast.parse(path.read_text("utf-8")).body):
        foreign = imported(node) - allowed
        assert not foreign, f"{name_of(path)}:{node.lineno} imports {sorted(foreign)}"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_nothing_is_done_at_file_scope(path: Path) -> None:
    for node in statements(ast.parse(path.read_text("utf-8")).body):
        text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        assert text or isinstance(node, DEFINITIONS), f"{name_of(path)}:{node.lineno} runs at import"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_neither_torch_nor_threads_nor_blocking_calls(path: Path) -> None:
    """The window waits for nobody: no networks in its process, no threads, no loops inside a handler."""
    tree = ast.parse(path.read_text("utf-8"))
    names = {name for node in ast.walk(tree) if isinstance(node, ast.stmt) for name in imported(node)}
    assert not names & {
        "torch",
        "monai",
        "threading",
        "concurrent",
        "multiprocessing",
        "subprocess",
        "httpx",
        "requests",
    }
    called = {node.func.attr for node in calls_of(tree) if isinstance(node.func, ast.Attribute)}
    waits = {"waitForReadyRead", "waitForStarted", "waitForBytesWritten", "exec_", "exec"}
    assert not called & waits, called & waits
    if path.name != "SelfTest.py":
        assert "processEvents" not in called


def test_pip_is_only_used_where_the_user_is_asked() -> None:
    """torch comes through the PyTorch extension; everything else from one file, which asks first."""
    for path in SOURCES:
        tree = ast.parse(path.read_text("utf-8"))
        used = {node.func.attr for node in calls_of(tree) if isinstance(node.func, ast.Attribute)}
        if path.name != "Requirements.py":
            assert not used & {"pip_install", "pip_ensure", "installTorch"}, path
    asked = (MODULE / "SSLSegmentationUI" / "Requirements.py").read_text("utf-8")
    assert asked.index("confirmOkCancelDisplay") < asked.index("pip_install(")
    lines = (MODULE / "Resources" / "requirements.txt").read_text("utf-8").splitlines()
    wanted_packages = [line for line in lines if line and not line.startswith("#")]
    assert wanted_packages
    for line in wanted_packages:
        assert re.fullmatch(r"[a-z0-9-]+>=[0-9.]+", line), f"{line}: a least version, no exact one"
        assert not line.startswith(("torch", "SimpleITK", "numpy"))


def test_what_was_downloaded_can_be_deleted() -> None:
    ui = (MODULE / "Resources" / "UI" / "SSLSegmentation.ui").read_text("utf-8")
    assert 'name="deleteModelButton"' in ui
    assert 'name="deleteClickModelButton"' in ui


@pytest.mark.parametrize(
    ("what", "pattern"),
    [
        ("a picture", r"!\[[^\]]*\]\(docs/images/[\w-]+\.png\)"),
        ("where the tutorial is", r"docs/in-slicer\.md"),
        ("how to cite", r"(?i)##.*cite"),
    ],
)
def test_the_readme_answers_what_the_index_asks(what: str, pattern: str) -> None:
    assert re.search(pattern, (ROOT / "README.md").read_text("utf-8")), f"README.md lacks {what}"


def test_the_tutorial_says_where_sample_data_comes_from() -> None:
    said = (ROOT / "docs" / "in-slicer.md").read_text("utf-8")
    assert "Sample Data" in said
    assert "not a medical device" in said


def calls_of(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))
