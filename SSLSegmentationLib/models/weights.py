"""Weights into networks: from files that hold numbers and nothing else."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.models.networks import build, outline, single_output
from SSLSegmentationLib.models.package import ModelPackage

if TYPE_CHECKING:
    import torch

_NESTS = ("state_dict", "model_state_dict", "model", "network", "net", "network_weights")
"""Where training programs keep the weights inside their checkpoints."""

_PREFIXES = ("module.", "model.", "network.", "net.", "_orig_mod.")
"""What wrappers for several devices, for training and for compilation put before every name."""

_MOST_NAMED = 3


def load_network(package: ModelPackage, member: int = 0, device: str = "cpu") -> torch.nn.Module:
    """The network of a package with the weights of one member, ready to segment.

    It gives one tensor of logits. The size of the network is compared with that of the file before it is built.
    """
    state = check_weights(package, member)
    network = build(package.network, _definition_of(package))
    network.load_state_dict(state, strict=True)
    network.requires_grad_(False)
    return single_output(network, package.network["_target_"]).eval().to(device)


def check_weights(package: ModelPackage, member: int = 0) -> dict[str, torch.Tensor]:
    """The weights of a member, after a check that they are those of the package's network, which is not built yet."""
    path = package.weights[member]
    where = f"{package.folder.resolve().name}/{path.parent.name}/{path.name}"
    if not path.is_file():
        raise InputError(f"{where} is missing: get the package again, with its large files.")
    state = read_state(path, where)
    # No number takes less than a byte, so a network with more of them than the file has bytes cannot be meant.
    shapes = outline(package.network, _definition_of(package), most_numbers=path.stat().st_size)
    state = _without_prefixes(state, shapes)
    _check_fit(state, shapes, where, package.network["_target_"])
    return state


def read_state(path: Path, where: str) -> dict[str, torch.Tensor]:
    """Names and tensors of a weights file, taken out of the checkpoint around them."""
    import torch

    content = _read_safetensors(path, where) if path.suffix == ".safetensors" else _read_torch(path, where)
    state = _unwrapped(content, where)
    for name, tensor in state.items():
        plain = tensor.layout == torch.strided and not tensor.is_quantized and not tensor.is_complex()
        # Strides of zero let a few bytes pose as terabytes.
        if not plain or tensor.device.type != "cpu" or tensor.numel() > path.stat().st_size:
            raise InputError(f'{where}: "{name}" is not a plain tensor: save the weights again as safetensors.')
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise InputError(
                f'{where}: "{name}" holds numbers that are not finite, as training leaves them when it diverges: '
                "use an earlier checkpoint."
            )
    return state


def _definition_of(package: ModelPackage) -> str:
    return f"{package.folder.resolve().name}/configs/inference"


def _read_safetensors(path: Path, where: str) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise InputError(f"{where} is damaged ({_first_line(error)}): get the package again.") from None


def _read_torch(path: Path, where: str) -> Any:
    import torch

    if path.suffix not in {".pt", ".pth"}:
        raise InputError(f"{where} is not a safetensors or .pt file: save the weights as safetensors.")
    try:
        if zipfile.is_zipfile(path):
            _check_archive(path, where)
        return torch.load(path, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except Exception as error:
        # The message is PyTorch's, for a pickle that names anything but tensors and plain containers.
        if "weights only" in str(error).lower() and "global" in str(error).lower():
            raise InputError(
                f"{where} holds more than weights and could run code when it is opened, so it was not: "
                "ask its author for the weights as safetensors."
            ) from None
        raise InputError(
            f"{where} is damaged or no weights file ({_first_line(error)}): get the package again."
        ) from error


def _check_archive(path: Path, where: str) -> None:
    """PyTorch stores its archives without compression; a compressed one can unfold to far more than its size."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
    if not stored or sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise InputError(f"{where} is a compressed archive, which PyTorch does not write: get the package again.")


def _unwrapped(content: Any, where: str) -> dict[str, torch.Tensor]:
    import torch

    for _ in range(3):
        if not isinstance(content, dict) or not content:
            break
        if all(isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in content.items()):
            return dict(content)
        content = next((content[nest] for nest in _NESTS if isinstance(content.get(nest), dict)), None)
    raise InputError(f"{where} holds no table of weights: save the network's state_dict, best as safetensors.")


def _without_prefixes(state: dict[str, torch.Tensor], shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """The weights under the names of the bare network; some networks begin every name with such a prefix themselves."""
    candidates = [state]
    while prefix := next((p for p in _PREFIXES if all(name.startswith(p) for name in candidates[-1])), None):
        candidates.append({name.removeprefix(prefix): tensor for name, tensor in candidates[-1].items()})
    return max(candidates, key=lambda names: len(names.keys() & shapes.keys()))


def _check_fit(
    state: dict[str, torch.Tensor], shapes: dict[str, tuple[int, ...]], where: str, network_name: str
) -> None:
    problems = []
    if missing := [name for name in shapes if name not in state]:
        problems.append(f"it lacks {_named(missing)}")
    if extra := [name for name in state if name not in shapes]:
        problems.append(f"it has {_named(extra)} that the network has not")
    wrong = [
        f"{name} ({_size(state[name].shape)} instead of {_size(shape)})"
        for name, shape in shapes.items()
        if name in state and tuple(state[name].shape) != shape
    ]
    if wrong:
        problems.append(f"sizes differ in {_named(wrong)}")
    if problems:
        raise InputError(
            f"{where} does not fit the {network_name} of the package: {'; '.join(problems)}: "
            "weights and network_def have to come from the same training."
        )


def _named(names: list[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _size(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape)) or "one number"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else type(error).__name__
