"""The networks a package may ask for, and how one is built from its definition without trusting it."""

from __future__ import annotations

import importlib
import inspect
import math
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from SSLSegmentationLib.errors import InputError

if TYPE_CHECKING:
    import torch

_LARGEST_NUMBER = 4096
_LONGEST_LIST = 64
_MOST_VALUES = 1000
_MOST_TENSORS = 5_000  # the largest networks of the list have about a thousand

_MONAI = "monai.networks.nets."
_OURS = "SSLSegmentationLib.models.nets."


@dataclass(frozen=True)
class Allowed:
    """A class that packages may name."""

    module: str
    output: int | None = None
    """Which of several outputs the final logits are; None for networks that give one tensor outside training."""
    ignored: dict[str, str] = field(default_factory=dict)
    """Arguments without effect on the network that weights are put into, and why."""


NETWORKS: dict[str, Allowed] = {
    "AttentionUnet": Allowed(_MONAI + "attentionunet"),
    "BasicUNet": Allowed(_MONAI + "basic_unet"),
    "BasicUNetPlusPlus": Allowed(_MONAI + "basic_unetplusplus", output=-1),
    "DynUNet": Allowed(_MONAI + "dynunet"),
    "FlexibleUNet": Allowed(
        _MONAI + "flexible_unet", ignored={"pretrained": "would download weights, only to be replaced"}
    ),
    "HighResNet": Allowed(_MONAI + "highresnet"),
    "MedNeXt": Allowed(_MONAI + "mednext"),
    "SegResNet": Allowed(_MONAI + "segresnet"),
    "SegResNetDS": Allowed(_MONAI + "segresnet_ds"),
    "SwinUNETR": Allowed(
        _MONAI + "swin_unetr", ignored={"img_size": "was only checked by MONAI before 1.5, and is gone since"}
    ),
    "UNETR": Allowed(_MONAI + "unetr"),
    "UNet": Allowed(_MONAI + "unet"),
    "VNet": Allowed(_MONAI + "vnet"),
    "ClickNet": Allowed(_OURS + "click"),
    "FoldedVNet3D": Allowed(_OURS + "vnet"),
    "Peers": Allowed(_OURS + "peers"),
    "ResVNet3D": Allowed(_OURS + "resvnet"),
    "SliceBasicUNet": Allowed(_OURS + "slices"),
    "SliceUNet": Allowed(_OURS + "slices"),
    "VNet3D": Allowed(_OURS + "vnet"),
    "WSResUNet3D": Allowed(_OURS + "ws_resunet"),
}
"""By the name a package uses: those of MONAI, then the project's own."""


def network_name(target: Any, where: str) -> str:
    """The name in the list of a `_target_`: "UNet", "monai.networks.nets.UNet" or "monai.networks.nets.unet.UNet"."""
    if isinstance(target, str):
        for name, allowed in NETWORKS.items():
            if target in {name, _MONAI + name, f"{allowed.module}.{name}"}:
                return name
    raise InputError(
        f'{where} asks for the network "{target}", which is not one of those that packages may use '
        f"({', '.join(NETWORKS)}): choose another model."
    )


def check_network(definition: Any, where: str) -> dict[str, Any]:
    """The definition with the class under its short name, after a check that it holds nothing but plain values.

    Needs no torch. Whether the arguments fit the class is seen when it is built.
    """
    if not isinstance(definition, dict):
        raise InputError(f"{where} has no definition of a network: get the package again.")
    name = network_name(definition.get("_target_"), where)
    arguments = {key: value for key, value in definition.items() if key not in {"_target_", "_desc_"}}
    _check_plain(arguments, f"{where}, {name}")
    for key, value, reason in (
        ("spatial_dims", 3, "volumes are segmented in three dimensions"),
        ("in_channels", 1, "one scan is segmented at a time"),
    ):
        if arguments.get(key, value) != value:
            raise InputError(f"{where} has {key} {arguments[key]}, but {reason}: choose a model with {key} {value}.")
    return {"_target_": name, **arguments}


