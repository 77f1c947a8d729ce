"""The programs that can run a network: torch on any device, and OpenVINO, the fastest on a CPU."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Literal, Protocol

from SSLSegmentationLib.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

Precision = Literal["f32", "bf16", "f16"]


class CannotConvert(InputError):  # noqa: N818 - says what it is
    """OpenVINO does not know something that the network does; torch runs it."""


class Predictor(Protocol):
    """Gives the logits (classes, i, j, k) of each (i, j, k) tile, in the order they come."""

    def run(self, tiles: Iterable[Tensor], batch: int) -> Iterator[Tensor]: ...


class TorchPredictor:
    """A network on a torch device; the reference that the others are measured against is this one, in f32."""

    def __init__(self, network: Module, device: str, precision: Precision = "f32", *, dropout: bool = False) -> None:
        import torch

        self._device = torch.device(device)
        self._precision = precision
        # Channels last is what tensor cores and bf16 convolutions on CPUs want; in f32 on a CPU it only costs.
        fast = self._device.type == "cuda" or precision != "f32"
        self._layout = torch.channels_last_3d if fast else torch.contiguous_format
        self._network = network.to(self._device).eval()
        if fast:
            channels_last(self._network)
        if dropout:
            _wake_dropout(self._network)

    def run(self, tiles: Iterable[Tensor], batch: int) -> Iterator[Tensor]:
        import torch

        tiles = iter(tiles)
        while group := list(islice(tiles, batch)):
            with torch.inference_mode(), in_precision(self._device.type, self._precision):
                stacked = torch.stack(group)[:, None].to(self._device).to(memory_format=self._layout)
                logits = self._network(stacked)
            yield from logits.to(_score_type(self._precision))


class OpenVinoPredictor:
    """A network compiled for this CPU. One tile is computed on each core while the last result is being added up."""

    def __init__(self, network: Module, patch: tuple[int, int, int], precision: Precision, at_once: int) -> None:
        import torch

        example = torch.zeros((1, 1, *patch))
        compiled = compile_for_cpu(network, example, precision, at_once, half_results=precision != "f32")
        self._requests = [compiled.create_infer_request() for _ in range(at_once + 1)]  # one more waits at the door

    def run(self, tiles: Iterable[Tensor], batch: int) -> Iterator[Tensor]:
        import numpy as np
        import torch

        free, busy = deque(self._requests), deque()
        tiles = iter(tiles)
        try:
            while True:
                while free and (tile := next(tiles, None)) is not None:
                    request = free.popleft()
                    request.start_async({0: np.ascontiguousarray(tile.numpy())[None, None]})
                    busy.append(request)
                if not busy:
                    return
                request = busy.popleft()
                request.wait()
                # The request owns the array: it is free again only when the caller has asked for the next result.
                yield torch.from_numpy(request.get_output_tensor(0).data[0])
                free.append(request)
        finally:
            for request in busy:
                request.cancel()
                with suppress(RuntimeError):  # which only says that it was cancelled
                    request.wait()


def channels_last(network: Module, axes: Collection[int] = (4, 5)) -> None:
    """Lay the weights of convolutions out with their channels last: those with so many axes, 4 in slices, 5 in volumes.

    What such a convolution makes has that layout as well, whatever that of its input.
    """
    import torch

    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for weight in network.parameters():
        if weight.dim() in axes and weight.dim() in formats:
            weight.data = weight.data.contiguous(memory_format=formats[weight.dim()])


def best_precision(device: str) -> Precision:
    """The fastest number format whose labels are the same in practice on this device."""
    import torch

    kind = torch.device(device).type
    if kind == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "f16"
    if kind == "mps":
        return "f16"
    return "bf16" if _cpu_has_bf16() else "f32"


def in_precision(device: str, precision: Precision):
    """The context in which torch computes in a number format on a kind of device."""
    import torch

    half = torch.float16 if precision == "f16" else torch.bfloat16
    return torch.autocast(device, half, enabled=precision != "f32")


def openvino_is_installed() -> bool:
    from importlib.util import find_spec

    return find_spec("openvino") is not None


def _cpu_has_bf16() -> bool:
    if openvino_is_installed():
        return "BF16" in _openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    import torch

    return torch.cpu._is_avx512_bf16_supported() if hasattr(torch.cpu, "_is_avx512_bf16_supported") else False


def _openvino():
    """OpenVINO without its telemetry, which would otherwise tell its maker about each conversion without asking."""
    import sys

    if "openvino" not in sys.modules:
        sys.modules.setdefault("openvino_telemetry", None)
    import openvino

    return openvino


def compile_for_cpu(
    network: Module, example: Tensor, precision: Precision, at_once: int = 1, *, half_results: bool = False
):
    """A network as OpenVINO's compiled model, for inputs of the example's size and that many of them at once."""
    import warnings

    import torch

    openvino = _openvino()
    with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
        warnings.simplefilter("ignore")  # of the two libraries to each other; no user can act on them
        try:
            # Export follows the network without computing anything, so it takes neither time nor memory.
            model = openvino.convert_model(torch.export.export(network.cpu().eval(), (example,)))
        except MemoryError:
            raise
        except Exception as error:  # whatever the exporter or the converter stumbles over
            name = type(network).__name__
            raise CannotConvert(f"{name} cannot be converted for OpenVINO: choose the backend torch.") from error
    if half_results:
        from openvino.preprocess import PrePostProcessor

        processor = PrePostProcessor(model)
        processor.output(0).tensor().set_element_type(openvino.Type.f16)
        model = processor.build()
    settings = {
        "PERFORMANCE_HINT": "THROUGHPUT",
        "NUM_STREAMS": at_once,
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": precision,
    }
    return openvino.Core().compile_model(model, "CPU", settings)


def _score_type(precision: Precision):
    """What logits are handed on in: those of a half-precision network need no more than half."""
    import torch

    return torch.float32 if precision == "f32" else torch.float16


def has_dropout(network: Module) -> bool:
    """Whether random passes through the network differ."""
    return any(layer.p > 0 for layer in _dropout_layers(network))


def _wake_dropout(network: Module) -> None:
    for layer in _dropout_layers(network):
        layer.train()


def _dropout_layers(network: Module) -> list[Module]:
    import torch

    return [layer for layer in network.modules() if isinstance(layer, torch.nn.modules.dropout._DropoutNd)]
