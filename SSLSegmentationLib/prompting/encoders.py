"""The image encoder of a promptable model, run by the fastest program of the machine, and what it leaves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from SSLSegmentationLib.inference.predictors import (
    CannotConvert,
    Precision,
    best_precision,
    compile_for_cpu,
    in_precision,
    openvino_is_installed,
)
from SSLSegmentationLib.progress import Tick, silent

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

Encoder = Callable[["Tensor", Tick], "tuple[Tensor, ...]"]
"""Turns a (1, 3, rows, columns) image into feature maps in float32."""

_PATIENCE_MS = 50  # between two looks at whether the user has cancelled


@dataclass(frozen=True, eq=False)
class Embedded:
    """What is kept of an encoded picture: the feature maps, and the size of the picture to answer at."""

    features: tuple[Tensor, ...]
    shape: tuple[int, int]

    @property
    def bytes(self) -> int:
        return sum(feature.numel() * feature.element_size() for feature in self.features)

    def arrays(self) -> dict[str, np.ndarray]:
        """Plain arrays, to be written down."""
        features = {f"feature{number}": feature.cpu().numpy() for number, feature in enumerate(self.features)}
        return {"shape": np.array(self.shape), **features}

    @staticmethod
    def of(arrays: dict[str, np.ndarray], device: str) -> Embedded:
        import torch

        features = (torch.from_numpy(arrays[f"feature{number}"]).to(device) for number in range(len(arrays) - 1))
        rows, columns = arrays["shape"].tolist()
        return Embedded(tuple(features), (rows, columns))


def fast_encoder(network: Module, image_size: int, device: str, blocks: Sequence[Module], *, exact: bool) -> Encoder:
    """A network that gives a tuple of feature maps, as fast as this machine runs it.

    Exact means in float32, by torch, as it was trained; else half precision where the hardware has it. `blocks` are
    the parts of the network between which it may be stopped.
    """
    import torch

    if exact:
        return TorchEncoder(network, device, "f32", blocks)
    precision = best_precision(device)
    if torch.device(device).type == "cpu" and openvino_is_installed():
        try:
            return OpenVinoEncoder(network, image_size, precision)
        except CannotConvert:
            pass  # torch runs it as well, at half the speed; the answers are the same
    return TorchEncoder(network, device, precision, blocks)


class TorchEncoder:
    """The network on a torch device."""

    def __init__(self, network: Module, device: str, precision: Precision, blocks: Sequence[Module]) -> None:
        import torch

        self._device = torch.device(device)
        self._precision = precision
        self._network = network.to(self._device).eval()
        self._blocks = blocks

    def __call__(self, image: Tensor, tick: Tick = silent) -> tuple[Tensor, ...]:
        import torch

        count = max(1, len(self._blocks))
        hooks = [
            block.register_forward_pre_hook(lambda *_, part=number / count: tick("Encoding", part))
            for number, block in enumerate(self._blocks)
        ]
        try:
            with torch.inference_mode(), in_precision(self._device.type, self._precision):
                return tuple(feature.float() for feature in self._network(image.to(self._device)))
        finally:
            for hook in hooks:
                hook.remove()


class OpenVinoEncoder:
    """The network compiled for this CPU."""

    def __init__(self, network: Module, image_size: int, precision: Precision) -> None:
        import torch

        example = torch.zeros((1, 3, image_size, image_size))
        self._request = compile_for_cpu(network, example, precision).create_infer_request()
        self._outputs = len(self._request.model_outputs)

    def __call__(self, image: Tensor, tick: Tick = silent) -> tuple[Tensor, ...]:
        import torch

        self._request.start_async({0: np.ascontiguousarray(image.numpy())})
        try:
            while not self._request.wait_for(_PATIENCE_MS):
                tick("Encoding", 0.5)
        except BaseException:
            self._request.cancel()
            with suppress(RuntimeError):  # how a cancelled request ends its wait
                self._request.wait()
            raise
        # The request owns the arrays and writes over them at the next picture.
        return tuple(torch.from_numpy(self._request.get_output_tensor(n).data.copy()) for n in range(self._outputs))
