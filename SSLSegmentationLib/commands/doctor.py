"""`sslseg doctor`: what this machine has, what is missing, and the command that mends it."""

from __future__ import annotations

import platform
import shutil
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import typer
from rich.table import Table

from SSLSegmentationLib import __version__
from SSLSegmentationLib.commands.console import JSON, people, print_json

# What each optional part needs, by the name of the extra that installs it.
EXTRAS = {
    "engine": ("fastapi", "uvicorn"),
    "prompting": ("segment_anything", "sam2"),
    "train": ("lightning", "tensorboard"),
}
_LITTLE_MEMORY, _LITTLE_DISK = 4 * 2**30, 2 * 2**30


@dataclass(frozen=True)
class Finding:
    what: str
    state: str
    good: bool = True
    remedy: str = ""
    needed: bool = True
    """Whether `segment` needs it; other things are only recommended."""


def doctor(as_json: bool = JSON) -> None:
    """Look at this machine: Python, torch, devices, memory, models; and say how to mend what is missing.

    Ends with code 1 if something is missing that `sslseg segment` needs.
    """
    findings = examine()
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        _show(findings)
    if any(finding.needed and not finding.good for finding in findings):
        raise typer.Exit(1)


def examine() -> list[Finding]:
    return [_program(), _python(), *_torch(), _openvino(), _memory(), *_models(), *_extras()]


def _program() -> Finding:
    return Finding("SSLSegmentation", f"{__version__}, {Path(__file__).parents[1]}")


def _python() -> Finding:
    good = (3, 11) <= sys.version_info[:2] <= (3, 13)
    state = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return Finding("Python", state, good, "" if good else "install Python 3.11, 3.12 or 3.13")


def _torch() -> list[Finding]:
    if find_spec("torch") is None:
        return [Finding("torch", "missing", False, "pip install torch")]
    import torch

    findings = [Finding("torch", torch.__version__), Finding("MONAI", *_distribution("monai"))]
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(number)
            name = torch.cuda.get_device_name(number)
            state = f"{name}, {free / 2**30:.1f} of {total / 2**30:.1f} GB free"
            findings.append(Finding(f"Device cuda:{number}", state))
    elif torch.backends.mps.is_available():
        findings.append(Finding("Device mps", "Apple GPU"))
    else:
        findings.append(
            Finding("Device", f"CPU, {torch.get_num_threads()} threads; no graphics card that torch can use")
        )
    return findings


def _openvino() -> Finding:
    state, good, remedy = _distribution("openvino")
    if not good:
        return Finding(
            "OpenVINO", "missing: on a CPU, segmenting takes several times longer", False, remedy, needed=False
        )
    from SSLSegmentationLib.inference.predictors import best_precision

    return Finding("OpenVINO", f"{state}, {best_precision('cpu')} on this CPU", needed=False)


def _memory() -> Finding:
    from SSLSegmentationLib.inference.memory import free_bytes

    free = free_bytes("cpu")
    good = free >= _LITTLE_MEMORY
    remedy = "" if good else "close other programs: 4 GB should be free"
    return Finding("Memory", f"{free / 2**30:.1f} GB free", good, remedy, needed=False)


def _models() -> list[Finding]:
    from SSLSegmentationLib.models.store import installed, models_folder, remedy

    folder = models_folder()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    room = shutil.disk_usage(there).free
    findings = [
        Finding(
            "Models folder",
            f"{folder}, {room / 2**30:.0f} GB free",
            room >= _LITTLE_DISK,
            "" if room >= _LITTLE_DISK else "free space, or choose another folder with SSLSEG_MODELS",
            needed=False,
        )
    ]
    models = installed()
    for model in models:
        state = f"{'bundled' if model.bundled else 'installed'}{f', damaged: {model.damage}' if model.damage else ''}"
        mend = remedy(model, None) if model.damage else ""
        findings.append(Finding(f"Model {model.id}", state, not model.damage, mend, needed=False))
    if not any(model.kind == "package" for model in models):
        findings.append(Finding("Models", "none that can segment", False, "sslseg models list"))
    return findings


def _extras() -> list[Finding]:
    findings = []
    for extra, modules in EXTRAS.items():
        missing = [module for module in modules if find_spec(module) is None]
        state = f"missing: {', '.join(missing)}" if missing else "installed"
        remedy = f'pip install ".[{extra}]" in a checkout of the program' if missing else ""
        findings.append(Finding(f"Extra {extra}", state, not missing, remedy, needed=False))
    return findings


def _distribution(name: str) -> tuple[str, bool, str]:
    try:
        return version(name), True, ""
    except PackageNotFoundError:
        return "missing", False, f"pip install {name}"


def _show(findings: list[Finding]) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    for finding in findings:
        sign = "[green]✓[/]" if finding.good else "[red]✗[/]" if finding.needed else "[yellow]–[/]"
        table.add_row(sign, finding.what, finding.state)
    people.print(table)
    remedies = [finding for finding in findings if finding.remedy]
    for finding in remedies:
        people.print(f"{finding.what}: {finding.remedy}", markup=False, soft_wrap=True)
    if not remedies:
        people.print("Nothing is missing.")
