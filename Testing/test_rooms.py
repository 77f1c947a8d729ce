"""The rules of the rooms that import-linter cannot see: what happens at file scope, and that no room is forgotten.

3D Slicer imports the library in a Python that lacks torch and most other packages, and the Extensions Index refuses
extensions that do work while they are imported.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LIBRARY = ROOT / "SSLSegmentationLib"
PACKAGES_OF_SLICER = {"numpy", "scipy", "vtk", "SimpleITK", "slicer"}
ROOMS = {"commands", "dataset", "engine", "inference", "models", "prompting", "scene"}
COMMAND_LINE = ("commands", "cli.py", "__main__.py")
NETWORKS = LIBRARY / "models" / "nets"  # classes of torch's, imported by name when a package asks for one

FILES = [
    path
    for path in sorted(LIBRARY.rglob("*.py"))
    if path.relative_to(LIBRARY).parts[0] not in COMMAND_LINE and NETWORKS not in path.parents
]
DEFINITIONS = (
    *(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef),
    *(ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.Pass),
)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """What runs when a file is imported: its own statements and those of its classes, without `if TYPE_CHECKING`."""
    for node in body:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        yield node
        if isinstance(node, ast.ClassDef):
            yield from statements(node.body)


def imported(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.Import):
        return {alias.name.split(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom) and node.level == 0:
        return {str(node.module).split(".")[0]}
    return set()


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_file_scope_imports_only_what_slicer_has(path: Path) -> None:
    allowed = PACKAGES_OF_SLICER | sys.stdlib_module_names | {"SSLSegmentationLib"}
    for node in statements(ast.parse(path.read_text("utf-8")).body):
        foreign = imported(node) - allowed
        assert not foreign, f"{name_of(path)}:{node.lineno} imports {sorted(foreign)} at file scope, not in a function"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_file_scope_holds_definitions_only(path: Path) -> None:
    for node in statements(ast.parse(path.read_text("utf-8")).body):
        text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        assert text or isinstance(node, DEFINITIONS), f"{name_of(path)}:{node.lineno} runs at import"


IMPORT_ALL = """
import importlib, sys

def watch(event, arguments):
    writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    if writes or event in ("socket.connect", "socket.bind", "subprocess.Popen", "os.system", "os.mkdir", "os.remove"):
        print(f"{module}: {event} {arguments}")

sys.dont_write_bytecode = True
module = ""
sys.addaudithook(watch)
for module in sys.argv[1:]:
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name not in ("slicer", "vtk"):
            raise
for name in ("torch", "monai", "openvino", "httpx", "matplotlib", "typer", "rich", "fastapi"):
    if name in sys.modules:
        print(f"{name} was imported")
"""


def test_importing_the_whole_library_does_nothing() -> None:
    """No file, process or connection, and no large package: what holds for the text holds when it runs."""
    parts = [path.relative_to(ROOT).with_suffix("").parts for path in FILES]
    modules = [".".join(part).removesuffix(".__init__") for part in parts]
    assert output_of(IMPORT_ALL, *modules) == ""


def test_the_command_line_answers_without_loading_torch() -> None:
    assert output_of("import sys, SSLSegmentationLib.cli; print('torch' in sys.modules)") == "False"


def test_every_room_is_in_the_import_table() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    words = {name.split(".")[1] for c in contracts if c["id"] == "words" for name in c["source_modules"]}
    present = {path.stem for path in LIBRARY.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    missing = present - words - ROOMS - {"__init__", "__main__", "cli"}
    assert not missing, f'name {sorted(missing)} in the contract "words" of pyproject.toml'


def output_of(program: str, *arguments: str) -> str:
    """What a program prints in a fresh interpreter that sees this checkout."""
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