def outline(definition: dict[str, Any], where: str, most_numbers: int) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor in the network's state, found without allocating any of them.

    The building is stopped as soon as the network has more than `most_numbers` numbers.
    """
    import torch

    with torch.device("meta"), _linspace_on_cpu(), _stop_beyond(most_numbers, where):
        network = construct(definition, where)
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def build(definition: dict[str, Any], where: str) -> torch.nn.Module:
    """The network with random weights. Call `outline` first if the definition comes from a stranger."""
    import torch

    with torch.random.fork_rng(devices=[]):  # what the caller draws next must not depend on which model was loaded
        return construct(definition, where)


def single_output(network: torch.nn.Module, name: str) -> torch.nn.Module:
    """The network itself, or one around it that gives only the final logits."""
    return network if NETWORKS[name].output is None else _logits(network, NETWORKS[name].output)


def _logits(network: torch.nn.Module, index: int) -> torch.nn.Module:
    import torch

    class FinalLogits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return self.network(image)[index]

    return FinalLogits()


def construct(definition: dict[str, Any], where: str) -> torch.nn.Module:
    """The network with weights from torch's random numbers, for a definition that `check_network` has seen."""
    name = definition["_target_"]
    allowed = NETWORKS[name]
    kind = getattr(importlib.import_module(allowed.module), name)
    arguments = {key: value for key, value in definition.items() if key != "_target_" and key not in allowed.ignored}
    signature = inspect.signature(kind)
    if unknown := sorted(set(arguments) - set(signature.parameters)):
        known = ", ".join(signature.parameters)
        raise InputError(f'{where}: {name} has no argument "{unknown[0]}" (it has {known}): correct the name.')
    try:
        bound = signature.bind(**arguments)
    except TypeError as error:
        raise InputError(f"{where}: {name} cannot be built ({error}): add it to the definition.") from None
    bound.apply_defaults()
    if bound.arguments.get("spatial_dims", 3) != 3:
        raise InputError(f'{where}: {name} is flat unless told otherwise: add "spatial_dims": 3.')
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about names that MONAI has since changed; the user can do nothing
            return kind(**arguments)
    except InputError:
        raise
    except ImportError as error:
        raise InputError(f"{name} needs a Python package that is not installed ({error}): install it.") from None
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(
            f"{where}: {name} cannot be built with these arguments ({reason}): correct the definition."
        ) from error


@contextmanager
def _stop_beyond(most_numbers: int, where: str) -> Iterator[None]:
    """Raise InputError as soon as what this thread builds has more numbers than this, or absurdly many tensors."""
    from torch.nn.modules.module import register_module_parameter_registration_hook

    thread, numbers, tensors = threading.get_ident(), 0, 0

    def count(_module: torch.nn.Module, _name: str, parameter: torch.nn.Parameter | None) -> None:
        nonlocal numbers, tensors
        if parameter is None or threading.get_ident() != thread:
            return
        numbers, tensors = numbers + parameter.numel(), tensors + 1
        if numbers > most_numbers or tensors > _MOST_TENSORS:
            raise InputError(
                f"{where} asks for a network that is far larger than its weights file: "
                "correct the definition or get the package again."
            )

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()


def _linspace_on_cpu() -> Any:
    """Transformers read their drop-out rates from a linspace while they are built, which a shape alone cannot give."""
    import torch
    from torch.overrides import TorchFunctionMode

    class LinspaceOnCPU(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = kwargs or {}
            return func(*args, **({"device": "cpu"} | kwargs if func is torch.linspace else kwargs))

    return LinspaceOnCPU()


def _check_plain(arguments: dict[str, Any], where: str) -> None:
    """Only what JSON can say, in amounts a network can need."""
    waiting, seen = [("", arguments)], 0
    while waiting:
        key, value = waiting.pop()
        seen += 1
        if seen > _MOST_VALUES or (isinstance(value, (list, tuple, dict, str)) and len(value) > _LONGEST_LIST):
            raise InputError(f'{where}: "{key}" holds more values than a network has layers: correct it.')
        if isinstance(value, dict):
            for name, item in value.items():
                if not isinstance(name, str) or name.startswith("_"):
                    raise InputError(
                        f'{where}: "{key}" has the key "{name}", but only plain values are allowed here: remove it.'
                    )
                waiting.append((f"{key}#{name}".lstrip("#"), item))
        elif isinstance(value, (list, tuple)):
            waiting.extend((f"{key}#{index}", item) for index, item in enumerate(value))
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            if not math.isfinite(value) or abs(value) > _LARGEST_NUMBER:
                raise InputError(f'{where}: "{key}" is {value}, beyond what a network can need: correct it.')
        elif isinstance(value, str):
            if value.startswith(("$", "@", "%")):
                raise InputError(f'{where}: "{key}" is "{value}", but only plain values are allowed: write the value.')
        elif value is not None and not isinstance(value, bool):
            raise InputError(f'{where}: "{key}" is a {type(value).__name__}, but only plain values are allowed.')
